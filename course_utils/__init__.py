"""What the notebooks of the two-layer-network assignment import.

Nothing is imported here, so that ``import course_utils`` costs nothing: PyTorch,
matplotlib and requests are loaded by the modules that need them, when they are used.

=====================  ==========================================================
judging
-----------------------------------------------------------------------------------
``questions``          what each question asks for, and upon what it builds
``checks``             one check for each graded question
``judge``              the one rule: whose mistake is it?
``helpers``            exchanges the functions that a student's function calls
``deviations``         names a mistake: the reference with one thing changed
``mistakes``           what is often done wrong
``steps``              right results of the formulas of the backward pass
``models``             the same networks in PyTorch
``comparison``         compares a value with its reference and says what differs
``symbolic``           proves that two expressions are equal
``source``             reads the source of a student's function
small and general
-----------------------------------------------------------------------------------
``reference``          the toy problems and their reference values
``oracle``             the same values from PyTorch's autograd, for any problem
``notebooks``          finds the notebooks, whatever their files are called
``handover``           brings functions from an earlier notebook into a later one
``stand_ins``          what takes their place where they are missing
``hunt``               the gradient functions of notebook 3, some of them wrong
``data``               CIFAR-10
``evaluation``         loads a trained network and measures its accuracy
``plots``              the figures
``pack``               makes the file that a student hands in
``doctor``             says what stands in a student's way
``progress``           progress bars that leave nothing in a stored notebook
=====================  ==========================================================
"""

__version__ = "1.0.0"
