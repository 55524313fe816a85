"""How results are written, and which engine runs."""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from stylenet.files import planning
from stylenet.system.errors import UserError


@dataclass(frozen=True)
class Writing:
    """How results are written. Raises UserError for invalid values.

    ``size``: maximum longer side, in pixels; larger pictures are downscaled first. ``quality``: 1 to 100, for JPEG,
    WebP, AVIF and films. ``overwrite``: replace existing results. ``skip_existing``: skip inputs that have a result.
    ``report``: a file for one line of JSON per picture, see :mod:`stylenet.files.report`.
    """

    size: int | None = None
    quality: int = 95
    overwrite: bool = False
    skip_existing: bool = False
    report: str | Path | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not (_whole(self.size) and self.size >= 1):
            raise UserError(f"size={self.size}: give the maximum longer side in whole pixels, such as size=1024.")
        if not (_whole(self.quality) and 1 <= self.quality <= 100):
            raise UserError(f"quality={self.quality}: give a whole number from 1 to 100.")
        if not isinstance(self.overwrite, bool):
            raise UserError(f"overwrite={self.overwrite}: give true or false.")
        planning.existing(self.overwrite, self.skip_existing)

    @property
    def existing(self) -> str:
        """How existing results are handled: see :func:`stylenet.files.planning.existing`."""
        return planning.existing(self.overwrite, self.skip_existing)


@dataclass(frozen=True)
class Engine:
    """``engine``: local or ray. ``workers``: number of workers on the cluster; None for one per GPU, or per core
    without GPUs.

    Raises UserError for invalid values.
    """

    engine: str = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise UserError(f"engine={self.engine}: give local or ray.")
        if self.workers is not None and not (_whole(self.workers) and self.workers >= 1):
            raise UserError(f"workers={self.workers}: give the number of workers, such as workers=4, or leave it out.")
        if self.workers is not None and self.engine != "ray":
            raise UserError(f"workers={self.workers} is for engine=ray: add that, or leave workers= out.")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
