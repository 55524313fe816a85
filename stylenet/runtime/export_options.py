"""What an exported file takes and holds: the options of :mod:`stylenet.runtime.export`, checked when they are made."""

import re
from dataclasses import dataclass
from typing import Any

import torch

from stylenet.nets.base import StyleNet
from stylenet.runtime import engines
from stylenet.system.errors import UserError

PIXELS = {"float": torch.float32, "uint8": torch.uint8}
LARGEST = 16_384  # pixels a side of a fixed size
WRAPS = {None: "", "x": "x", "y": "y", "both": "xy"}


@dataclass(frozen=True)
class ExportOptions:
    """``pixels``: what goes in and comes out: "float" in [0, 1], or "uint8". ``half``: weights and features in float16,
    norms in float32. ``size``: "<width>x<height>", or one number for both, of an ONNX file for one picture of this
    size. ``style``: for a network for any style, a picture or its file. ``mix``: for a network with several styles, the
    name of one, shares such as "udnie:0.6,sunflowers:0.4", or weights. With either the file has one style and one
    input. ``wrap``: "x", "y" or "both" for pictures that go on at their other side. ``target``: an engine that the file
    is for, a name of :data:`stylenet.runtime.engines.NAMES`. Raises UserError for what is none of these.
    """

    pixels: str = "float"
    half: bool = False
    size: str | int | None = None
    style: Any = None
    mix: Any = None
    wrap: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, str) or self.pixels not in PIXELS:
            raise UserError(f"pixels={self.pixels}: allowed are {', '.join(PIXELS)}.")
        if not isinstance(self.half, bool):
            raise UserError(f"half={self.half}: give true or false.")
        if self.size is not None:
            _size(self.size)
        if self.wrap == "panorama":
            raise UserError("wrap=panorama is for pictures: a panorama's poles are views of their own. Give wrap=x.")
        if not isinstance(self.wrap, str | None) or self.wrap not in WRAPS:
            raise UserError(f"wrap={self.wrap}: give x, y or both: where pictures go on at their other side.")
        if self.target is None:
            return
        if not isinstance(self.target, str) or self.target not in engines.NAMES:
            raise UserError(f"target={self.target}: allowed are {', '.join(engines.NAMES)}.")
        if self.size is None:
            raise UserError(f"target={self.target} needs the size of its pictures: add size=512x512, or another.")
        for option, given, usual in (("pixels", self.pixels, "float"), ("half", self.half, False)):
            if given != usual:
                raise UserError(f"{option}={str(given).lower()} and target={self.target}: engines take float32 alone.")

    def kind(self, format: str) -> "Kind":
        """What goes into the file and comes out. Raises UserError for options that are not for this format."""
        for option in ("size", "target"):
            given = getattr(self, option)
            if given is not None and format != "onnx":
                rest = ", and the file takes any size." if option == "size" else "."
                raise UserError(f"{option}={given} is for format=onnx: leave it out{rest}")
        if self.wrap is not None and format == "torch_export":
            raise UserError(f"wrap={self.wrap} is not for format=torch_export, which fixes the batch there: take onnx.")
        return Kind(self.pixels, self.half, None if self.size is None else _size(self.size), WRAPS[self.wrap])


@dataclass(frozen=True)
class Kind:
    """``pixels``, ``half``: as in :class:`ExportOptions`. ``size``: the only (height, width) that goes in, or None for
    any. ``wrap``: the axes along which pictures wrap around, see :mod:`stylenet.nets.borders`.
    """

    pixels: str = "float"
    half: bool = False
    size: tuple[int, int] | None = None
    wrap: str = ""

    def wrapped(self, net: StyleNet) -> StyleNet:
        """The network with these borders. Raises UserError where it has its own, or the size does not fit."""
        if not self.wrap:
            return net
        try:
            wrapped = net.wrapped(self.wrap)
        except ValueError:
            raise UserError("wrap= is for networks of stylenet: other makers' borders are in their files.") from None
        sides = zip("yx", ("height", "width"), self.size or (0, 0), strict=True)
        for name, side in ((name, side) for axis, name, side in sides if axis in self.wrap):
            if side % net.multiple:
                raise UserError(f"wrap= with the {name} {side}: give a multiple of {net.multiple}, or leave size= out.")
        return wrapped

    def fitting(self, net: StyleNet, sides: tuple[int, int]) -> tuple[int, int]:
        """A (height, width) near this one that the network can take."""
        least = max(32, net.smallest)
        up = [max(least, -(-side // net.multiple) * net.multiple) for side in sides]
        height, width = (new if axis in self.wrap else old for axis, new, old in zip("yx", up, sides, strict=True))
        return height, width


def _size(size: Any) -> tuple[int, int]:
    """(height, width). Raises UserError for what is none."""
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(size))
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise UserError(f"size={size}: give width and height in pixels, 1 to {LARGEST}, such as size=512x384.")
    return height, width
