"""What is done to a stylized picture afterwards: strength, the photo's colours, masks, and the scale of the brush.

Whole pictures are worked through in strips of rows, as levels, so that huge ones need no copy in floats.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from stylenet import images
from stylenet.color import Colors, Match, luminance
from stylenet.errors import UserError
from stylenet.images import Picture

COLORS = ("style", "luminance", "histogram")
ROWS = 256  # of a strip
DETAIL = 0.5  # of the photo's lightness that a coarse brush leaves out: all of it would look embossed
_LIGHTNESS = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # of R'G'B' (ITU-R BT.601)


@dataclass(frozen=True)
class Finish:
    """How much of the style, in which colours and how broad.

    ``strength``: 0 (the photo) to 1 (the style), a blend of the pictures. ``color``: "style"; "luminance" keeps the
    photo's colours and takes only the style's light and dark; "histogram" gives the result the mean and covariance of
    the photo's colours. ``stroke``: the scale of the brush, 0.25 to 8: 2 makes strokes twice as broad. Raises UserError
    for other values.
    """

    strength: float = 1.0
    color: str = "style"
    stroke: float = 1.0

    def __post_init__(self) -> None:
        if not (_number(self.strength) and 0 <= self.strength <= 1):
            raise UserError(f"strength={self.strength}: give a number from 0 (the photo) to 1 (the style).")
        if self.color not in COLORS:
            raise UserError(f"color={self.color}: give {', '.join(COLORS[:-1])} or {COLORS[-1]}.")
        if not (_number(self.stroke) and 0.25 <= self.stroke <= 8):
            raise UserError(f"stroke={self.stroke}: give the scale of the brush, 0.25 to 8, such as stroke=2.")

    @property
    def changes(self) -> bool:
        """Whether it does anything to a stylized picture of the same size."""
        return self.strength < 1 or self.color != "style"

    def tensor(self, photo: Tensor, stylized: Tensor) -> Tensor:
        """Both (b, 3, h, w) in [0, 1]; the result as ``stylized``. Each image has its own distribution of colours."""
        pairs = zip(photo.to(stylized).split(1), stylized.split(1), strict=True)
        made = [self._blend(before, after, self._moved([(before, after)])) for before, after in pairs]
        return torch.cat(made) if self.changes else stylized

    def levels(self, photo: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """Both (h, w, 3) of uint8 or uint16; ``stylized`` is overwritten, and given back."""
        if self.changes:
            moved = self._moved(_strips(photo, stylized))
            _over(stylized, [photo, stylized], lambda before, after: self._blend(before, after, moved))
        return stylized

    def _moved(self, pairs: Any) -> Match | None:
        if self.color != "histogram":
            return None
        photo, stylized = Colors(), Colors()
        for before, after in pairs:
            photo.add(before)
            stylized.add(after)
        return Match(stylized, photo)

    def _blend(self, photo: Tensor, stylized: Tensor, moved: Match | None) -> Tensor:
        if moved is not None:
            stylized = moved(stylized)
        elif self.color == "luminance":
            stylized = luminance(photo, stylized)
        return photo.lerp(stylized, self.strength)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _strips(*arrays: np.ndarray) -> Iterator[tuple[Tensor, ...]]:
    for top in range(0, len(arrays[0]), ROWS):
        yield tuple(images.to_tensor(array[top : top + ROWS]) for array in arrays)


def _over(result: np.ndarray, arrays: Sequence[np.ndarray], made: Callable[..., Tensor]) -> None:
    """Put what ``made`` makes of strips of the arrays into ``result``, which may be one of them."""
    for number, strips in enumerate(_strips(*arrays)):
        result[number * ROWS : (number + 1) * ROWS] = images.to_array(made(*strips), result.dtype.type)


# --- the brush


def broad(photo: np.ndarray, stroke: float, stylize: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``photo``, (h, w, 3) of uint8 or uint16, stylized at another scale: the strokes are ``stroke`` times as broad.

    The network sees the photo ``stroke`` times smaller. What that leaves out of the photo's light and dark is added
    to the enlarged result: its edges are the photo's again, its strokes stay as they are painted.
    """
    height, width = photo.shape[:2]
    if stroke == 1:
        return stylize(photo)
    small = images.resized(photo, (max(1, round(width / stroke)), max(1, round(height / stroke))))
    made = images.resized(stylize(small), (width, height))
    if stroke > 1:
        _over(made, [photo, images.resized(small, (width, height)), made], _with_detail)
    return made


