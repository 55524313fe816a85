"""The device, backend, precision and memory of a pass: the options of every program that runs a network."""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import torch

from stylenet.images import safe_open
from stylenet.system.errors import UserError

Device = str | torch.device
Tile = str | int


@dataclass(frozen=True)
class Runtime:
    """Where and how a network runs. Raises UserError for values that are not allowed.

    ``device``: auto (a GPU if there is one), cpu, cuda, cuda:1, mps. ``backend``: torch, openvino, onnx or auto;
    ``precision``: fp32, bf16, fp16 or auto: see :func:`stylenet.runtime.backends.start`. ``tile``: "auto" takes
    pictures that the memory cannot hold in strips, "off" takes none, a number takes all, in strips of so many rows: the
    result is the same. ``scratch``: the folder for what does not fit; None for :func:`stylenet.runtime.scratch.place`.
    ``megapixels``: pictures that claim more million pixels are refused; None for Pillow's limit of 179.
    """

    device: Device = "auto"
    backend: str = "auto"
    precision: str = "auto"
    tile: Tile = "auto"
    scratch: str | Path | None = None
    megapixels: float | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.tile, Integral) and not isinstance(self.tile, bool)
        if self.tile not in ("auto", "off") and not (whole and int(self.tile) >= 1):
            allowed = "give auto, off, or the height of the strips in whole pixels, such as tile=256"
            raise UserError(f"tile={self.tile}: {allowed}.")
        if self.megapixels is not None:
            safe_open.check(self.megapixels)


def choose_device(device: Device) -> torch.device:
    """The device of this name; auto is a GPU if there is one. Raises UserError with the available devices."""
    device = str(device)
    there = ["cpu"]
    there += ["mps"] if torch.backends.mps.is_available() else []
    there += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else there[-1])
    if device in there or (device == "cuda" and len(there) > 1):
        return torch.device(device)
    raise UserError(f"device={device}: there is no such device here. There are: auto, {', '.join(there)}.")
