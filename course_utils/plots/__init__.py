"""The figures of the notebooks, one module for each notebook, and ``style``, which they share."""
