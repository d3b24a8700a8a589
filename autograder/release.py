"""What is left out of a release besides solutions and hidden tests."""

from __future__ import annotations

from pathlib import Path

from nbformat import NotebookNode
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor

#: Files that the solution notebooks write, and that students are to produce themselves.
TRAINED = ("best_net.npz", "best_mlp.pt", "tuning_results.json", "depth_study.json")


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
