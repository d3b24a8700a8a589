"""One check for each graded question, in one module for each notebook.

A check calls the student's function with plain values and looks at what comes back. It
prints one line when it passes and raises :class:`~course_utils.comparison.CheckFailed`
when it doesn't. Without a problem it uses the stored ones; a hidden test passes its own.
"""
