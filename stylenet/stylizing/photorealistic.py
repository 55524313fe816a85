"""Photorealistic transfer: a photo gets the light, the colours and the weather of another, and stays a photo.

A network for photos (:mod:`stylenet.nets.photowct`) transfers the statistics of features at a working size; smoothing
gives the result the photo's own structure, and takes contrast, which one map for all colours gives back; linear maps of
colours around each pixel bring it to full size. Knows pictures; nothing about files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import image_io, lut, matting, region_masks
from stylenet.images.color import Colors, Match
from stylenet.images.image_io import Picture
from stylenet.images.local_linear import LocalLinear
from stylenet.images.region_masks import Labels
from stylenet.nets import checkpoint
from stylenet.nets.photowct import PhotoWCT
from stylenet.system.errors import UserError

SMOOTHINGS = ("guided", "matting", "none")
SIZE = 1024  # longer side at which the network runs, in pixels: what its statistics look at
SMALLEST_SIZE = 64
# Of the guided filter's windows, as a part of the longer side: wider than the spots of deep features in a clear sky.
RADIUS = 1 / 8
EPS = 1e-3  # what varies less counts as flat and is averaged: the network's own noise goes
STRETCH = 1.5  # of colours after smoothing, at most: above it, the spots that smoothing has left stand out again
SAMPLES = 2**16  # pixels that the colours of regions are taken from
AFTER_MATTING = 1, 1e-6  # radius and eps: the result is a linear map in windows of 3x3 pixels already


@dataclass(frozen=True)
class Photorealism:
    """How a photo is transferred. Raises UserError for values that are not allowed.

    ``smoothing``: "guided", a guided filter; "matting", the closed form on the matting Laplacian, slower; "none", the
    network's own result. ``strength``: 0 (the photo) to 1. ``size``: the longer side in pixels at which the network and
    the smoothing work; the result has the size of the photo.
    """

    smoothing: str = "guided"
    strength: float = 1.0
    size: int = SIZE

    def __post_init__(self) -> None:
        if self.smoothing not in SMOOTHINGS:
            raise UserError(f"smoothing={self.smoothing}: give {', '.join(SMOOTHINGS[:-1])} or {SMOOTHINGS[-1]}.")
        number = isinstance(self.strength, Real) and not isinstance(self.strength, bool) and isfinite(self.strength)
        if not (number and 0 <= self.strength <= 1):
            raise UserError(f"strength={self.strength}: give a number from 0 (the photo) to 1 (the transfer).")
        whole = isinstance(self.size, Integral) and not isinstance(self.size, bool)
        if not (whole and self.size >= SMALLEST_SIZE):
            raise UserError(
                f"size={self.size}: give the longer side at which the network works, {SMALLEST_SIZE} or more."
            )


def load(ckpt: str | Path, device: torch.device) -> PhotoWCT:
    """The network for photos of this name or file. Raises UserError for another kind of network."""
    net, _ = checkpoint.load(ckpt, device)
    if not isinstance(net, PhotoWCT):
        raise UserError(
            f"ckpt={ckpt} is a network that paints. Use it with stylenet stylize; stylenet photo needs one that was "
            "trained with net=photowct, such as ckpt=photo."
        )
    return net


class Transfer:
    """What was made of a photo at the working size, and its map to any other size.

    ``before``, ``after``: (1, 3, h, w) in [0, 1], the photo and the result at the working size, strength included.
    """

    def __init__(self, photo: Tensor, made: Tensor, colors: Colors, options: Photorealism):
        """``made``: what the network made of the photo. ``colors``: those that the result should have."""
        self.options, self.before = options, photo
        self._enlarge = _guided(photo, made, colors, options.smoothing)
        self._made = made.clamp(0, 1)
        whole = self._made if self._enlarge is None else self._enlarge(photo)
        self.after = photo.lerp(whole, float(options.strength))

    def applied(self, rgb: np.ndarray) -> np.ndarray:
        """The result for the photo (h, w, 3) of uint8 or uint16 in any size, in that size."""
        made, height = np.empty_like(rgb), len(rgb)
        coarse = None if self._enlarge else _enlarged(self._made, rgb)
        for number, (rows,) in enumerate(image_io.strips(rgb)):
            top = number * image_io.ROWS
            end = top + rows.shape[2]
            result = image_io.to_tensor(coarse[top:end]) if coarse is not None else self._rows(rows, top, height)
            mixed = rows.lerp(result, float(self.options.strength))
            made[top:end] = image_io.to_array(mixed, rgb.dtype.type)
        return made

    def cube(self) -> lut.Cube:
        """The look-up table that does about the same to colours, wherever they are."""
        return lut.fitted(*(image[0].flatten(1).T.cpu() for image in (self.before, self.after)))

    def _rows(self, rows: Tensor, top: int, height: int) -> Tensor:
        assert self._enlarge is not None
        return self._enlarge(rows, top, height)


@torch.inference_mode()
def transfer(
    net: Any,
    content: np.ndarray,
    style: Image.Image,
    options: Photorealism,
    masks: Labels | None = None,
    device: torch.device | None = None,
) -> Transfer:
    """Transfer the look of ``style`` to ``content`` (h, w, 3) of uint8 or uint16.

    ``net``: what :func:`load` returns, on ``device``. ``masks``: the regions of both, in any size, see
    :func:`stylenet.images.region_masks.labels`. Raises UserError if the memory is too small, or the network fails.
    """
    device = device or torch.device("cpu")
    photo = _fitted(content, options.size)
    look = image_io.to_tensor(image_io.fit(style, options.size))
    labels = None
    if masks is not None:
        sizes = (image.shape[2:] for image in (photo, look))
        labels = tuple(
            torch.from_numpy(region_masks.resized(mask, (int(h), int(w)))).to(device)
            for mask, (h, w) in zip(masks, sizes, strict=True)
        )
    try:
        made = net.transfer(photo.to(device), look.to(device), labels).float()
    except torch.OutOfMemoryError as error:
        raise UserError(f"size={options.size} does not fit into the memory of {device}: give a smaller one.") from error
    if not made.isfinite().all():
        raise UserError("The network's result holds values that are no numbers: the checkpoint may be damaged.")
    if options.smoothing == "matting":
        made = matting.smoothed(photo.to(made), made)
    return Transfer(photo, made.cpu(), _colors(look, labels), options)


def picture(picture: Picture, made: Transfer) -> Picture:
    """``picture`` with the transfer applied; alpha, 16 bits and metadata are kept."""
    return replace(picture, rgb=made.applied(picture.rgb))


def _fitted(content: np.ndarray, size: int) -> Tensor:
    """A photo (h, w, 3) as (1, 3, h, w), its longer side at most ``size``."""
    return image_io.to_tensor(image_io.fit_picture(Picture(content), size).rgb)


def _colors(look: Tensor, labels: tuple[Tensor, ...] | None) -> Colors:
    """The colours of a style photo (1, 3, h, w); its regions count as much as those of the photo with equal numbers."""
    if labels is None:
        return Colors([look])
    mine, theirs = (one.cpu().flatten() for one in labels)
    pixels, wanted = look.flatten(2), Colors()
    for number, count in zip(*(found.tolist() for found in mine.unique(return_counts=True)), strict=True):
        region = (theirs == number).nonzero()[:, 0]
        region = region if len(region) else torch.arange(pixels.shape[2])
        chosen = torch.linspace(0, len(region) - 1, max(1, round(SAMPLES * count / len(mine)))).round().long()
        wanted.add(pixels[:, :, region[chosen], None])
    return wanted


def _guided(photo: Tensor, made: Tensor, colors: Colors, smoothing: str) -> Callable[..., Tensor] | None:
    """The map from a photo of any size to the result; None without smoothing.

    What is smoothed is the change. So what counts as flat keeps the photo's own texture: the usual filter would average
    it away.
    """
    if smoothing == "none":
        return None
    radius, eps = (max(1, round(RADIUS * max(photo.shape[2:]))), EPS) if smoothing == "guided" else AFTER_MATTING
    change = LocalLinear(photo, made - photo, radius, eps)
    match = Match(Colors([(photo + change(photo)).clamp(0, 1)]), colors, STRETCH, 1.0)
    return lambda rows, *place: match((rows + change(rows, *place)).clamp(0, 1))


def _enlarged(made: Tensor, rgb: np.ndarray) -> np.ndarray:
    """``made`` (1, 3, h, w) as an array of the type and size of ``rgb``."""
    pixels = image_io.to_array(made, rgb.dtype.type)
    shape = rgb.shape[1::-1]
    return pixels if pixels.shape[1::-1] == shape else image_io.resized(pixels, shape)
