"""Masks that are found in each photo: its people, its background, or any subject by a network that the user has.

They are found on a photo of LONGEST pixels at most, get its edges by a guided filter, and are stretched to the photo as
drawn masks are. A finder can be pickled; its network starts when it is needed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import image_io, srgb
from stylenet.images.guided_filter import guided, resized
from stylenet.nets import person_net
from stylenet.runtime import onnx_file
from stylenet.system import forked
from stylenet.system.errors import UserError, one_line
from stylenet.system.places import home

WORDS = ("person", "background", "subject")
MODEL = "model:"
LONGEST = 1024  # pixels of a found mask's longer side
BAND = 64  # rows of the reduced photo that are made at a time
DOUBT = 0.05  # of a mask's range at each end that counts as black and white: what is spared keeps its pixels
LEAST = 0.002  # of a photo must be found; less counts as nothing
CLOSER = 0.8  # of a photo: smaller finds are looked at once more, by themselves
MARGIN = 0.2  # of their sides that is looked at around them
SIDE = 1024  # of the photo for a model that takes any size, in pixels
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PIXELS = {
    "imagenet": IMAGENET,
    "-0.5-0.5": ((0.5,) * 3, (1.0,) * 3),
    "0-1": ((0.0,) * 3, (1.0,) * 3),
    "-1-1": ((0.5,) * 3, (0.5,) * 3),
    "0-255": ((0.0,) * 3, (1 / 255,) * 3),
}
"""What a model takes: the mean that is subtracted from pixels in [0, 1], and what they are divided by, for each colour.
"""
NAMED = {"isnet": "-0.5-0.5", "rmbg": "-0.5-0.5"}  # by the beginning of a model's name; others: imagenet


class Finder(Protocol):
    """``what``: what it finds, in a word. It can be pickled and compared."""

    what: str

    def prepare(self) -> None:
        """Start its network. Raises UserError if it cannot be used."""
        ...

    def find(self, photo: Tensor) -> Tensor:
        """The mask (1, 1, h, w) of a photo (1, 3, h, w), both in [0, 1]."""
        ...


@dataclass(frozen=True)
class FoundMask:
    """A mask that is found in each photo: white where ``finder`` finds something; if ``inverted``, elsewhere."""

    finder: Finder
    inverted: bool = False


OpenMask = Image.Image | FoundMask
Found = dict[Finder, tuple[Image.Image, str]]  # the mask of each finder, and a message: "" for none


def finders(masks: Sequence[Any]) -> list[tuple[Finder, bool] | None]:
    """What finds each mask, and whether it is the rest that is wanted; None for a picture.

    ``background`` is the rest of what another mask of the list finds, or of the people. Raises UserError for a model
    that cannot be found.
    """
    found = [_finder(mask) if isinstance(mask, str) else None for mask in masks]
    first = next((one for one in found if one is not None), PersonFinder())
    made: list[tuple[Finder, bool] | None] = []
    for mask, one in zip(masks, found, strict=True):
        rest = isinstance(mask, str) and mask == "background"
        made.append((first, True) if rest else None if one is None else (one, False))
    return made


def _finder(mask: str) -> Finder | None:
    if mask == "person":
        return PersonFinder()
    if mask.startswith(MODEL):
        return ModelFinder.of(mask.removeprefix(MODEL), mask)
    if mask != "subject":
        return None
    file = home() / "subject.onnx"
    if not file.is_file():
        raise UserError(
            f"mask=subject: no network for any subject comes with stylenet. Give yours, as mask=model:u2net.onnx, or "
            f"put it at {file}; for people, mask=person."
        )
    return ModelFinder.of(str(file), mask)


def settled(masks: Sequence[OpenMask], photo: np.ndarray, found: Found | None = None) -> tuple[list[Image.Image], str]:
    """The masks of a photo (h, w, 3) of uint8 or uint16, of mode L, and a message: "" for none.

    ``found``: what was found in this photo, for several calls; new finds are added.
    """
    found = {} if found is None else found
    if any(isinstance(mask, FoundMask) for mask in masks):
        forked.use()  # before anything is computed: a forked process has one thread
    small: Tensor | None = None
    made, notes = [], []
    for mask in masks:
        if isinstance(mask, Image.Image):
            made.append(mask)
            continue
        if mask.finder not in found:
            small = _reduced(photo) if small is None else small
            found[mask.finder] = _found(mask.finder, small)
        image, note = found[mask.finder]
        made.append(image.point(lambda level: 255 - level) if mask.inverted else image)
        notes.append(note)
    return made, "; ".join(dict.fromkeys(filter(None, notes)))


@torch.inference_mode()
def _found(finder: Finder, photo: Tensor) -> tuple[Image.Image, str]:
    mask = ((finder.find(photo)[0, 0] - DOUBT) / (1 - 2 * DOUBT)).clamp(0, 1)
    if (mask > 0.5).float().mean() < LEAST:
        note = f"no {finder.what} was found: all of it counts as background"
        return Image.new("L", (mask.shape[1], mask.shape[0])), note
    return Image.fromarray((mask * 255).round().byte().numpy()), ""


def _reduced(photo: np.ndarray) -> Tensor:
    """A photo (h, w, 3) as a tensor of LONGEST pixels at most; read in bands, so that nothing of its size is made."""
    step = max(1, max(photo.shape[:2]) // LONGEST)
    bands = []
    for top in range(0, len(photo), step * BAND):
        band = Image.fromarray(np.ascontiguousarray(srgb.eight_bit(photo[top : top + step * BAND])))
        bands.append(np.asarray(band.reduce(step) if step > 1 else band))
    return image_io.to_tensor(image_io.fit(Image.fromarray(np.concatenate(bands)), LONGEST))


# --- people


@dataclass(frozen=True)
class PersonFinder:
    """Finds people, by :mod:`stylenet.nets.person_net`: in the whole photo, then closer, in what was found."""

    what = "person"

    def prepare(self) -> None:
        _person_net()

    def find(self, photo: Tensor) -> Tensor:
        height, width = photo.shape[2:]
        mask = self._look(photo)
        rows, columns = ((mask[0, 0] > 0.5).any(axis).nonzero().flatten() for axis in (1, 0))
        if not len(rows):
            return mask
        top, bottom = _around(int(rows[0]), int(rows[-1]) + 1, height)
        left, right = _around(int(columns[0]), int(columns[-1]) + 1, width)
        if (bottom - top) * (right - left) > CLOSER * height * width:
            return mask
        closer = torch.zeros_like(mask)
        closer[:, :, top:bottom, left:right] = self._look(photo[:, :, top:bottom, left:right])
        return closer

    @staticmethod
    def _look(photo: Tensor) -> Tensor:
        return guided(_person_net()(resized(photo, (person_net.SIDE,) * 2)), photo)


def _around(first: int, end: int, most: int) -> tuple[int, int]:
    margin = round((end - first) * MARGIN) + 8
    return max(0, first - margin), min(most, end + margin)


@cache
def _person_net() -> person_net.PersonNet:
    return person_net.load()


# --- any subject


@dataclass(frozen=True)
class ModelFinder:
    """Finds what the user's network finds: an ONNX file that takes a picture and gives a mask.

    ``file``: its path. ``pixels``: a name in PIXELS. A pickled finder carries the file.
    """

    what = "subject"
    file: str
    pixels: str = "imagenet"
    _open: list[Any] = field(default_factory=list, compare=False, repr=False)  # the session, and the forks before it
    _data: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, text: str, given: str) -> "ModelFinder":
        """The model of a text, ``FILE`` or ``FILE:PIXELS``. ``given``: the option's value for messages."""
        file, _, pixels = text.rpartition(":")
        if not file or pixels not in PIXELS:
            file = text
            name = Path(text).name.lower()
            pixels = next((pixels for start, pixels in NAMED.items() if name.startswith(start)), "imagenet")
        file = os.path.expanduser(file)
        if not os.path.isfile(file):
            allowed = f"mask={MODEL}u2net.onnx, and with its pixels mask={MODEL}u2net.onnx:imagenet"
            raise UserError(f"mask={given}: there is no file {file}. Give {allowed} ({', '.join(PIXELS)}).")
        return cls(os.path.abspath(file), pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        data = Path(self.file).read_bytes() if self._data is None else self._data
        return ModelFinder, (self.file, self.pixels, [], data)

    def prepare(self) -> None:
        onnx_file.picture_input(f"mask={MODEL}{self.file}", self._session().get_inputs())

    def find(self, photo: Tensor) -> Tensor:
        session = self._session()
        given = onnx_file.picture_input(f"mask={MODEL}{self.file}", session.get_inputs())
        channels_last = given.shape[1] != 3 and given.shape[3] == 3
        sides = given.shape[1:3] if channels_last else given.shape[2:4]
        mean, spread = (torch.tensor(values)[:, None, None] for values in PIXELS[self.pixels])
        pixels = (resized(photo, tuple(side if isinstance(side, int) else SIDE for side in sides)) - mean) / spread
        array = (pixels.permute(0, 2, 3, 1) if channels_last else pixels).numpy()
        try:
            first = session.get_outputs()[0].name  # others are of training
            made = session.run([first], {given.name: np.ascontiguousarray(array, onnx_file.FLOATS[given.type])})[0]
        except Exception as error:  # onnxruntime has many exception types
            raise UserError(f"mask={MODEL}{self.file} fails on a photo: {one_line(error):.200}.") from error
        return guided(self._mask(np.asarray(made)), photo)

    def _mask(self, made: np.ndarray) -> Tensor:
        """A network's first output as a mask (1, 1, h, w) in [0, 1]; scores beyond it go through a sigmoid."""
        sides = [side for side in made.shape if side != 1] if made.size > 1 else []
        if len(sides) != 2 or not np.issubdtype(made.dtype, np.floating) or not np.isfinite(made).all():
            raise UserError(
                f"mask={MODEL}{self.file} gives {tuple(made.shape)} of {made.dtype}, which is not a mask: give a "
                "network whose first output is (1, 1, h, w), finite floats."
            )
        mask = torch.from_numpy(made.astype(np.float32).reshape(1, 1, *sides))
        within = mask.min() >= -0.01 and mask.max() <= 1.01  # half precision rounds
        return mask.clamp(0, 1) if within else torch.sigmoid(mask)

    def _session(self) -> Any:
        """The running network; a new one in a forked process, which lacks the threads of the old."""
        if not self._open or self._open[1] != forked.copies():
            session = onnx_file.opened(self.file if self._data is None else self._data, f"mask={MODEL}{self.file}")
            forked.keep(self)
            self._open[:] = session, forked.copies()
        return self._open[0]
