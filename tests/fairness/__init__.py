"""Banks of wrong and of right answers, and what each earns (``python -m tests.fairness``)."""

from tests.fairness.answers import Answer, function
from tests.fairness.right_answers import RIGHT
from tests.fairness.runner import Outcome, Submission, Verdict, earned, judged, submissions
from tests.fairness.wrong_answers import WRONG

__all__ = [
    "RIGHT",
    "WRONG",
    "Answer",
    "Outcome",
    "Submission",
    "Verdict",
    "earned",
    "function",
    "judged",
    "submissions",
]
