"""nbgrader's settings for this course; read by every nbgrader command run from this folder.

Whatever nbgrader writes lives in ``course/`` (or in ``$COURSE_ROOT``, which the tests use).
"""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent
WORK = Path(os.environ.get("COURSE_ROOT", REPOSITORY / "course")).resolve()

if str(REPOSITORY) not in sys.path:  # nbgrader's commands don't import from the working directory
    sys.path.insert(0, str(REPOSITORY))
# nbgrader calls alembic by its bare name; so it works when the environment isn't activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor  # noqa: E402
from nbgrader.preprocessors import GetGrades  # noqa: E402

from autograder.feedback import HideHiddenTests  # noqa: E402
from autograder.plugins import use_own_converters  # noqa: E402
from autograder.release import (  # noqa: E402
    TRAINED,
    BeginWithPackage,
    KeepingRelease,
    LeaveOutTrainedNetworks,
    RunToTheEnd,
    ShowExpectedFigures,
)  # fmt: skip

c = get_config()  # noqa: F821 - defined where nbgrader runs this file

c.CourseDirectory.course_id = "two-layer-net"
c.CourseDirectory.root = str(REPOSITORY)
c.CourseDirectory.source_directory = str(REPOSITORY / "notebooks")
c.CourseDirectory.release_directory = str(WORK / "release")
c.CourseDirectory.submitted_directory = str(WORK / "submitted")
c.CourseDirectory.autograded_directory = str(WORK / "autograded")
c.CourseDirectory.feedback_directory = str(WORK / "feedback")
c.CourseDirectory.solution_directory = str(WORK / "solution")
c.CourseDirectory.db_url = f"sqlite:///{WORK / 'gradebook.db'}"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__"]

_default = KeepingRelease.class_traits()["preprocessors"].default()
c.GenerateAssignment.preprocessors = [
    ShowExpectedFigures, BeginWithPackage, *_default, RunToTheEnd, LeaveOutTrainedNetworks,
]  # fmt: skip
# Where the wheel that `make handout` builds can be downloaded: a released notebook installs it from there.
c.BeginWithPackage.wheel = os.environ.get("COURSE_WHEEL", "")
# A student's trained network is graded, not overwritten by the solution's.
c.Autograde.exclude_overwriting = {"two_layer_net": list(TRAINED)}

# nbgrader's own commands and formgrader grade as "make grade" does, each in a cage; see autograder/README.md.
use_own_converters()

c.Exchange.root = os.environ.get("COURSE_EXCHANGE", str(WORK / "exchange"))
c.Exchange.path_includes_course = False

# nbgrader's own table writes names as they are: a comma or a formula in one would do harm.
c.ExportApp.plugin_class = "autograder.export.GradesTable"
c.CsvExportPlugin.to = str(WORK / "grades.csv")

# On the pages of formgrader and feedback, what a student wrote is shown and never acts.
c.HTMLExporter.preprocessors = ["autograder.pages.AsPage"]
c.HTMLExporter.filters = {"markdown2html": "autograder.pages.markdown_on_a_page"}

# Formulas and pictures of the commonest mistakes, for the page that "make report" ends with.
c.Report.explain = "autograder.report.two_layer_net:explain"

# Pages that students get back: no source of a hidden test.
c.GenerateFeedback.preprocessors = [GetGrades, HideHiddenTests, CSSHTMLHeaderPreprocessor]

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ExecutePreprocessor.timeout = 120