def _with_detail(photo: Tensor, coarse: Tensor, made: Tensor) -> Tensor:
    return made + DETAIL * ((photo - coarse) * _LIGHTNESS.to(made)).sum(1, keepdim=True)


def broad_tensor(photo: Tensor, stroke: float, stylize: Callable[[Tensor], Tensor]) -> Tensor:
    """The same for a tensor (b, 3, h, w) in [0, 1]."""
    if stroke == 1:
        return stylize(photo)
    sides = photo.shape[2:]
    small = _sized(photo, [max(1, round(side / stroke)) for side in sides])
    made = _sized(stylize(small), sides)
    return _with_detail(photo.to(made), _sized(small, sides).to(made), made).clamp(0, 1) if stroke > 1 else made


def _sized(image: Tensor, sides: Sequence[int]) -> Tensor:
    return interpolate(image.float(), list(sides), mode="bicubic", antialias=True).clamp(0, 1)


# --- masks


def open_mask(path: str | Path, inverted: bool = False) -> Image.Image:
    """A mask: a picture's light and dark as mode L, 255 where the style goes. Raises UserError if it cannot be read."""
    mask = images.open_rgb(path).convert("L")
    return mask.point(lambda level: 255 - level) if inverted else mask


def masked(picture: Picture, made: Sequence[np.ndarray], masks: Sequence[Image.Image]) -> Picture:
    """``picture`` with the stylized ``made`` (h, w, 3) where their masks, stretched to its size, are white.

    A soft mask blends. Where the masks of several add up to more than white they share the place in proportion; where
    they do not, the rest is the photo's.
    """
    size = picture.rgb.shape[1::-1]
    weights = [np.asarray(mask.resize(size, Image.Resampling.BICUBIC)) for mask in masks]
    result = picture.rgb.copy()

    def blend(photo: Tensor, *layers: Tensor) -> Tensor:
        stylized, shares = layers[: len(made)], layers[len(made) :]
        total = sum(shares).clamp(min=1)  # type: ignore[union-attr]
        return photo + sum((one - photo) * share / total for one, share in zip(stylized, shares, strict=True))

    _over(result, [picture.rgb, *made, *(np.repeat(weight[..., None], 3, 2) for weight in weights)], blend)
    return replace(picture, rgb=result)


class Masked:
    """Stylizers, each in its mask: as one that knows whole pictures only. ``masks``: see :func:`open_mask`."""

    def __init__(self, stylizers: Sequence[Any], masks: Sequence[Image.Image]):
        self.stylizers, self.masks = stylizers, masks
        self.name = "+".join(dict.fromkeys(stylizer.name for stylizer in stylizers))

    def picture(self, picture: Picture, progress: Callable[[float], object] = lambda _: None) -> Picture:
        count, made = len(self.stylizers), []
        for number, stylizer in enumerate(self.stylizers):
            told = lambda part, number=number: progress((number + part) / count)  # noqa: E731
            made.append(stylizer.picture(picture, progress=told).rgb)
        return masked(picture, made, self.masks)


def styles_and_masks(ckpt: Any, mask: Any, inverted: Any) -> tuple[list[Any], list[Image.Image]]:
    """``ckpt`` and ``mask``, each one or a list, as lists of the same length; no mask, for a single style, as none.

    Raises UserError where they do not go together, or a mask cannot be read.
    """
    styles = [ckpt] if isinstance(ckpt, str | Path) else list(ckpt)
    masks = [] if mask is None else [mask] if isinstance(mask, str | Path) else list(mask)
    if not isinstance(inverted, bool):
        raise UserError(f"mask_invert={inverted}: give true or false.")
    if inverted and not masks:
        raise UserError("mask_invert=true turns a mask around: give mask=, too.")
    if not styles or "" in styles:
        raise UserError("ckpt= is empty: give the name or the file of a style.")
    if len(styles) != len(masks) and (len(styles) > 1 or masks):
        raise UserError(f"ckpt= has {len(styles)} and mask= {len(masks)}: give a mask for each style, as mask=[a,b].")
    return styles, [open_mask(file, inverted) for file in masks]
