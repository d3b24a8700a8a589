"""A small course, and what Canvas, Moodle and Blackboard export of it, as their sources say (see the docstrings of
:mod:`autograder.platforms` and :mod:`autograder.intake`)."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

# nbgrader calls alembic by its bare name when it makes a gradebook.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

#: Student -> points in ``test-relu`` (3 at most) and ``test-loss`` (7 at most); None for no submission.
POINTS = {"ada": (3.0, 7.0), "emil": (2.5, 0.0), "grace": None, "zoe": (0.0, 4.25)}
DUE = datetime.datetime(2026, 6, 10, 12, 0, 0)

CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Notes,Week One (4314),two layer net (4325),test-relu (4326),"
    "Assignments Current Score,Final Score\r\n"
    ",,,,,,,Manual Posting,,,\r\n"
    "    Points Possible,,,,,,5.00,10.00,3.00,(read only),(read only)\r\n"
    '"Lovelace, Ada",101,S1,ada,"Group A, and B","says ""hello""",4.50,,,95.00,47.50\r\n'
    '"=""=cmd""",102,S2,emil,Group A,,"1.00",9.00,1.50,20.00,10.00\r\n'
    '"Hopper, Grace",103,S3,grace,Group A,-,N/A,,,,\r\n'
    '"Müller, Zoë",104,S4,zoe,Group A,,,EX,3,,\r\n'
    '"Student, Test",999,,bbbc6740f0b9,Group A,,,,,,\r\n'
).encode("utf-8-sig")

WORKSHEET = (
    'Identifier,"Full name","ID number","Email address",Status,Grade,"Maximum grade","Grade can be changed",'
    '"Last modified (submission)","Last modified (grade)","Feedback comments"\n'
    '"Participant 501","Ada Lovelace",ada,ada@example.org,"Submitted for grading",,10.00,Yes,'
    '"Wednesday, 10 June 2026, 2:14 PM",-,"<p>=1+1</p>\nin two lines"\n'
    '"Participant 502","Emil Noether",emil,emil@example.org,"Submitted for grading",9.00,10.00,Yes,'
    '"Wednesday, 10 June 2026, 1:59 PM",-,\n'
    '"Participant 503","Grace Hopper",grace,grace@example.org,"No submission",,10.00,Yes,-,-,\n'
    '"Participant 504","Zoë Müller",zoe,zoe@example.org,"Submitted for grading",1.00,10.00,No,'
    '"Wednesday, 10 June 2026, 9:00 AM",-,-\n'
).encode("utf-8-sig")

MOODLE = (
    "First name;Last name;ID number;Institution;Department;Email address;Assignment: two_layer_net (Real);"
    "Assignment: two_layer_net (Feedback);Course total (Real);Last downloaded from this course\n"
    "Ada;Lovelace;ada;;;ada@example.org;-;;97,50;1781092800\n"
    "Emil;Noether;emil;;;emil@example.org;9,00;good;9,00;1781092800\n"
    "Grace;Hopper;grace;;;grace@example.org;-;;-;1781092800\n"
    "Zoë;Müller;zoe;;;zoe@example.org;-;;-;1781092800\n"
).encode()

BLACKBOARD = (
    '"Last Name"\t"First Name"\t"Username"\t"Student ID"\t"Last Access"\t"Availability"'
    '\t"two_layer_net [Total Pts: 10 Score] |900001"\t"test-loss [Total Pts: 7 Score] |900002"'
    '\t"Total [Total Pts: up to 17 Score] |900003"\n'
    '"Lovelace"\t"Ada"\t"ada"\t"S1"\t"2026-06-10 14:14:00"\t"Yes"\t""\t""\t"0.00"\n'
    '"Noether"\t"Emil"\t"emil"\t"S2"\t""\t"Yes"\t"9.00"\t"Needs Grading(1.00)"\t"9.00"\n'
    '"Hopper"\t"Grace"\t"grace"\t"S3"\t""\t"Yes"\t""\t""\t""\n'
    '"Müller"\t"Zoë"\t"zoe"\t"S4"\t""\t"Yes"\t""\t"4.25"\t""\n'
).encode("utf-16")


def coursedir(root: Path) -> CourseDirectory:
    """A course folder with its gradebook in ``root``."""
    settings = Config()
    settings.CourseDirectory.root = str(root)
    settings.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
    return CourseDirectory(config=settings)


def fill_gradebook(gradebook: Gradebook, *, students: bool) -> None:
    """An assignment of two notebooks with a question each, and perhaps the graded class."""
    gradebook.add_assignment("two_layer_net", duedate=str(DUE))
    for notebook, question, most in (("1_first", "test-relu", 3), ("2_second", "test-loss", 7)):
        gradebook.add_notebook(notebook, "two_layer_net")
        gradebook.add_grade_cell(question, notebook, "two_layer_net", max_score=most, cell_type="code")
    if not students:
        return
    names = {
        "ada": ("Ada", "Lovelace"),
        "emil": ("Emil", "Noether"),
        "grace": ("Grace", "Hopper"),
        "zoe": ("Zoë", "Müller"),
    }
    for number, (student, points) in enumerate(POINTS.items(), 101):
        first, last = names[student]
        gradebook.add_student(
            student, first_name=first, last_name=last, email=f"{student}@example.org", lms_user_id=str(number)
        )
        if points is None:
            continue
        gradebook.add_submission("two_layer_net", student)
        for notebook, question, earned in (("1_first", "test-relu", points[0]), ("2_second", "test-loss", points[1])):
            grade = gradebook.find_grade(question, notebook, "two_layer_net", student)
            grade.auto_score, grade.needs_manual_grade = earned, False
        gradebook.db.commit()
