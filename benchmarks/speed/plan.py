"""The measurement plan, and the common recipe built from it. Knows nothing about our training.

This module does not import Lightning: imports count as memory of the common recipe's process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import stylenet
from benchmarks.speed.common_recipe import CommonTraining
from benchmarks.speed.measuring import Clock, enough
from stylenet.data.paintings import open_painting
from stylenet.data.photos import find_images
from stylenet.images.image_io import to_tensor

BUNDLED = Path(stylenet.__file__).parent / "assets" / "photos" / "train"


@dataclass(frozen=True)
class Plan:
    """What is to be measured. ``train``: settings of ``scripts/train.py``; ``same_work``: the same with the common
    recipe's network and losses; ``styles``: as ``StyleTransfer`` takes them; ``seconds``: the least that is timed in a
    row.
    """

    train: dict[str, Any]
    same_work: dict[str, Any]
    styles: list[dict[str, Any]]
    device: torch.device
    common_batch: int
    sizes: list[int]
    repeats: int
    seconds: float
    compiled: bool
    profiled: bool

    @property
    def clock(self) -> Clock:
        return Clock(self.device)

    def common(self) -> CommonTraining:
        style, data = self.styles[0], self.train["data"]
        painting = 255 * to_tensor(open_painting(style["image"], style["size"]))
        photos = find_images(data["root"] or BUNDLED, "data")
        return CommonTraining(photos, painting, data["size"], self.common_batch, self.device)

    def settled(self, work: Callable[[], Any]) -> float:
        """Seconds that ``work`` takes when the first time is over."""
        work()
        count = enough(self.seconds, seconds := self.clock.time(work))
        return self.clock.time(work, count) if count > 1 else seconds
