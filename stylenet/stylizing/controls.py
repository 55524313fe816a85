"""Controls of a stylized picture: strength, colours, masks; :mod:`stylenet.stylizing.brush` scales the strokes.

Pictures are processed in strips of integer rows, so huge pictures need no float copy.
"""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import image_io
from stylenet.images.color import Colors, Match, luminance
from stylenet.images.image_io import Picture, over, strips
from stylenet.images.safe_open import Source, once
from stylenet.stylizing import brush, style_pictures, wraps
from stylenet.stylizing.containers import ImageStylizer, Progress, Style
from stylenet.stylizing.found_masks import WORDS, FoundMask, OpenMask, finders, settled
from stylenet.system.errors import UserError

log = logging.getLogger(__name__)
COLORS = ("style", "luminance", "histogram")
Mask = str | Path | Image.Image
STRETCH = 2.0  # maximum stretch towards the photo's colours: above it, every stroke of a pale style stands out


@dataclass(frozen=True)
class Controls:
    """Strength, colours, stroke width, mask and mix of the style. Each control is a field.

    ``strength``: 0 (the photo) to 1 (the style), a blend of the pictures. ``color``: "style"; "luminance" keeps the
    photo's colours and uses only the style's lightness; "histogram" gives the result the mean and covariance of the
    photo's colours, with a stretch of at most 2. ``stroke``: the scale of the brush, 0.25 to 8: 2 makes strokes twice
    as broad. ``mask``: a grey picture, a file or a Pillow image, white where the style is applied (``mask_invert``:
    black), stretched to each photo; or what is found in each photo: "person", "background", "subject" or
    "model:isnet.onnx", see :mod:`stylenet.stylizing.found_masks`. Several styles need one each. ``mix``: for a network
    with several styles, the name of one, weights, or shares such as "udnie:0.6,sunflowers:0.4"; a list of names has one
    for each mask. ``style``: for a network for any style, the picture whose style is wanted: a file, a Pillow image, or
    several with a share each, "a.jpg:0.7,b.jpg:0.3" or {"a.jpg": 0.7, "b.jpg": 0.3}; a list has one of these for each
    mask, or each network. ``wrap``: "x", "y" or "both" for a picture that goes on at its other side, such as a tile or
    a strip all around; "panorama" for the whole sphere, see :mod:`stylenet.stylizing.panoramas`. Raises UserError for
    invalid values.
    """

    strength: float = 1.0
    color: str = "style"
    stroke: float = 1.0
    mask: Mask | Sequence[Mask] | None = None
    mask_invert: bool = False
    mix: Style = None
    style: Any = None
    wrap: str | None = None

    def __post_init__(self) -> None:
        if not (_number(self.strength) and 0 <= self.strength <= 1):
            raise UserError(f"strength={self.strength}: give a number from 0 (the photo) to 1 (the style).")
        if self.color not in COLORS:
            raise UserError(f"color={self.color}: give {', '.join(COLORS[:-1])} or {COLORS[-1]}.")
        if not (_number(self.stroke) and 0.25 <= self.stroke <= 8):
            raise UserError(f"stroke={self.stroke}: give the scale of the brush, 0.25 to 8, such as stroke=2.")
        masks = several(self.mask)
        if not all(isinstance(one, str | Path | Image.Image) and one != "" for one in masks):
            given = (
                repr(self.mask)[:80] if isinstance(self.mask, str | list | tuple) else f"a {type(self.mask).__name__}"
            )
            raise UserError(f"mask={given}: give a picture: its file, or a Pillow image; or a list of them.")
        if self.wrap not in (None, *wraps.AXES):
            raise UserError(
                f"wrap={self.wrap}: give x, y or both, where the picture goes on at its other side; or panorama."
            )
        if not isinstance(self.mask_invert, bool):
            raise UserError(f"mask_invert={self.mask_invert}: give true or false.")
        for style in several(self.style):
            style_pictures.checked(style)
        if self.mask_invert and not masks:
            raise UserError("mask_invert=true inverts a mask: give mask=, too.")

    def opened(self) -> "Controls":
        """The same with the pictures of ``style`` read. Raises UserError if one cannot be read."""
        if self.style is None:
            return self
        return replace(self, style=[style_pictures.opened(style) for style in several(self.style)])

    def of_one(self, number: int) -> "Controls":
        """The controls of the network ``number`` of several: its own style."""
        styles, mixes = several(self.style), _mixes(self.mix)
        one = replace(self, style=styles[number if len(styles) > 1 else 0]) if styles else self
        return replace(one, mix=mixes[number]) if mixes else one

    def before(self, photo: np.ndarray) -> np.ndarray:
        """The network's input for a photo (h, w, 3) of uint8 or uint16: the photo, scaled by ``stroke``."""
        return brush.smaller(photo, self.stroke, self.axes)

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the network's input for a photo."""
        return brush.sides((height, width), self.stroke, self.axes)

    def before_tensor(self, photo: Tensor) -> Tensor:
        """As :meth:`before`, for (b, 3, h, w) in [0, 1]."""
        return brush.smaller_tensor(photo, self.stroke, self.axes)

    def after(self, photo: np.ndarray, net_input: np.ndarray, made: np.ndarray) -> np.ndarray:
        """Apply the controls to ``made``, the network's result for ``net_input``, and return it in the size of
        ``photo``. ``made`` may be overwritten.
        """
        made = brush.larger(photo, net_input, made, self.stroke, self.axes)
        if self._blends:
            moved = self._moved(strips(photo, made))
            over(made, [photo, made], lambda before, after: self._blend(before, after, moved))
        return made

    def after_tensor(self, photo: Tensor, net_input: Tensor, made: Tensor) -> Tensor:
        """As :meth:`after`, for (b, 3, h, w) in [0, 1]. Colours are matched per image."""
        made = brush.larger_tensor(photo, net_input, made, self.stroke, self.axes)
        if not self._blends:
            return made
        pairs = zip(photo.to(made).split(1), made.split(1), strict=True)
        return torch.cat([self._blend(before, after, self._moved([(before, after)])) for before, after in pairs])

    @property
    def axes(self) -> str:
        """The axes along which pictures wrap around, see :mod:`stylenet.nets.borders`."""
        return wraps.AXES[self.wrap] if self.wrap else ""

    @property
    def _blends(self) -> bool:
        return self.strength < 1 or self.color != "style"

    def _moved(self, pairs: Any) -> Match | None:
        if self.color != "histogram":
            return None
        photo, stylized = Colors(), Colors()
        for before, after in pairs:
            photo.add(before)
            stylized.add(after)
        return Match(stylized, photo, STRETCH)

    def _blend(self, photo: Tensor, stylized: Tensor, moved: Match | None) -> Tensor:
        if moved is not None:
            stylized = moved(stylized)
        elif self.color == "luminance":
            stylized = luminance(photo, stylized)
        return photo.lerp(stylized, float(self.strength))


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


