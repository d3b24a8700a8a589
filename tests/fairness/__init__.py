"""Banks of wrong and of right answers, and what each earns (``python -m tests.fairness``)."""

from tests.fairness import pytorch_answers, right_answers, wrong_answers
from tests.fairness.answers import Answer, function
from tests.fairness.runner import Outcome, Submission, Verdict, earned, judged, submissions

WRONG = [*wrong_answers.WRONG, *pytorch_answers.WRONG]
RIGHT = [*right_answers.RIGHT, *pytorch_answers.RIGHT]

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
