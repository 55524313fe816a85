"""An atlas: the islands of a model's textures side by side, all at one scale on the surface, for one pass of a network.

Knows triangles and pictures; nothing about networks. :mod:`stylenet.meshes.seams` continues islands over their borders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylenet.meshes import pyramid, raster
from stylenet.meshes.pyramid import ROWS, Pyramid
from stylenet.meshes.surface import Surface, scales

MARGINS = (32, 16, 8)  # pixels around each island: what a network sees beyond its border
WASTE, SMALL = 2.0, 2e6  # narrower margins where they would more than double the pixels, of large atlases
MOST = 48e6  # pixels
OWN = 0.1  # an island that shares more of its pixels than all but this part with larger ones is painted with those
WHOLE = 2**25  # pixels of a texture that is read at its full size
GUTTER = 2  # pixels around an island in its texture, painted with what is beyond its border in the atlas
TRIALS = 12  # widths of the atlas that are tried
FINEST = 4  # samples per pixel of a texture that is coarser than the atlas, along each side


def owners(surface: Surface, island: np.ndarray, texture: int, size: tuple[int, int]) -> np.ndarray:
    """The island that each pixel of a texture belongs to, (h, w) of int32; NONE in the gutters. Where islands overlap,
    the one with the largest surface. ``size``: width and height.
    """
    area = np.bincount(island, surface.areas)
    own = np.flatnonzero(surface.texture == texture)
    order = own[np.lexsort((island[own], area[island[own]]))]
    width, height = size
    found = np.empty((height, width), np.int32)
    numbers = np.append(island[order], raster.NONE)  # of NONE, the last one
    points = surface.places[order]
    low, high = points[..., 1].min(1, initial=np.inf), points[..., 1].max(1, initial=-np.inf)
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        near = np.flatnonzero((low <= top + rows) & (high >= top))
        here = raster.covering(points[near], (rows, width), top)
        found[top : top + rows] = numbers[np.append(near, len(order))[here]]
    return found


def painted_islands(surface: Surface, island: np.ndarray, sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(n,) of bool: whether a triangle's island is painted by itself. Others lie below larger islands of their texture,
    as the halves of a mirrored model do, or have no pixels of their own.
    """
    count = int(island.max()) + 1 if len(island) else 0
    owned = np.zeros(count)
    for texture in np.unique(surface.texture):
        found = owners(surface, island, texture, sizes[texture])
        owned += np.bincount(found[found >= 0], minlength=count)
    texels = np.bincount(island, surface.texels, count)
    good = (owned >= np.maximum(1, OWN * texels)) & (np.bincount(island, surface.areas, count) > 0)
    return good[island]


@dataclass(frozen=True)
class Atlas:
    """The islands of a surface, placed without overlap.

    ``surface``, ``island``: triangles, and the number of each one's island, from 0 to k. ``maps`` (k, 2, 2) and
    ``shifts`` (k, 2) turn places in a texture into places in the atlas. ``texture``: (k,), of each island. ``margin``:
    the free pixels around each. ``size``: width and height. ``reduced``: by how much the scale was reduced to fit.
    """

    surface: Surface
    island: np.ndarray
    maps: np.ndarray
    shifts: np.ndarray
    texture: np.ndarray
    margin: int
    size: tuple[int, int]
    reduced: float = 1.0

    def points(self) -> np.ndarray:
        """(n, 3, 2): the triangles in the atlas, in pixels."""
        turned = (self.maps[self.island][:, None] @ self.surface.places[..., None])[..., 0]
        return turned + self.shifts[self.island][:, None]

    def owner(self) -> np.ndarray:
        """The island of each pixel, (h, w) of int32; NONE between islands."""
        width, height = self.size
        triangle = raster.covering(self.points(), (height, width))
        return np.append(self.island, raster.NONE)[triangle].astype(np.int32)


def packed(surface: Surface, island: np.ndarray, density: float, most: float = MOST) -> Atlas:
    """Place islands in an atlas with ``density`` pixels per unit of length on the surface, in rows of falling height.
    ``most``: pixels; the scale is reduced where there would be more.

    Raises ValueError if there is nothing to place.
    """
    if not len(surface):
        raise ValueError("no triangles")
    maps = scales(surface, island) * density
    count = len(maps)
    texture = np.zeros(count, np.int64)
    texture[island] = surface.texture
    reduced = 1.0
    while True:
        turned = (maps[island][:, None] @ surface.places[..., None])[..., 0]
        low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
        np.minimum.at(low, island, turned.min(1))
        np.maximum.at(high, island, turned.max(1))
        boxes = (np.ceil(high) - np.floor(low)).astype(np.int64)
        margin = _margin(boxes)
        total = float((boxes + 2 * margin).prod(1).sum())
        if total <= most:
            break
        part = 0.95 * np.sqrt(most / total)
        maps, reduced = maps * part, reduced / part
    corners, size = _rows(boxes + 2 * margin)
    return Atlas(surface, island, maps, corners + margin - np.floor(low), texture, margin, size, reduced)


