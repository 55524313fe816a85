"""Batches of photos for training and validation. Knows nothing about styles, networks or losses.

photos.py finds the photos, crops.py crops them. Pixels stay uint8 until they are on the device.
"""

import atexit
import ctypes
import logging
import math
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stylenet.data.coco import fetch_coco
from stylenet.data.crops import Crops, GlobalSamples, centre_square, to_uint8
from stylenet.data.pairs import PaintingCrops, Pairs
from stylenet.data.photos import MIN_SIDE, data_root, find_images, hold_out, identity, open_photo
from stylenet.images.color import Colors
from stylenet.nets.layers import NOISE_SIDES
from stylenet.system.errors import UserError, one_line
from stylenet.system.places import ASSETS, home

PR_SET_PDEATHSIG = 1  # Linux's prctl option: the signal sent when the parent ends
BUNDLED = ASSETS / "photos"

SHARED = Path("/dev/shm")  # Linux's shared memory
SHARE_MORE = "Give data.workers=0, or start the container with --shm-size=1g or --ipc=host."
PREFETCHED = 2  # batches per worker

log = logging.getLogger(__name__)

COLOR_CROPS = 64
MOST_HELD = 2**28  # bytes of validation photos kept in memory: about 600 of 384 pixels


class Photos(pl.LightningDataModule):
    """Training crops and held-out validation photos, as uint8 batches (b, 3, side, side).

    root: folder, list file or unpacked COCO; None: the bundled photos. size: side of the loss window, at a random
    position in crops that are larger by ``margin``. batch_size: per process. steps: of the whole run. val: number of
    photos to hold out (at most a fifth), or a folder of them; val_size: side of their centre
    squares. paintings: for training any style, a folder of paintings; every batch then is (photos, paintings), both
    crops of one size; val_paintings: how many of them to hold out (at most a fifth), or a folder of others. coco:
    without root, use COCO in the cache folder, fetched there if ``download``. Raises UserError for
    settings out of range and, in ``setup``, if there are no photos.
    """

    start_step, start_sample = 0, 0
    """The sample number at this step. A resumed run may have another batch size, or more processes."""

    crops: Crops
    """The training crops by sample number, from ``setup`` on."""

    painting_crops: PaintingCrops | None = None
    """The same of the paintings, if there are any."""

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        steps: int,
        seed: int,
        size: int,
        batch_size: int,
        scale: Sequence[float],
        ratio: Sequence[float],
        flip: bool,
        workers: int | Literal["auto"],
        val: int | str | Path,
        val_size: int,
        margin: int = 0,
        paintings: str | Path | None = None,
        val_paintings: int | str | Path = 20,
        coco: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        _check_numbers(steps=(steps, 1), seed=(seed, 0), batch_size=(batch_size, 1))
        _check_numbers(size=(size, MIN_SIDE), val_size=(val_size, MIN_SIDE))
        _check_numbers(workers=(0 if workers == "auto" else workers, 0), val=(val if isinstance(val, int) else 0, 0))
        _check_numbers(margin=(margin, 0))
        if not isinstance(flip, bool):
            raise UserError(f"data.flip={flip}: give true or false.")
        self.scale, self.ratio = _pair("scale", scale, 1), _pair("ratio", ratio, math.inf)
        self.steps, self.seed, self.batch_size, self.flip = steps, seed, batch_size, flip
        self.size, self.margin = size, margin
        self.workers, self.val, self.val_size = workers, val, val_size
        self.root = Path(root).expanduser() if root else None
        self.coco, self.download = coco, download
        _check_numbers(val_paintings=(val_paintings if isinstance(val_paintings, int) else 0, 0))
        self.paintings, self.held_paintings = paintings, val_paintings
        self._bundled = self.root is None and not coco
        self.val_photos = HeldOut(val_size)  # the same photos in every run
        self.val_paintings = HeldOut(val_size)
        self._unreadable: list[Path] = []  # found while choosing them

    def prepare_data(self) -> None:
        """Fetch COCO if ``download`` is set."""
        if self.coco and self.download:
            fetch_coco(self.root or home() / "coco")

    def setup(self, stage: str | None = None) -> None:
        """Find the photos, hold out the validation photos and check that training photos remain."""
        if hasattr(self, "crops"):
            return
        root = data_root(self._root())
        photos = find_images(root)
        held_out = self._hold_out(photos, root)
        known = {identity(path) for path in [*held_out, *self._unreadable]}
        remaining = [path for path in photos if identity(path) not in known]
        if not remaining:
            reason = "is also a validation photo" if held_out else "is unreadable"
            raise UserError(
                f"Every one of the {len(photos)} photos in {root} {reason}. Give other photos: data.root=..."
            )
        crops = Crops(remaining, self.size + self.margin, self.seed, self.scale, self.ratio, self.flip)
        crops[self._start()]  # fails here, not in a worker, if none can be read
        if self.paintings is not None:
            self.painting_crops = self._find_paintings(self.paintings)
        self.crops = crops
        if self._bundled and self._first_process():
            count = len(remaining)
            log.warning("only %d bundled photos; a real style needs thousands: data=folder data.root=...", count)

    def _find_paintings(self, folder: str | Path) -> PaintingCrops:
        """The crops of the paintings, without those that are held out."""
        root = data_root(folder)
        paintings = find_images(root, "data.paintings")
        if isinstance(self.held_paintings, int):
            others, at, count = paintings, root, min(self.held_paintings, len(paintings) // 5)
        else:
            at = data_root(self.held_paintings)
            others = find_images(at, "data.val_paintings")
            count = len(others)
        held_out = hold_out(others, at, count, partial(self._add_val, held=self.val_paintings, kind="painting"))
        known = {identity(path) for path in [*held_out, *self._unreadable]}
        if not (remaining := [path for path in paintings if identity(path) not in known]):
            raise UserError(
                f"data.paintings={folder}: all {len(paintings)} are unreadable or validation paintings. Give others."
            )
        crops = PaintingCrops(remaining, self.size + self.margin, self.seed)
        crops[0]
        return crops

    def colors(self) -> Colors:
        """Mean and covariance of the training photos' colours, over the first COLOR_CROPS crops."""
        self.prepare_data()
        self.setup()
        return Colors(self.crops[number][None] / 255 for number in range(COLOR_CROPS))

    def train_dataloader(self) -> DataLoader[Any]:
        """This process's share of the batches, from ``start_sample`` on."""
        rank, world = self._rank_and_world()
        done = self._trainer_step(self._start() // (world * self.batch_size))
        workers = self._workers()
        if workers and (problem := self._shared_memory_problem(workers)):
            if self.workers != "auto":
                raise UserError(f"data.workers={workers}: {problem} {SHARE_MORE}")
            log.warning("photos are read in the training process (data.workers=0): %s %s", problem, SHARE_MORE)
            workers = 0
        if workers:
            atexit.register(_end_workers)
        return DataLoader(
            self.crops if self.painting_crops is None else Pairs(self.crops, self.painting_crops),
            batch_sampler=GlobalSamples(self._start(), self.steps, self.batch_size, rank, world, done),
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=partial(_begin_worker, Image.MAX_IMAGE_PIXELS),
        )

    def val_dataloader(self) -> DataLoader[Any] | list[Tensor]:
        """All held-out photos in a fixed order, the same in every process; an empty list if there are none."""
        if not self.val_photos:
            return []
        pairs = Pairs(self.val_photos, self.val_paintings, repeat=True) if len(self.val_paintings) else None
        return DataLoader(
            self.val_photos if pairs is None else pairs,
            batch_size=self.batch_size,
            num_workers=self._workers() if self.val_photos.rereads else 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=partial(_begin_worker, Image.MAX_IMAGE_PIXELS),
        )

    def describe(self) -> dict[str, str | int]:
        """A summary for the checkpoint; ``skipped`` counts the unreadable photos found so far."""
        paintings: dict[str, str | int] = {}
        if self.painting_crops is not None:
            paintings = {"paintings": len(self.painting_crops.photos), "held_out_paintings": len(self.val_paintings)}
        return paintings | {
            "root": "bundled" if self._bundled else data_root(self._root()).name,
            "photos": len(self.crops.photos),
            "held_out": len(self.val_photos),
            "skipped": self.crops.skipped + len(self._unreadable),
            "size": self.size,
            "margin": self.margin,
            "seed": self.seed,
        }

    def sample(self, step: int) -> int:
        """The number of the first sample of ``step``, over all processes."""
        return self.start_sample + (step - self.start_step) * self._rank_and_world()[1] * self.batch_size

    def window(self, k: int) -> tuple[slice, slice]:
        """The rows and columns of the loss window in the batch that begins with sample ``k``."""
        top, left = np.random.default_rng((self.seed, 3, k)).integers(self.margin + 1, size=2).tolist()
        return slice(top, top + self.size), slice(left, left + self.size)

    def noise_place(self, k: int) -> tuple[int, int]:
        """The noise offset (down, across) of the batch that begins with sample ``k``."""
        down, across = np.random.default_rng((self.seed, 4, k)).integers(math.prod(NOISE_SIDES), size=2).tolist()
        return down, across

    def state_dict(self) -> dict[str, int]:
        step = self._trainer_step(0)
        return {"step": step, "sample": self.sample(step)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.start_step, self.start_sample = state_dict["step"], state_dict["sample"]

    def _root(self) -> Path:
        if self.root is not None:
            if self.coco and not (data_root(self.root).name == "train2017" and data_root(self.root).is_dir()):
                raise UserError(f"data.root={self.root} contains no train2017: give COCO's folder, or use data=folder.")
            return self.root
        if self._bundled:
            return BUNDLED / "train"
        if not (home() / "coco" / "train2017").is_dir():
            raise UserError(
                f"COCO is not in {home() / 'coco'}. Give its folder: data.root=/path/to/coco (containing train2017), "
                "or download it (18 GB): data.download=true"
            )
        return home() / "coco"

    def _hold_out(self, photos: list[Path], root: Path) -> list[Path]:
        """Choose and read the validation photos; skip broken ones."""
        if not isinstance(self.val, int):
            root = data_root(self.val)
            photos = find_images(root, "data.val")
            count = len(photos)
        elif self._bundled:
            root, count = BUNDLED / "val", self.val
            photos = find_images(root)
        else:
            count = min(self.val, len(photos) // 5)
            if count < self.val:
                log.warning("data.val=%d is over a fifth of the %d photos: %d held out", self.val, len(photos), count)
        return hold_out(photos, root, count, self._add_val)

    def _add_val(self, path: Path, held: "HeldOut | None" = None, kind: str = "photo") -> bool:
        try:
            (self.val_photos if held is None else held).add(path)
        except UserError as error:
            log.warning("skipped a validation %s: %s", kind, error)
            self._unreadable.append(path)
            return False
        return True

    def _workers(self) -> int:
        if isinstance(self.workers, int):
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        here = self.trainer.num_devices if self.trainer else 1
        share = max(1, cores // here)
        # Without a GPU, training needs the cores, and a step takes longer than a batch of crops.
        return max(1, min(share - 1, 16 if torch.cuda.is_available() else 2))

    def _shared_memory_problem(self, workers: int) -> str:
        """Why shared memory cannot hold the batches of these workers; "" if it can."""
        try:
            self.crops.share()
            if self.painting_crops is not None:
                self.painting_crops.share()
            multiprocessing.get_context().Lock()
            free = shutil.disk_usage(SHARED).free if SHARED.is_dir() else None
        except (OSError, RuntimeError, ImportError) as error:
            return f"there is no shared memory here ({one_line(error)[:100]})."
        batch = self.batch_size * 3 * self.crops.size**2 * (1 if self.painting_crops is None else 2)
        needed = batch * (PREFETCHED * workers + 2)  # two more are in use
        if free is not None and free < needed:
            return f"{SHARED} has {free / 1e6:.1f} MB, and their batches need {needed / 1e6:.1f}."
        return ""

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _first_process(self) -> bool:
        return self._rank_and_world()[0] == 0

    def _trainer_step(self, otherwise: int) -> int:
        return self.trainer.global_step if self.trainer else otherwise

    def _start(self) -> int:
        return self.sample(self._trainer_step(self.start_step))


def _begin_worker(most: int | None, worker: int) -> None:
    """``most``: Pillow's pixel limit, which a spawned worker does not inherit.

    Ctrl-C reaches every process of the terminal, SIGTERM all those of a job: workers ignore both until training has
    stopped. If training is killed they end at once (on Linux; elsewhere they check every few seconds).
    """
    Image.MAX_IMAGE_PIXELS = most
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_workers() -> None:
    """Kill the remaining workers at exit: they ignore the SIGTERM that Python would send."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler treats every worker exit as an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


class HeldOut(Dataset[Tensor]):
    """The centre squares of photos, uint8 (3, side, side), by index, or a list of them by slice.

    Up to MOST_HELD bytes stay in memory; the others are read at each access. A photo that can no longer be read is
    logged once and replaced by the first.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self._paths: list[Path] = []
        self._held: list[Tensor] = []
        self._gone: set[int] = set()

    def add(self, path: Path) -> None:
        """Add a photo. Raises UserError if it cannot be read."""
        square = self._square(path)
        if not self._held or square.nbytes * (len(self._held) + 1) <= MOST_HELD:
            self._held.append(square)
        self._paths.append(path)

    @property
    def rereads(self) -> bool:
        """Whether some photos are not in memory."""
        return len(self._held) < len(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        if number < len(self._held):
            return self._held[number]
        try:
            return self._square(self._paths[number])
        except UserError as error:
            if number not in self._gone:
                log.warning("a validation photo is gone, another replaces it: %s", error)
            self._gone.add(number)
            return self._held[0]

    def _square(self, path: Path) -> Tensor:
        return to_uint8(centre_square(open_photo(path, self.side), self.side))


def _check_numbers(**limits: tuple[object, int]) -> None:
    for name, (value, least) in limits.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            hint = ' or "auto"' if name == "workers" else " or a folder" if name == "val" else ""
            raise UserError(f"data.{name}={value!r}: give a whole number of {least} or more{hint}.")


def _pair(name: str, value: object, most: float) -> tuple[float, float]:
    numbers = [float(one) for one in value if isinstance(one, int | float)] if isinstance(value, Sequence) else []
    low, high = numbers if len(numbers) == 2 else (0.0, 0.0)
    if not 0 < low <= high <= most:
        raise UserError(f"data.{name}={value}: give [min, max], above 0 and at most {most}.")
    return low, high
