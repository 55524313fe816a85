"""The metrics of a run as one CSV file, which survives kills and continues with a resumed run.

Knows nothing about the meaning of the metrics.
"""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

Row = tuple[int, dict[str, str]]


class Figures(Logger):
    """``folder``/metrics.csv: a row for each call, on disk before the next step; the first column is the step.

    ``earlier``: the folder of the resumed run. Its rows after the checkpoint are dropped, because the resumed run
    computes them again. Raises UserError if the disk is full.
    """

    def __init__(self, folder: Path, earlier: Path | None = None):
        super().__init__()
        self.path = folder / "metrics.csv"
        self.earlier = earlier / "metrics.csv" if earlier else None
        self.columns: list[str] = []  # none: the file is yet to be begun
        self.begun = earlier is None
        self.written: set[tuple[int, frozenset[str]]] = set()  # at the step of the checkpoint

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """They are in the run's .hydra folder already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        step = step or 0
        if not self.begun:
            self.go_on(step)  # nothing is left to train
        if (step, frozenset(metrics)) in self.written:
            return
        if new := [name for name in metrics if name not in self.columns]:
            rows = rows_of(self.path) if self.columns else []
            self._replace([*(self.columns or ["step"]), *new], rows)
        self._append(self._line({"step": step, **metrics}))

    def go_on(self, step: int) -> list[Row]:
        """Take over what the earlier run wrote up to ``step``, which is returned, and drop what comes after it."""
        self.begun = True
        rows = [row for row in rows_of(self.earlier) if row[0] <= step] if self.earlier else []
        self.written = {(at, frozenset(figures)) for at, figures in rows if at == step}
        if self.earlier == self.path:
            names = {name: None for _, figures in rows for name in figures}  # in their order
            self._replace(["step", *names], rows)
        return rows

    def _line(self, row: Mapping[str, Any]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns).writerow(row)
        return text.getvalue()

    def _replace(self, columns: list[str], rows: list[Row]) -> None:
        self.columns = columns
        lines = [self._line({"step": at, **figures}) for at, figures in rows]
        with replacing(self.path) as temp, temp.open("w", newline="") as file:
            file.writelines([self._line(dict(zip(columns, columns, strict=True))), *lines])

    def _append(self, line: str) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:
                before = file.tell()
                if file.write(line.encode()) < len(line.encode()):
                    os.truncate(self.path, before)
                    raise OSError(None, "there is no room for another line")
        except OSError as error:
            raise UserError(f"Cannot write {self.path}: {error.strerror}. Make room.") from error


def rows_of(path: Path) -> list[Row]:
    """The rows of a file of figures, each with its step, without empty fields, and without a line that a kill cut."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    rows = csv.DictReader(line for line in lines if line.endswith("\n"))
    return [(int(row.pop("step")), {name: value for name, value in row.items() if value}) for row in rows]
