"""How results are written, and which engine runs."""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from stylenet.files import planning
from stylenet.system.errors import UserError


@dataclass(frozen=True)
class Writing:
    """How results are written. Raises UserError for values that are not allowed.

    ``size``: the longer side at most, in pixels: larger pictures are made smaller first. ``quality``: 1 to 100, of
    JPEG, WebP, AVIF and films. ``overwrite``: results that exist are replaced. ``skip_existing``: what has a result is
    left out. ``report``: a file that gets a line of JSON for each picture, see :mod:`stylenet.files.report`.
    """

    size: int | None = None
    quality: int = 95
    overwrite: bool = False
    skip_existing: bool = False
    report: str | Path | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not (_whole(self.size) and self.size >= 1):
            raise UserError(f"size={self.size}: give the longer side at most, in whole pixels, such as size=1024.")
        if not (_whole(self.quality) and 1 <= self.quality <= 100):
            raise UserError(f"quality={self.quality}: give a whole number from 1 to 100.")
        if not isinstance(self.overwrite, bool):
            raise UserError(f"overwrite={self.overwrite}: give true or false.")
        planning.existing(self.overwrite, self.skip_existing)

    @property
    def existing(self) -> str:
        """What becomes of a result that is there: see :func:`stylenet.files.planning.existing`."""
        return planning.existing(self.overwrite, self.skip_existing)


@dataclass(frozen=True)
class Engine:
    """``engine``: local or ray. ``workers``: the workers on the cluster; None for one for each GPU, or each core
    without a GPU.

    Raises UserError for values that are not allowed.
    """

    engine: str = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise UserError(f"engine={self.engine}: give local or ray.")
        if self.workers is not None and not (_whole(self.workers) and self.workers >= 1):
            raise UserError(
                f"workers={self.workers}: give how many there shall be, such as workers=4, or leave it out."
            )
        if self.workers is not None and self.engine != "ray":
            raise UserError(f"workers={self.workers} is for engine=ray: add that, or leave workers= out.")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