# --- masks


def open_mask(source: Source, inverted: bool = False) -> Image.Image:
    """Read a mask as a grey picture of mode L, 255 where the style is applied. Raises UserError if unreadable."""
    try:
        mask = image_io.open_rgb(once(source)).convert("L")
    except UserError as error:
        near = difflib.get_close_matches(source, WORDS, n=1) if isinstance(source, str) else []
        if not near:
            raise
        raise UserError(f"{error} Did you mean mask={near[0]}?") from error
    return mask.point(lambda level: 255 - level) if inverted else mask


def open_masks(masks: Sequence[Mask], inverted: bool = False) -> list[OpenMask]:
    """Each of ``masks``: a picture, see :func:`open_mask`, or what finds one in a photo. A word such as "person" means
    that, even if there is a file of this name: "./person". Raises UserError for what cannot be used.
    """
    return [
        FoundMask(found[0], found[1] != inverted) if found else open_mask(mask, inverted)
        for mask, found in zip(masks, finders(masks), strict=True)
    ]


class MaskedStylizer(ImageStylizer):
    """Several stylizers, each applied in its mask, see :func:`open_masks`; masks are stretched to the picture.

    Grey values blend. Where the sum of the masks exceeds white, it is normalised; where it is less, the rest is the
    photo. ``style`` is passed to each stylizer. If nothing is found in a photo, the ``note`` of its picture says so, or
    a warning of this module's logger. Raises UserError if a network that finds masks cannot be used.
    """

    def __init__(self, each: Sequence[Any], masks: Sequence[OpenMask], megapixels: float | None = None):
        self.each, self.masks, self.megapixels = each, masks, megapixels
        for mask in masks:
            if isinstance(mask, FoundMask):
                mask.finder.prepare()  # a network that cannot be used is told of before any photo is read
        self.device = each[0].device
        self.name = "+".join(dict.fromkeys(stylizer.name for stylizer in each))

    def require_style(self) -> None:
        for stylizer in self.each:
            stylizer.require_style()

    def batch_size(self, height: int, width: int) -> int:
        return min(stylizer.batch_size(height, width) for stylizer in self.each)

    def pictures(
        self, pictures: Sequence[Picture], style: Style = None, progress: Progress | None = None
    ) -> list[Picture]:
        made, notes = self._masked([picture.rgb for picture in pictures], style, progress)
        return [
            replace(picture, rgb=rgb, note="; ".join(filter(None, (picture.note, note))))
            for picture, rgb, note in zip(pictures, made, notes, strict=True)
        ]

    def stylize_arrays(
        self, photos: Sequence[np.ndarray], style: Style, progress: Progress | None = None
    ) -> list[np.ndarray]:
        made, notes = self._masked(photos, style, progress)
        _warn(notes)
        return made

    def stylize_tensor(self, photos: Tensor, style: Style) -> Tensor:
        masks, notes = zip(*(self._masks_of(photo) for photo in photos.split(1)), strict=True)
        _warn(notes)
        layers = [stylizer.stylize_tensor(photos, style) for stylizer in self.each]
        each = zip(masks, photos.split(1), *(layer.split(1) for layer in layers), strict=True)
        return torch.cat([self._mixed_tensor(*one) for one in each])

    def _masked(
        self, photos: Sequence[np.ndarray], style: Style, progress: Progress | None
    ) -> tuple[list[np.ndarray], list[str]]:
        """The stylized photos, and a message for each."""
        masks, notes = zip(*(settled(self.masks, photo) for photo in photos), strict=True)
        layers = []
        for number, stylizer in enumerate(self.each):

            def on_progress(part: float, number: int = number) -> None:
                if progress:
                    progress((number + part) / len(self.each))

            layers.append(stylizer.stylize_arrays(photos, style, on_progress))
        made = [
            self._shared(photo, [layer[place] for layer in layers], masks[place]) for place, photo in enumerate(photos)
        ]
        return made, [*notes]

    def _masks_of(self, photo: Tensor) -> tuple[list[Image.Image], str]:
        """The masks of a photo (1, 3, h, w), and a message."""
        if not any(isinstance(mask, FoundMask) for mask in self.masks):
            return settled(self.masks, np.empty((0, 0, 3), np.uint8))
        return settled(self.masks, image_io.to_array(photo))

    def _mixed_tensor(self, masks: Sequence[Image.Image], photo: Tensor, *layers: Tensor) -> Tensor:
        height, width = photo.shape[2:]
        weights = [image_io.to_tensor(weight).to(layers[0]) for weight in _stretched(masks, height, width)]
        return _mixed(photo.to(layers[0]), *layers, *weights)

    def _shared(self, photo: np.ndarray, made: list[np.ndarray], masks: Sequence[Image.Image]) -> np.ndarray:
        result = np.empty_like(photo)
        over(result, [photo, *made, *_stretched(masks, *photo.shape[:2])], _mixed)
        return result


