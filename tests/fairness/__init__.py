"""Banks of wrong and of right answers, and what each earns (``python -m tests.fairness``)."""

from tests.fairness.answers import Answer, function
from tests.fairness.right_answers import RIGHT, Style
from tests.fairness.runner import Outcome, Submission, earned, submissions
from tests.fairness.wrong_answers import WRONG

__all__ = ["RIGHT", "WRONG", "Answer", "Outcome", "Style", "Submission", "earned", "function", "submissions"]
