"""What is different in a release, besides solutions and hidden tests."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import re
import shutil
import sys
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Comment, Grade, Gradebook, MissingEntry, Notebook, SubmittedNotebook
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor, SaveCells
from PIL import Image
from traitlets import List, Unicode

from autograder.assignment import SETUP_TAG

#: Files that the solution notebooks write, and that students are to produce themselves.
TRAINED = ("best_net.npz", "best_mlp.pt", "tuning_results.json", "depth_study.json")

#: Cells whose figures students see beforehand -> what each figure shows, for those who can't see it.
EXPECTED: dict[str, dict[str, tuple[str, ...]]] = {
    "1_forward_check": {
        "graph": (
            "The network as a graph, from the data X on the left through z2, a2, z3 and a3 to the loss J, with the"
            " values of each array below its name.",
        ),
        "loop-times": (
            "Time against the number of entries, on logarithmic axes: the loop's time grows with them from the first"
            " entry on; relu's stays the same up to a few hundred entries, and for 100,000 it is hundreds of times"
            " shorter than the loop's.",
        ),
    },
    "2_backprop_derivation": {
        "graph": (
            "The graph of notebook 1 with two arrays at each place: the value, and below it the gradient of J, of the"
            " same shape; the gradients that belong to the second hidden unit are zero.",
        )
    },
    "3_gradient_check": {
        "step-figure": (
            "Error against step on logarithmic axes: from the right, the central differences' error falls with slope"
            " 2 to its least value near h = 1e-5 and rises with slope -1 below; the forward differences' error falls"
            " with slope 1 to a least value near h = 1e-8 that is some three digits larger.",
        ),
        "boundaries": (
            "Eight squares with the regions in which a network decides for each arm of the spiral. The linear"
            " classifier's are bounded by straight lines and cut through the arms, with accuracy 0.48; with more"
            " hidden units the boundaries bend, and from 20 units on they follow the arms, with accuracy 1.",
        ),
    },
    "4_cifar10_tuning": {
        "toy": (
            "The loss of the toy problem falls steeply within 30 iterations and is nearly zero at 100; both accuracies"
            " reach 1.",
        ),
        "default-training": (
            "The loss stays at 2.3 for some hundred iterations and falls slowly to about 2 by iteration 1,000, still"
            " falling; the accuracies on training and validation data rise together to about 0.28.",
            "The weights of 50 hidden units as pictures: soft patches of colour, many of them alike.",
        ),
        "representation": (
            "Validation accuracies: about 0.39 of a linear classifier on pixels, 0.52 of the network on pixels, 0.47 of"
            " the linear classifier on histograms of gradients, and 0.60 of the network on them.",
        ),
    },
    "5_pytorch_comparison": {
        "parity": (
            "Left, the deviations of scores, loss and four gradients, all below 1e-15; right, the deviation of the"
            " parameters stays near 1e-15 over 100 steps of training, far below the bound of 1e-9.",
        ),
        "layers": (
            "The size of the numbers against the layer, on a logarithmic axis, a straight line for each standard"
            " deviation: with 0.0001 it falls by more than 150 powers of ten, with 1 it grows by nearly 40, and with"
            " 0.17 or 0.18 it stays within a few powers of ten.",
        ),
        "trap": (
            "Left, validation accuracy against hidden layers: with weights of size 1e-4 about 0.43 for one layer and"
            " that of guessing, from one class alone, for more; with Kaiming initialisation above 0.4 at every depth."
            " Right, the loss: at log 10 where the accuracy is that of guessing.",
        ),
        "sizes": (
            "With weights of size 1e-4, outputs and gradients shrink by a factor of about a thousand with each layer;"
            " with Kaiming initialisation both keep their size.",
        ),
        "study": (
            "Accuracy against the number of hidden layers, for validation, test and training data: one layer is best"
            " or as good as any, and ReLU and GELU lie above tanh at every depth.",
        ),
    },
}
#: Tag of a cell whose figure shows what the student has predicted beforehand.
PREDICTED_TAG = "predicted"
_HEADING = "With a right solution"
#: Id of the cell that a release begins with.
FIRST_CELL = "begin"
#: Widest picture in a released notebook, in pixels, and its number of colours.
_WIDTH, _COLOURS = 800, 64


class SaveCellsKeepingGrades(SaveCells):
    """Save the cells of a notebook that has been graded too: what is new gets empty grades, what is gone goes.

    nbgrader's own refuses where there are submissions. What those have for cells that stay is kept.
    """

    def _create_notebook(self, nb: NotebookNode) -> None:
        with_submissions = bool(self.gradebook.find_assignment(self.assignment_id).submissions)
        if with_submissions:
            with contextlib.suppress(MissingEntry):  # a new notebook, which nbgrader's own makes
                self._match(self.gradebook.find_notebook(self.notebook_id, self.assignment_id))
        super()._create_notebook(nb)
        if with_submissions:
            self._mirror(self.gradebook.find_notebook(self.notebook_id, self.assignment_id))

    def _match(self, notebook: Notebook) -> None:
        """Take away what the notebook no longer has, and add what is new."""
        database = self.gradebook.db
        for kind in ("grade", "solution", "task", "source"):
            new = getattr(self, f"new_{kind}_cells")
            for cell in list(getattr(notebook, f"{kind}_cells")):
                if cell.name not in new:
                    rows = [] if kind == "source" else [*cell.grades, *cell.comments]
                    self.log.warning(
                        "Removing %s from the gradebook, with what %d rows say of it", cell.name, len(rows)
                    )
                    for row in [*rows, cell]:
                        database.delete(row)
            database.commit()
            database.expire_all()
            for name, info in new.items():
                getattr(self.gradebook, f"update_or_create_{kind}_cell")(
                    name, self.notebook_id, self.assignment_id, **info
                )
        database.expire_all()

    def _mirror(self, notebook: Notebook) -> None:
        """Give each submission what :meth:`nbgrader.api.Gradebook.add_submission` would give it."""
        database = self.gradebook.db
        database.expire_all()  # the notebook's cells are looked up anew
        theirs = {submitted.assignment_id: submitted for submitted in notebook.submissions}
        for submission in notebook.assignment.submissions:
            submitted = theirs.get(submission.id) or SubmittedNotebook(notebook=notebook, assignment=submission)
            graded = {grade.cell_id for grade in submitted.grades}
            commented = {comment.cell_id for comment in submitted.comments}
            for cell in [*notebook.grade_cells, *notebook.task_cells]:
                if cell.id not in graded:
                    Grade(cell_id=cell.id, notebook=submitted)
            for cell in [*notebook.solution_cells, *notebook.task_cells]:
                if cell.id not in commented:
                    Comment(cell_id=cell.id, notebook=submitted)
            database.add(submitted)  # and with it what it has now
        database.commit()


class KeepingRelease(GenerateAssignment):
    """``nbgrader generate_assignment``, which keeps grades and, if it fails, the release that there was.

    nbgrader's own refuses where questions or notebooks have come or gone since something was graded, and deletes the
    release.
    """

    preprocessors = List(
        [SaveCellsKeepingGrades if one is SaveCells else one
         for one in GenerateAssignment.class_traits()["preprocessors"].default()]
    ).tag(config=True)  # fmt: skip

    def _clean_old_notebooks(self, assignment_id: str, student_id: str) -> None:
        names = {Path(path).stem for path in self.notebooks}
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            for name in [notebook.name for notebook in gradebook.find_assignment(assignment_id).notebooks]:
                if name not in names:
                    self.log.warning("Removing the notebook %s from the gradebook, with its grades", name)
                    gradebook.remove_notebook(name, assignment_id)

    def start(self) -> None:
        """Make the release anew, or leave everything as it is."""
        release = Path(self.coursedir.format_path(self.coursedir.release_directory, ".", self.coursedir.assignment_id))
        aside = release.with_name(f".{release.name}.before")
        if aside.exists():  # left by a run that was killed
            shutil.rmtree(release, ignore_errors=True)
            aside.rename(release)
        if self.force and release.exists():
            shutil.copytree(release, aside.with_name(f"{aside.name}.partial"), dirs_exist_ok=True)
            aside.with_name(f"{aside.name}.partial").rename(aside)
        try:
            super().start()
        except BaseException:
            if aside.exists():
                shutil.rmtree(release, ignore_errors=True)
                aside.rename(release)
            raise
        shutil.rmtree(aside, ignore_errors=True)


class LeaveOutTrainedNetworks(NbGraderPreprocessor):
    """Delete the solution's trained networks from the folder that is handed out.

    ``CourseDirectory.ignore`` would do so too, but nbgrader applies it to submissions as
    well, and would then leave out the students' networks.
    """

    def preprocess(self, notebook: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Delete the files; the notebook is returned as it is."""
        course = CourseDirectory(parent=self)
        release = course.format_path(course.release_directory, ".", resources["nbgrader"]["assignment"])
        for name in TRAINED:
            (Path(release) / name).unlink(missing_ok=True)
        return notebook, resources


