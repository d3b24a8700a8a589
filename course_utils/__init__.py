"""What the notebooks of the two-layer-network assignment import.

Nothing is imported here, so that ``import course_utils`` costs nothing: PyTorch,
matplotlib and requests are loaded by the modules that need them, when they are used.

=====================  ==========================================================
``checks``             one check for each graded question
``comparison``         compares a value with its reference and says what differs
``causes``             recognises a mistake from the numbers that it produces
``symbolic``           proves that two expressions are equal
``progress``           progress bars that leave nothing in a stored notebook
``source``             reads the source of a student's function
``notebooks``          finds the notebooks, whatever their files are called
``handover``           brings functions from an earlier notebook into a later one
``pack``               makes the file that a student hands in
``doctor``             says what stands in a student's way
``plots``              the figures
``reference``          the toy problems and their reference values
``oracle``             the same values from PyTorch's autograd, for any problem
``data``               CIFAR-10
``evaluation``         loads a trained network and measures its accuracy
=====================  ==========================================================
"""

__version__ = "1.0.0"