def _margin(boxes: np.ndarray) -> int:
    bare = boxes.prod(1).sum()
    fitting = (one for one in MARGINS if (boxes + 2 * one).prod(1).sum() <= max(WASTE * bare, SMALL))
    return next(fitting, MARGINS[-1])


def _rows(boxes: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The upper left corner of each box of (width, height), and the size of the whole: of several widths, the one that
    wastes least.
    """
    order = np.argsort(-boxes[:, 1], kind="stable")
    side, widest = np.sqrt(boxes.prod(1).sum()), int(boxes[:, 0].max())
    tried = [_laid(boxes, order, max(widest, int(side * part))) for part in np.linspace(0.7, 1.7, TRIALS)]
    return min(tried, key=lambda one: (one[1][0] * one[1][1], max(one[1])))


def _laid(boxes: np.ndarray, order: np.ndarray, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    corners = np.zeros((len(boxes), 2))
    x = y = tall = used = 0
    for number in order:
        if x + boxes[number, 0] > width:
            x, y, tall = 0, y + tall, 0
        corners[number] = x, y
        x, tall = x + int(boxes[number, 0]), max(tall, int(boxes[number, 1]))
        used = max(used, x)
    return corners, (used, y + tall)


def gathered(atlas: Atlas, owner: np.ndarray, textures: Mapping[int, Pyramid]) -> np.ndarray:
    """The atlas with the textures' pixels in the islands, (h, w, 3) of uint8; 0 between them."""
    result = np.zeros((*owner.shape, 3), np.uint8)
    backwards = np.linalg.inv(atlas.maps)
    apart = np.sqrt(np.abs(np.linalg.det(backwards)))  # pixels of the texture between two of the atlas
    levels = {number: _levels(one, apart[atlas.texture == number]) for number, one in textures.items()}
    for top in range(0, len(owner), ROWS):
        rows = owner[top : top + ROWS]
        down, across = np.nonzero(rows >= 0)
        own = rows[down, across]
        for number, (first, pictures) in levels.items():
            mine = atlas.texture[own] == number
            if not mine.any():
                continue
            one, y, x = own[mine], down[mine] + top + 0.5, across[mine] + 0.5
            place = np.stack([x, y], 1) - atlas.shifts[one]
            place = (backwards[one] @ place[..., None])[..., 0] / first
            found = pyramid.sample_scaled(pictures, place[None, :, 0], place[None, :, 1], apart[one][None] / first)
            result[top + down[mine], across[mine]] = found[:, 0].T.round().clip(0, 255).astype(np.uint8)
    return result


def _levels(one: Pyramid, apart: np.ndarray) -> tuple[int, Sequence[Tensor]]:
    """The levels to sample, and how many pixels of the texture are one of the first level."""
    height, width = one.known.shape
    if len(apart) and apart.min() < 2 and height * width <= WHOLE:
        return 1, [torch.from_numpy(one.filled()).permute(2, 0, 1)[None].float(), *one.levels]
    return 2, one.levels


def with_gutter(owner: np.ndarray, width: int = GUTTER) -> np.ndarray:
    """Islands grown by ``width`` pixels into the free ones around them."""
    for _ in range(width):
        around = np.pad(owner, 1, mode="edge")
        grown = owner.copy()
        for down, across in ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)):
            beside = around[down : down + owner.shape[0], across : across + owner.shape[1]]
            grown = np.where(grown < 0, beside, grown)
        owner = grown
    return owner


def scattered(atlas: Atlas, owner: np.ndarray, image: Tensor, top: int, bottom: int) -> np.ndarray:
    """The atlas ``image``, (1, c, h, w) of floats, back in the rows ``top`` to ``bottom`` of a texture whose pixels
    belong to islands as ``owner`` says: (c, rows, width) of float32; any values in the gutters.
    """
    rows = owner[top:bottom]
    one = np.maximum(rows, 0)
    maps, shifts = atlas.maps.astype(np.float32)[one], atlas.shifts[one]
    here = np.unique(rows[rows >= 0])
    finest = np.sqrt(np.abs(np.linalg.det(atlas.maps[here]))).max() if len(here) else 1.0
    steps = int(np.clip(np.ceil(finest - 0.25), 1, FINEST))
    y, x = np.mgrid[top:bottom, : rows.shape[1]]
    result = np.zeros((image.shape[1], *rows.shape), np.float32)
    for down in (np.arange(steps) + 0.5) / steps:
        for across in (np.arange(steps) + 0.5) / steps:
            a, b = x + across, y + down
            u = maps[..., 0, 0] * a + maps[..., 0, 1] * b + shifts[..., 0]
            v = maps[..., 1, 0] * a + maps[..., 1, 1] * b + shifts[..., 1]
            result += pyramid.sample(image, u, v)
    return result / steps**2
