"""Random crops of photos, each a function of (seed, k). Knows nothing about styles, networks or Lightning.

k counts the samples of a whole run. So a resumed run continues with the next crop, and the crops do not depend on the
number of workers or processes.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from stylenet.data.photos import open_photo
from stylenet.system.errors import UserError

NAMED = 20  # broken photos logged one by one; then every hundredth

log = logging.getLogger(__name__)


class Crops(Dataset[Tensor]):
    """Random crops of photos, indexed by the global sample number k: uint8 (3, size, size).

    scale: minimum and maximum share of the photo's area; ratio: minimum and maximum width / height; flip: mirror half
    of the crops. An unreadable photo is logged once and replaced by another, chosen by (seed, k). Indexing raises
    UserError if no photo can be read.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        size: int,
        seed: int,
        scale: tuple[float, float],
        ratio: tuple[float, float],
        flip: bool,
    ) -> None:
        self.photos, self.size, self.seed = photos, size, seed
        self.scale, self.ratio, self.flip = scale, ratio, flip
        self._broken = torch.zeros(len(photos), dtype=torch.bool)

    def share(self) -> None:
        """Share the list of broken photos with processes started later. Raises OSError or RuntimeError without shared
        memory.
        """
        self._broken.share_memory_()

    @property
    def skipped(self) -> int:
        """Number of unreadable or tiny photos found so far, in all workers."""
        return int(self._broken.sum())

    def __getitem__(self, k: int) -> Tensor:
        area, ratio, left, top, mirrored = np.random.default_rng((self.seed, 1, k)).random(5)
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * area
        ratio = self.ratio[0] * (self.ratio[1] / self.ratio[0]) ** ratio
        photo = self._photo(k, math.ceil(self.size / _least_share(area, ratio)))
        box = _box(photo.size, area, ratio, left, top)
        crop = to_uint8(photo.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))
        return crop.flip(-1) if self.flip and mirrored < 0.5 else crop

    def _photo(self, k: int, at_least: int) -> Image.Image:
        for index in self._candidates(k):
            if not self._broken[index]:
                try:
                    return open_photo(self.photos[index], at_least)
                except UserError as error:
                    self._skip(index, error)
        raise UserError(f"None of the {len(self.photos)} photos can be read; the first is {self.photos[0]}")

    def _candidates(self, k: int) -> Iterator[int]:
        """The photo of sample k, then all photos in an order given by (seed, k)."""
        count = len(self.photos)
        yield int(_order(count, self.seed, k // count)[k % count])
        yield from np.random.default_rng((self.seed, 2, k)).permutation(count).tolist()

    def _skip(self, index: int, error: UserError) -> None:
        self._broken[index] = True
        count = self.skipped
        if count <= NAMED or count % 100 == 0:
            log.warning("skipped photo %d: %s", count, error)


class GlobalSamples(Sampler[list[int]]):
    """The sample numbers of one process, in batches, from ``start`` on: use it as a ``batch_sampler``.

    Each global batch has ``world * batch`` consecutive numbers; process ``rank`` takes the rank-th slice of ``batch``.
    The length is that of the whole run, including the ``done`` batches before ``start``, as Lightning counts.
    """

    def __init__(self, start: int, steps: int, batch: int, rank: int = 0, world: int = 1, done: int = 0) -> None:
        self.start, self.steps, self.batch = start, steps, batch
        self.rank, self.world, self.done = rank, world, done

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        first = self.start + self.rank * self.batch
        for step in range(self.steps - self.done):
            begin = first + step * self.world * self.batch
            yield list(range(begin, begin + self.batch))


def to_uint8(photo: Image.Image) -> Tensor:
    """An RGB picture as uint8 (3, h, w)."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous()


def centre_square(photo: Image.Image, size: int) -> Image.Image:
    """The largest centred square of the photo, resized to ``size`` x ``size``."""
    return photo.resize((size, size), Image.Resampling.BICUBIC, box=_box(photo.size, 1.0, 1.0, 0.5, 0.5))


@lru_cache(maxsize=2)  # a batch may span two epochs
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


def _box(
    photo: tuple[int, int], area: float, ratio: float, left: float, top: float
) -> tuple[float, float, float, float]:
    """A crop of ``area`` times the photo's area, shrunk to fit; left and top in [0, 1] position it."""
    width, height = math.sqrt(area * photo[0] * photo[1] * ratio), math.sqrt(area * photo[0] * photo[1] / ratio)
    fit = min(1.0, photo[0] / width, photo[1] / height)
    # min: rounding may exceed the edge by one part in 1e16, which Pillow rejects
    width, height = min(width * fit, photo[0]), min(height * fit, photo[1])
    x, y = left * (photo[0] - width), top * (photo[1] - height)
    return x, y, min(x + width, photo[0]), min(y + height, photo[1])


def _least_share(area: float, ratio: float) -> float:
    """The minimum share of the photo's short side that the crop's short side covers, for any aspect ratio."""
    skew = max(ratio, 1 / ratio)
    return min(math.sqrt(area / skew), 1 / skew)