def _stretched(masks: Sequence[Image.Image], height: int, width: int) -> list[np.ndarray]:
    """The masks at the size of a photo, (height, width, 1) of uint8."""
    return [np.asarray(mask.resize((width, height), Image.Resampling.BICUBIC))[..., None] for mask in masks]


def _warn(notes: Sequence[str]) -> None:
    for note in dict.fromkeys(filter(None, notes)):
        log.warning("%s.", note.capitalize())


def _mixed(photo: Tensor, *layers: Tensor) -> Tensor:
    """Blend by masks. ``layers``: the stylized pictures, followed by as many masks."""
    made, shares = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    total = sum(shares).clamp(min=1)  # type: ignore[union-attr]
    return photo + sum((one - photo) * share / total for one, share in zip(made, shares, strict=True))


def several(value: Any) -> list[Any]:
    """The value of an option, one or several or None, as a list."""
    if isinstance(value, tuple) and value and isinstance(value[0], style_pictures.StylePicture):
        return [value]  # the pictures of one style
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _mixes(mix: Any) -> list[str]:
    """The mixes of a list of them, such as ["udnie", "great_wave:0.5,udnie:0.5"]; none for a single one."""
    return list(mix) if isinstance(mix, list | tuple) and mix and all(isinstance(one, str) for one in mix) else []


def styles_and_masks(ckpt: Any, controls: Controls) -> tuple[list[Any], list[OpenMask]]:
    """The styles of ``ckpt``, one or a list, and the opened masks of ``controls``: one for each style, or none for a
    single style. A mask is white where the style is applied. One network with several pictures as ``style`` counts as
    so many.

    Raises UserError if their numbers do not match, or a mask cannot be read.
    """
    styles, masks = several(ckpt), several(controls.mask)
    if not all(isinstance(style, str | Path) for style in styles):
        raise UserError(f"ckpt={ckpt!r:.80}: give the name or the file of a style, or a list of them.")
    if not styles or "" in styles:
        raise UserError("ckpt= is empty: give the name or the file of a style.")
    pictures, mixes = several(controls.style), _mixes(controls.mix)
    if len(styles) == 1 and len(pictures or mixes) > 1:
        styles = styles * len(pictures or mixes)
    if mixes and len(mixes) != len(styles):
        raise UserError(f"ckpt= has {len(styles)} and mix= {len(mixes)}: give a mix for each style, or one for all.")
    if len(pictures) > 1 and len(pictures) != len(styles):
        raise UserError(
            f"ckpt= has {len(styles)} and style= {len(pictures)}: give one picture for all, or one for each style."
        )
    if len(styles) != len(masks) and (len(styles) > 1 or masks):
        what = "style=" if len(pictures) > 1 else "mix=" if mixes else "ckpt="
        raise UserError(f"{what} has {len(styles)} and mask= {len(masks)}: give a mask for each style, as mask=[a,b].")
    return styles, open_masks(masks, controls.mask_invert)
