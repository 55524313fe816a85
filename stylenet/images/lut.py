"""Look-up tables of colours: fitted to what was done to a picture, applied to others, written as ``.cube`` files.

A table of 33 x 33 x 33 colours; those between are interpolated in tetrahedra, as FFmpeg's ``lut3d`` does by default.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images.conjugate_gradients import solve
from stylenet.images.image_io import ROWS
from stylenet.system.atomic import replacing

SIZE = 33
BENDING, SLOPE, SHIFT = 10.0, 1.0, 1e-6  # weights of second and first differences of the change, and of itself
EVIDENCE = 5000.0  # weight of all colours of a picture together
CELLS = 64  # to a side of the grid in which the colours of a picture are gathered before the fit
LUMA = (0.299, 0.587, 0.114)
STEPS, TOLERANCE = 300, 1e-3  # of the finest table; coarser ones are cheap, and solved better


class Cube:
    """A table of colours. ``table``: (size, size, size, 3) in [0, 1], by the levels of red, green and blue.

    A table of :func:`fitted` keeps the order of lightness: what is lighter by the same amount in red, green and blue
    never becomes darker (in luma, 0.299 R + 0.587 G + 0.114 B; between the entries too, as each tetrahedron has an edge
    in that direction).
    """

    def __init__(self, table: Tensor):
        self.table, self.size = table, table.shape[0]

    def __call__(self, colors: Tensor) -> Tensor:
        """The new colours for ``colors`` (n, 3) in [0, 1]."""
        corners, weights = _tetrahedra(colors, self.size)
        return (self.table.to(colors).reshape(-1, 3)[corners] * weights[..., None]).sum(1)

    def applied(self, rgb: np.ndarray) -> np.ndarray:
        """The same for a picture (h, w, 3) of uint8 or uint16."""
        top, made = np.iinfo(rgb.dtype).max, np.empty_like(rgb)
        for row in range(0, len(rgb), ROWS):
            part = rgb[row : row + ROWS]
            colors = torch.from_numpy(part.reshape(-1, 3).astype(np.float32)) / float(top)
            made[row : row + ROWS] = (self(colors) * float(top)).round().numpy().astype(rgb.dtype).reshape(part.shape)
        return made

    def write(self, path: str | Path, title: str) -> None:
        """Write a ``.cube`` file, whole or not at all (Adobe's Cube LUT Specification 1.0: red changes fastest)."""
        name = title.replace('"', "'").replace("\n", " ")
        rows = self.table.permute(2, 1, 0, 3).reshape(-1, 3).tolist()
        lines = [f'TITLE "{name}"', f"LUT_3D_SIZE {self.size}", *("{:.6f} {:.6f} {:.6f}".format(*row) for row in rows)]
        with replacing(path) as temp:
            temp.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fitted(before: Tensor, after: Tensor) -> Cube:
    """The smooth table that takes the colours ``before`` (n, 3) to about those ``after`` (n, 3), both in [0, 1].

    Regularised least squares for the change of each entry: the weighted squares of what remains of the given changes,
    of second and first differences between neighbours, and of the change. So colours that do not occur change as the
    nearest that do, and less if they are far. Frequent colours count more, by the square root of their number. Coarser
    tables come first, each as the guess for the next.
    """
    before, after, weights = _gathered(before.double(), after.double())
    mean = ((after - before) * weights[:, None]).sum(0) / weights.sum()
    change = mean.expand(3, 3, 3, 3)
    for size in (5, 9, 17, SIZE):
        guess = F.interpolate(change.movedim(-1, 0)[None], [size] * 3, mode="trilinear", align_corners=True)
        change = _change(before, after - before, weights, guess[0].movedim(0, -1).contiguous())
    return Cube(_ordered((identity() + change).clamp(0, 1)).float())


def _change(before: Tensor, wanted: Tensor, weights: Tensor, guess: Tensor) -> Tensor:
    """The change (size, size, size, 3) for colours (n, 3) that should change by ``wanted`` (n, 3)."""
    size = len(guess)
    corners, shares = _tetrahedra(before, size)
    scale = (SIZE - 1) / (size - 1)  # sums of differences on a coarser grid as on the finest
    penalties = BENDING / scale, SLOPE * scale, SHIFT * scale**3

    def scattered(values: Tensor) -> Tensor:
        sums = torch.zeros(size**3, values.shape[-1], dtype=torch.float64)
        return sums.index_add_(0, corners.reshape(-1), values.reshape(-1, values.shape[-1])).reshape(
            *guess.shape[:3], -1
        )

    def times(change: Tensor) -> Tensor:
        here = (change.reshape(-1, 3)[corners] * shares[..., None]).sum(1)
        data = scattered(shares[..., None] * (here * weights[:, None])[:, None])
        return data + _smoothness(change, *penalties)

    right = scattered(shares[..., None] * (wanted * weights[:, None])[:, None])
    diagonal = (
        scattered((shares**2 * weights[:, None])[..., None]) + 42 * penalties[0] + 6 * penalties[1] + penalties[2]
    )
    return solve(times, right, guess, diagonal, TOLERANCE * 10.0 ** -(scale - 1), STEPS)


def identity() -> Tensor:
    """The table that changes nothing."""
    levels = torch.linspace(0, 1, SIZE, dtype=torch.float64)
    return torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij"), -1)


def _gathered(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean colours of each cell of a grid, before and after, and the weight of the cell."""
    places = (before * CELLS).long().clamp(0, CELLS - 1)
    _, cell, counts = torch.unique(places @ torch.tensor([CELLS**2, CELLS, 1]), return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), 6, dtype=torch.float64).index_add_(0, cell, torch.cat([before, after], 1))
    means = sums / counts[:, None]
    weights = counts.double().sqrt()
    return means[:, :3], means[:, 3:], weights * (EVIDENCE / weights.sum())


def _tetrahedra(colors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The four entries (n, 4) around each colour (n, 3), as numbers in a flat table, and their weights (n, 4)."""
    scaled = colors.clamp(0, 1) * (size - 1)
    low = scaled.floor().clamp(max=size - 2)
    parts, order = (scaled - low).sort(1, descending=True)
    strides = torch.tensor([size * size, size, 1], device=colors.device)
    begin = low.long() @ strides
    corners = torch.cat([begin[:, None], begin[:, None] + strides[order].cumsum(1)], 1)
    zero = torch.zeros_like(parts[:, :1])
    weights = torch.cat([zero + 1, parts], 1) - torch.cat([parts, zero], 1)
    return corners, weights


def _smoothness(change: Tensor, bending: float, slope: float, shift: float) -> Tensor:
    """The gradient of half the penalties of a change (size, size, size, 3)."""
    made = shift * change
    for axis in range(3):
        one = change.diff(dim=axis)
        made = made - slope * _padded(one, axis).diff(dim=axis)
        made = made + bending * _padded(_padded(one.diff(dim=axis), axis).diff(dim=axis), axis).diff(dim=axis)
        for other in range(axis):
            mixed = _padded(_padded(one.diff(dim=other), other).diff(dim=other), axis).diff(dim=axis)
            made = made + 2 * bending * mixed
    return made


def _padded(x: Tensor, axis: int) -> Tensor:
    zeros = torch.zeros_like(x.narrow(axis, 0, 1))
    return torch.cat([zeros, x, zeros], axis)


def _ordered(table: Tensor) -> Tensor:
    """The table with luma that never falls along the diagonals of its cells, where all three levels rise.

    Of entries in the wrong order, each gets the mean of them all: isotonic regression by pooling adjacent violators
    (Ayer et al. 1955). Means of colours stay in range.
    """
    luma, flat = (table @ torch.tensor(LUMA, dtype=table.dtype)).numpy(), table.numpy().copy()
    falls = np.argwhere(luma[1:, 1:, 1:] < luma[:-1, :-1, :-1])
    for first in {tuple(place - place.min()) for place in falls}:
        line = tuple(np.arange(SIZE - max(first)) + start for start in first)
        flat[line] = _pooled(flat[line])
    return torch.from_numpy(flat)


def _pooled(colors: np.ndarray) -> np.ndarray:
    blocks: list[tuple[np.ndarray, int]] = []
    for color in colors:
        blocks.append((color, 1))
        while len(blocks) > 1 and blocks[-2][0] @ LUMA > blocks[-1][0] @ LUMA:
            (last, many), (before, more) = blocks.pop(), blocks.pop()
            blocks.append(((last * many + before * more) / (many + more), many + more))
    return np.concatenate([np.repeat(color[None], count, 0) for color, count in blocks])
