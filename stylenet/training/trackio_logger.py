"""Charts and sheets for trackio, a dashboard on one's own machine. Knows nothing about the meaning of the metrics.

trackio keeps its runs in ``TRACKIO_DIR``, by default in the Hugging Face cache. It writes twice a second, so a kill
takes rows; ``figures`` has them on disk at once, and the resumed run gives them to it again.
"""

import json
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from pytorch_lightning.loggers import Logger

from stylenet.system.atomic import replacing
from stylenet.training.csv_logger import Figures
from stylenet.training.unfailing import Unfailing

WHERE = "trackio_run.json"  # in a run's folder: its name and its project at trackio


class Trackio(Unfailing, Logger):
    """A run of trackio. ``earlier``: the folder of the run that is resumed, whose charts continue.

    ``name``: a number is added if the project has a run of this name, since trackio finds runs by their names.
    """

    called = "trackio"

    def __init__(
        self,
        figures: Figures,
        folder: Path,
        earlier: Path | None,
        config: dict[str, Any],
        name: str,
        project: str = "stylenet",
        group: str | None = None,
    ):
        super().__init__()
        self.trackio: Any = import_module("trackio")
        self.figures, self.earlier = figures, earlier
        known = _kept(earlier)
        name, project = known or (self._free(name, project), project)
        with redirect_stdout(sys.stderr):  # it greets, and standard output is for the path of the style
            self.run = self.trackio.init(
                project, name=name, group=group, config=config, resume="allow" if known else "never", embed=False
            )
        storage = import_module("trackio.sqlite_storage").SQLiteStorage
        last = storage.get_max_step_for_run(project, name) if known else None
        self.last = -1 if last is None else last
        with replacing(folder / WHERE) as temp:
            temp.write_text(json.dumps({"name": name, "project": project}))

    @property
    def name(self) -> str:
        return "trackio"

    @property
    def version(self) -> str:
        return self.run.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run has the whole config from the start."""

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        if step > self.last:
            with self.unfailing():
                self.run.log({name: self.trackio.Image(picture)}, step=step)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if not self.figures.begun:
            self.go_on(step or 0)  # nothing is left to train
        self.figures.log_metrics(metrics, step)
        self._chart(metrics, step or 0)

    def go_on(self, step: int) -> None:
        """Give trackio what the earlier run had up to ``step``, so far as it lacks it."""
        for at, figures in self.figures.go_on(step):
            self._chart({name: float(value) for name, value in figures.items()}, at)

    def _chart(self, metrics: Any, step: int) -> None:
        if step > self.last:
            with self.unfailing():
                self.run.log(dict(metrics), step=step)

    def keep_style(self, path: Path, info: dict[str, Any]) -> None:
        """The end of the run: what is not written yet is written."""
        with self.unfailing(), redirect_stdout(sys.stderr):
            self.trackio.finish()

    def _free(self, name: str, project: str) -> str:
        """``name``, or the first of ``name 2``, ``name 3`` ... that no run of the project has."""
        try:
            taken = {run.name for run in self.trackio.Api().runs(project)}
        except ValueError:  # a new project
            taken = set()
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name} {number}"
        return free


def _kept(earlier: Path | None) -> tuple[str, str] | None:
    """The name and the project of the run in the folder ``earlier``, if trackio had it."""
    try:
        kept = json.loads((earlier / WHERE).read_text()) if earlier else {}
        return str(kept["name"]), str(kept["project"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
