"""Evidence that two students handed in the same work: never a verdict, and for the instructor alone.

Three signs, each in a module of its own: networks (:mod:`~autograder.likeness.networks`), wrong answers that few others
gave (:mod:`~autograder.likeness.mistakes`) and code (:mod:`~autograder.likeness.code`). Each keeps a short summary of a
student and finds pairs through an index, so that a class of a thousand needs neither a million comparisons nor
everybody's files in memory. How often they point at pairs that have nothing to do with each other is measured by
``python -m benchmarks.likeness`` and written in ``docs/instructors.md``.
"""
