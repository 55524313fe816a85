"""Borders of islands that are one line on the surface: what lies beyond, and two paintings of it that become one.

An edge of the surface between two islands appears twice in the atlas. Beyond it each island is continued with what the
other has there, turned and moved so that the two copies of the edge coincide. So a network sees the true neighbourhood;
and of both its paintings of this strip, a mean is taken that is the same on both sides.
"""

from dataclasses import dataclass

import numpy as np
import torch

from stylenet.meshes import pyramid, raster
from stylenet.meshes.atlas import Atlas

BLEND = 12  # pixels of the atlas on each side of a border in which the two paintings are blended
ROUNDS = 2  # a strip may lead through a narrow island into the next one


@dataclass(frozen=True)
class Seams:
    """The borders (n,) of islands with what is beyond: ``start`` and ``end``, (n, 2), of an edge in the atlas, and
    ``out``, the unit vector that leads out of the island. ``other_start``, ``other_end``: the same edge in the other
    island, and ``into``, the unit vector that leads into that one.
    """

    start: np.ndarray
    end: np.ndarray
    out: np.ndarray
    other_start: np.ndarray
    other_end: np.ndarray
    into: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def strips(self, low: float, high: float, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
        """The pixels from ``low`` to ``high`` pixels beyond a border, by the nearest border: their rows and columns,
        x and y of the same place in the other island, and how far beyond the border they are.
        """
        corners = [
            self.start + low * self.out,
            self.end + low * self.out,
            self.end + high * self.out,
            self.start + high * self.out,
        ]
        triangles = np.concatenate([np.stack([corners[0], corners[one], corners[one + 1]], 1) for one in (1, 2)])
        far = np.abs([low, low, high, high])
        depth = np.concatenate([np.tile(far[[0, one, one + 1]], (len(self), 1)) for one in (1, 2)])
        found = raster.nearest(triangles, depth, shape)
        down, across = np.nonzero(found >= 0)
        one = found[down, across] % len(self)
        offset = np.stack([across + 0.5, down + 0.5], 1) - self.start[one]
        along, other = self.end[one] - self.start[one], self.other_end[one] - self.other_start[one]
        part = (offset * along).sum(1) / (along**2).sum(1)
        beyond = (offset * self.out[one]).sum(1)
        place = self.other_start[one] + part[:, None] * other + beyond[:, None] * self.into[one]
        return down, across, place[:, 0], place[:, 1], beyond


def seams(atlas: Atlas) -> Seams:
    """Both sides of every edge between two triangles that are apart in the atlas."""
    points, numbers = atlas.points(), atlas.surface.points()
    count = len(numbers)
    first, second = numbers, numbers[:, [1, 2, 0]]
    low, high = np.minimum(first, second).reshape(-1), np.maximum(first, second).reshape(-1)
    key = low * (int(numbers.max()) + 1) + high
    order = np.argsort(key, kind="stable")
    order = order[(low != high)[order]]
    _, begin, number = np.unique(key[order], return_index=True, return_counts=True)
    begin = begin[number == 2]  # an edge of three triangles has no one neighbour
    one, two = order[begin], order[begin + 1]
    sides = np.stack([points, points[:, [1, 2, 0]]], 2).reshape(count * 3, 2, 2)
    flip = first.reshape(-1)[one] != first.reshape(-1)[two]
    a, b = sides[one], np.where(flip[:, None, None], sides[two][:, ::-1], sides[two])
    third = points[:, [2, 0, 1]].reshape(count * 3, 2)
    out, into = _away(a, third[one]), _away(b, third[two])
    long = (np.linalg.norm(a[:, 1] - a[:, 0], axis=1) > 1e-3) & (np.linalg.norm(b[:, 1] - b[:, 0], axis=1) > 1e-3)
    apart = long & (np.abs(a - b).max((1, 2)) > 1e-2)
    a, b, out, into = a[apart], b[apart], out[apart], into[apart]
    both = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([out, into]), np.concatenate([into, out])
    return Seams(both[0][:, 0], both[0][:, 1], both[2], both[1][:, 0], both[1][:, 1], -both[3])


def _away(edge: np.ndarray, third: np.ndarray) -> np.ndarray:
    """The unit vectors that are normal to edges (n, 2, 2), away from the third corners (n, 2)."""
    along = edge[:, 1] - edge[:, 0]
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    inwards = ((third - edge[:, 0]) * normal).sum(1) > 0
    return np.where(inwards[:, None], -normal, normal)


def continued(picture: np.ndarray, known: np.ndarray, borders: Seams, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture of an atlas with each island continued over its borders, and the pixels that are known now.

    ``picture``: (h, w, 3) of uint8; ``known``: (h, w), the pixels in islands. ``margin``: how far, in pixels.
    """
    if not len(borders):
        return picture, known
    picture, inside = picture.copy(), known
    down, across, x, y, _ = borders.strips(0, margin, known.shape)
    outside = ~inside[down, across]
    down, across, x, y = down[outside], across[outside], x[outside], y[outside]
    for _ in range(ROUNDS):
        column, row = (
            np.floor(at).astype(int).clip(0, side - 1) for at, side in ((x, known.shape[1]), (y, len(known)))
        )
        new = known[row, column] & ~known[down, across]
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        weight = torch.from_numpy(known)[None, None].float()
        found = pyramid.sample(torch.cat([image * weight, weight], 1), x[None, new], y[None, new])[:, 0]
        colors = found[:3] / np.maximum(found[3:], 1e-6)  # of known neighbours alone
        picture[down[new], across[new]] = colors.T.round().clip(0, 255).astype(np.uint8)
        known = known.copy()
        known[down[new], across[new]] = True
    return picture, known


def blended(picture: np.ndarray, inside: np.ndarray, borders: Seams, width: int = BLEND) -> np.ndarray:
    """The painted atlas (h, w, 3) of uint8 with both paintings of each border blended: the other's share is a half at
    the border, and falls to none ``width`` pixels inside. ``inside``: the pixels in islands.
    """
    if not len(borders):
        return picture
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    result = picture.copy()
    for low, high, where in ((-width, 0, inside), (0, width, ~inside)):
        down, across, x, y, beyond = borders.strips(low, high, inside.shape)
        mine = where[down, across]
        down, across, x, y, beyond = down[mine], across[mine], x[mine], y[mine], beyond[mine]
        share = (0.5 + beyond / (2 * width)).clip(0, 1)[:, None]
        other = pyramid.sample(image, x[None], y[None])[:, 0].T
        mixed = picture[down, across] * (1 - share) + other * share
        result[down, across] = mixed.round().clip(0, 255).astype(np.uint8)
    return result