class ShowExpectedFigures(NbGraderPreprocessor):
    """Put the stored figures of :data:`EXPECTED` below their cells, so that students know what a right one looks like.

    The picture stands in the text as a data address, since Colab shows no attachments. Below a cell that is tagged
    :data:`PREDICTED_TAG` it is folded away, since it shows what is to be predicted.
    """

    def preprocess(self, notebook: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Add a Markdown cell after each cell whose figures are shown."""
        expected = EXPECTED.get(resources["nbgrader"]["notebook"], {})
        cells = []
        for cell in notebook.cells:
            cells.append(cell)
            descriptions = expected.get(cell.metadata.get("nbgrader", {}).get("grade_id"), ())
            if descriptions:
                cells.append(_expected(cell, descriptions))
        notebook.cells = cells
        return notebook, resources


def _expected(cell: NotebookNode, descriptions: tuple[str, ...]) -> NotebookNode:
    pages = [output.data["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
    figures = re.findall(r'src="data:image/png;base64,([^"]+)"', "\n".join(pages))
    folded = PREDICTED_TAG in cell.metadata.get("tags", [])
    lines = [f"<details><summary>{_HEADING}, once you have predicted it</summary>" if folded else f"{_HEADING}:"]
    addresses = []
    for number, (figure, description) in enumerate(zip(figures, descriptions, strict=True), start=1):
        lines.append(f"![{description}][expected-{number}]")
        addresses.append(f"[expected-{number}]: data:image/png;base64,{_smaller(figure)}")
    lines += ["</details>"] if folded else []
    shown = new_markdown_cell("\n\n".join(lines + addresses), metadata={"deletable": False, "editable": False})
    shown.id = f"{cell.id}-expected"
    return shown


def _smaller(figure: str) -> str:
    """A picture, in base64, with fewer colours and no wider than need be."""
    with Image.open(io.BytesIO(base64.b64decode(figure))) as picture:
        picture.thumbnail((_WIDTH, picture.height))
        written = io.BytesIO()
        picture.convert("RGB").quantize(_COLOURS).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


class BeginWithPackage(NbGraderPreprocessor):
    """Give a notebook a first code cell that says what isn't installed, and installs the course's package if it can."""

    wheel = Unicode("", help="Address of the course's wheel, from which the first cell installs it; may be empty.").tag(
        config=True
    )

    def preprocess(self, notebook: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Add the cell before the first one that is tagged ``setup``."""
        setup = [cell for cell in notebook.cells if SETUP_TAG in cell.metadata.get("tags", [])]
        source = Path(__file__).with_name("first_cell.py").read_text(encoding="utf-8").rstrip()
        source = source.replace('WHEEL = ""', f"WHEEL = {self.wheel!r}")
        source = source.replace("NEEDED: tuple[str, ...] = ()", f"NEEDED = {_imported(setup)}")
        source = source.replace("  # noqa: E402", "")
        cell = new_code_cell(source, metadata={"deletable": False, "editable": False})
        cell.id = FIRST_CELL
        notebook.cells.insert(notebook.cells.index(setup[0]), cell)
        return notebook, resources


class RunToTheEnd(NbGraderPreprocessor):
    """Have *Run All* go on after a question that isn't answered yet.

    Jupyter goes on after an error where a cell has the tag ``raises-exception``. Where nothing is
    asked for but experiments or a prediction, outside of functions, nothing raises an error.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """Tag a code cell that may depend on an answer, and empty one that only raises."""
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and cell.id != FIRST_CELL and SETUP_TAG not in tags:
            cell.metadata.tags = [*tags, "raises-exception"]
            stub = ClearSolutions(parent=self).code_stub["python"]
            given, stubs = re.subn(rf"^{re.escape(stub)}$", "", cell.source, flags=re.MULTILINE)
            if stubs:
                cell.source = given.strip() or stub.splitlines()[0]
        return cell, resources


def _imported(cells: list[NotebookNode]) -> tuple[str, ...]:
    """The packages that cells import, the standard library left out."""
    names: set[str] = set()
    for statement in ast.parse("\n".join(cell.source for cell in cells)).body:
        if isinstance(statement, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names.add(statement.module.partition(".")[0])
    return tuple(sorted(names - sys.stdlib_module_names))
