"""Try both banks and print what comes of it; exit status 1 if any answer is judged wrongly."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.fairness import RIGHT, WRONG, judged

_MARKS = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "–"}


def main() -> int:
    """Print both tables and the totals; returns the exit status."""
    console = Console()
    width = max(console.width, 150) if not console.is_terminal else None
    console = Console(width=width)
    wrong = Table("wrong answer", "must lose", "caught", "cause named", "what the student reads", title="Wrong answers")
    right = Table("right answer", "accepted", "what the student reads", title="Right answers")
    caught = named = nameable = accepted = 0
    for answer in track(WRONG, "wrong answers", console=console, transient=True):
        verdict = judged(answer)
        named_here = verdict.named if answer.says else None
        caught, named, nameable = caught + verdict.fair, named + bool(named_here), nameable + bool(answer.says)
        questions = ", ".join(name.removeprefix("test-") for name in answer.loses)
        wrong.add_row(answer.title, questions, _MARKS[verdict.fair], _MARKS[named_here], verdict.message)
    for answer in track(RIGHT, "right answers", console=console, transient=True):
        verdict = judged(answer)
        accepted += verdict.fair
        right.add_row(answer.title, _MARKS[verdict.fair], verdict.message)
    console.print(wrong, right)
    console.print(
        f"{caught} of {len(WRONG)} wrong answers lose exactly the points of their question;"
        f" of {nameable} recognisable causes, {named} are named;"
        f" {accepted} of {len(RIGHT)} right answers keep all points."
    )
    return int((caught, named, accepted) != (len(WRONG), nameable, len(RIGHT)))


if __name__ == "__main__":
    sys.exit(main())
