"""Several styles in one pass: the norms of a network change from place to place, as soft masks say.

Knows no networks.
"""

from dataclasses import dataclass, replace
from math import log2

import torch
from torch import Tensor

NOWHERE = 1e-6  # added to every mask: where none is white all styles meet, and a black one has statistics too


@dataclass(frozen=True)
class Regions:
    """The styles of regions of a picture, in place of weights ``(b, n_styles)``. A network paints each region in its
    own style, and interpolates the norms from one to the next.

    ``weights``: the style of each region, ``(k, n_styles)``. ``masks``: ``(k, h, w)`` of any size, in [0, 1], stretched
    to the picture and divided by their sum at each place. ``size``: height and width of the picture in pixels.
    ``frame``: pixels that the network has laid around it.
    """

    weights: Tensor
    masks: Tensor
    size: tuple[int, int]
    frame: int = 0

    @property
    def shape(self) -> torch.Size:
        """That of ``weights``."""
        return self.weights.shape

    def framed(self, frame: int) -> "Regions":
        """The same for a picture with so many pixels around it."""
        return replace(self, frame=frame)

    def shares(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> Tensor:
        """The share of each style in features ``(b, c, height, width)`` of the picture, in their rows from ``top`` up
        to ``bottom``, None for all: ``(k, bottom - top, width)``. It depends on the place alone, so a strip has what
        the whole has.
        """
        rows = self._places(torch.arange(top, height if bottom is None else bottom), height, 0)
        columns = self._places(torch.arange(width), width, 1)
        shares = _between(_between(self.masks, rows, 1), columns, 2) + NOWHERE
        return shares / shares.sum(0)

    def _places(self, cells: Tensor, count: int, axis: int) -> Tensor:
        """Where cells, of ``count`` along an axis, lie in the masks."""
        side, pixels = self.masks.shape[axis + 1], self.size[axis]
        cell = 2 ** round(log2((pixels + 2 * self.frame) / count))  # in pixels; counts are rounded up
        pixel = ((cells + 0.5) * cell - self.frame).clamp(0, pixels).to(self.masks.device)
        return (pixel * (side / pixels) - 0.5).clamp(0, side - 1)


def _between(x: Tensor, places: Tensor, axis: int) -> Tensor:
    """``x`` at places between its cells along an axis, by linear interpolation."""
    first = places.floor().long()
    after = (first + 1).clamp(max=x.shape[axis] - 1)
    part = (places - first).view([-1 if at == axis else 1 for at in range(x.ndim)])
    return torch.lerp(x.index_select(axis, first), x.index_select(axis, after), part)


def norm(x: Tensor, weight: Tensor, bias: Tensor, regions: Regions, eps: float) -> Tensor:
    """Instance norm of features ``(b, c, h, w)`` with the ``weight`` and ``bias`` ``(k, c)`` of each region: mean and
    variance are those of the region too. With those of the whole picture, a dark style beside a bright one would become
    darker from norm to norm.
    """
    mean, var = moments(x, regions)
    scale = weight * torch.rsqrt(var + eps)
    return scale_and_shift(x, scale, bias - mean * scale, regions)


def moments(x: Tensor, regions: Regions) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each region of features ``(b, c, h, w)``, both ``(b, k, c)``."""
    if not isinstance(x, Tensor):
        return type(x).__torch_function__(moments, (), (x, regions))
    found = RegionMoments(regions, x.shape[2])
    found.add(0, x)
    return found.result()


class RegionMoments:
    """The moments of regions over strips of features of this height, which come one by one."""

    def __init__(self, regions: Regions, height: int):
        self.regions, self.height = regions, height
        self._near: Tensor | None = None
        self._count = self._sums = self._squares = torch.zeros((), dtype=torch.float64, device=regions.masks.device)

    def add(self, top: int, rows: Tensor) -> None:
        """Rows ``(b, c, n, w)`` from ``top`` on."""
        if self._near is None:
            self._near = rows.float().mean((2, 3), keepdim=True)
        rows = rows.float() - self._near  # else float32 would round means that are many deviations from zero
        shares = self.regions.shares(self.height, rows.shape[3], top, top + rows.shape[2])
        self._count = self._count + shares.sum((1, 2), dtype=torch.float64)
        self._sums = self._sums + torch.einsum("khw,bchw->bkc", shares, rows).double()
        self._squares = self._squares + torch.einsum("khw,bchw->bkc", shares, rows.square()).double()

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, ``(b, k, c)`` in float32."""
        assert self._near is not None
        mean = self._sums / self._count[:, None]
        var = (self._squares / self._count[:, None] - mean.square()).clamp(min=0)
        return (mean + self._near[:, None, :, 0, 0].double()).float(), var.float()


def scale_and_shift(
    x: Tensor, scale: Tensor, shift: Tensor, regions: Regions, top: int = 0, height: int | None = None
) -> Tensor:
    """``x * scale + shift`` for features ``(b, c, h, w)``, with the ``scale`` and ``shift`` ``(b or 1, k, c)`` of each
    region. ``top``: the first row of ``x`` among the ``height`` of the whole, None if ``x`` is the whole.
    """
    if not isinstance(x, Tensor):
        return type(x).__torch_function__(scale_and_shift, (), (x, scale, shift, regions))
    shares = regions.shares(height or x.shape[2], x.shape[3], top, top + x.shape[2])
    maps = [torch.einsum("bkc,khw->bchw", values, shares) for values in (scale, shift)]
    return torch.addcmul(maps[1], x, maps[0])
