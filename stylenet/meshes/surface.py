"""The surface of a model as triangles with places in textures, and its islands: what a texture shows in one piece.

Knows positions and textures; nothing about files or networks.
"""

from dataclasses import dataclass, replace

import numpy as np

SAME = 1e-6  # corners this close are one, as a part of the model's diagonal; so are places in a texture
UNEVEN = 0.25  # octaves, the deviation of the scale inside an island above which it is cut into parts
STEP = 0.5  # octaves of scale in a part
PARTS = 24  # of an island at most: one that falls into more stays whole
SMOOTH = 10  # rounds in which triangles take the mean scale of their neighbours, so that cuts are few and simple
STRETCH = 16.0  # an island's two directions are evened out up to this ratio; beyond it, they are errors of the model


@dataclass(frozen=True)
class Surface:
    """Triangles with a place in a texture each.

    ``corners``: (n, 3, 3), positions of float64. ``places``: (n, 3, 2), in the pixels of its texture: x to the right, y
    down. ``texture``: (n,) of int, the number of the texture.
    """

    corners: np.ndarray
    places: np.ndarray
    texture: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, chosen: np.ndarray) -> "Surface":
        return Surface(self.corners[chosen], self.places[chosen], self.texture[chosen])

    @property
    def diagonal(self) -> float:
        """Of the box around the triangles."""
        points = self.corners.reshape(-1, 3)
        return float(np.linalg.norm(points.max(0) - points.min(0))) if len(points) else 0.0

    @property
    def areas(self) -> np.ndarray:
        """(n,), in square units of the model."""
        one, two = self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        return np.linalg.norm(np.cross(one, two), axis=1) / 2

    @property
    def texels(self) -> np.ndarray:
        """(n,), the area of each triangle in its texture, in pixels."""
        return np.abs(_cross(*self._sides)) / 2

    @property
    def metrics(self) -> np.ndarray:
        """(n, 2, 2), J^T J of the map from pixels to the surface: how far apart neighbouring pixels are, squared, in
        units of the model. 0 where a triangle has no area in its texture.
        """
        one, two = self._sides
        area = _cross(one, two)
        some = np.where(area == 0, 1, area)[:, None]
        first, second = self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        across = (first * two[:, 1:] - second * one[:, 1:]) / some
        down = (second * one[:, :1] - first * two[:, :1]) / some
        jacobian = np.stack([across, down], 2) * (area != 0)[:, None, None]
        return jacobian.transpose(0, 2, 1) @ jacobian

    @property
    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        return self.places[:, 1] - self.places[:, 0], self.places[:, 2] - self.places[:, 0]

    def points(self) -> np.ndarray:
        """(n, 3) of int: the number of each corner's position; corners at one position have one number."""
        points = self.corners.reshape(-1, 3)
        return numbers((points - points.min(0)) / max(self.diagonal, 1e-30)).reshape(-1, 3)


def _cross(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]


def numbers(rows: np.ndarray) -> np.ndarray:
    """(n,): the same number for rows (n, k) that are the same but for SAME."""
    found = np.zeros(len(rows), np.int64)
    for column in np.rint(rows / SAME).astype(np.int64).T:  # much faster than to sort whole rows
        own = np.unique(column, return_inverse=True)[1].reshape(-1)
        found = np.unique(found * (own.max(initial=0) + 1) + own, return_inverse=True)[1].reshape(-1)
    return found


def islands(surface: Surface, sizes: list[tuple[int, int]]) -> np.ndarray:
    """(n,): the number of each triangle's island, from 0. Two triangles with a common corner on the surface and in the
    texture are in one island. ``sizes``: width and height of each texture, in pixels.
    """
    return components(_vertices(surface, sizes))


def _vertices(surface: Surface, sizes: list[tuple[int, int]]) -> np.ndarray:
    """(n, 3): the number of each corner; corners with one position and one place in a texture have one number."""
    sides = np.asarray(sizes, np.float64)[surface.texture]
    places = (surface.places / sides[:, None]).reshape(-1, 2)
    corners = np.column_stack([surface.points().reshape(-1) * SAME, places, np.repeat(surface.texture, 3) * SAME])
    return numbers(corners).reshape(-1, 3)


def parted(surface: Surface, island: np.ndarray, sizes: list[tuple[int, int]]) -> np.ndarray:
    """(n,): new numbers, in which islands of uneven scale, such as the map of a globe, fall into parts of similar
    scale. Their cuts are borders of islands like all others.
    """
    vertices = _vertices(surface, sizes)
    areas, texels = surface.areas, surface.texels
    some = (areas > 0) & (texels > 0)
    weight = np.where(some, areas, 0)
    level = np.where(some, np.log2(np.where(some, areas, 1) / np.where(some, texels, 1)) / 2, 0)
    spots = np.bincount(vertices.reshape(-1), np.repeat(weight, 3))
    for _ in range(SMOOTH):
        mean = np.bincount(vertices.reshape(-1), np.repeat(weight * level, 3)) / np.maximum(spots, 1e-300)
        level = mean[vertices].mean(1)
    whole = np.maximum(np.bincount(island, weight), 1e-300)
    level = level - (np.bincount(island, weight * level) / whole)[island]
    uneven = np.sqrt(np.bincount(island, weight * level**2) / whole) > UNEVEN
    class_ = np.rint(level / STEP).astype(np.int64).clip(-99, 99)
    apart = np.column_stack([vertices.reshape(-1), np.repeat(class_, 3)])
    part = components(np.unique(apart, axis=0, return_inverse=True)[1].reshape(-1, 3))
    pairs = np.unique(np.column_stack([island, part]), axis=0)
    uneven &= np.bincount(pairs[:, 0], minlength=len(uneven)) <= PARTS
    return np.unique(np.column_stack([island, np.where(uneven[island], part, -1)]), axis=0, return_inverse=True)[
        1
    ].reshape(-1)


def components(triangles: np.ndarray) -> np.ndarray:
    """(n,): numbers from 0 of the connected parts of triangles (n, 3) of corners."""
    if not len(triangles):
        return np.zeros(0, np.int64)
    label = np.arange(triangles.max() + 1)
    while True:
        least = label[triangles].min(1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, triangles[:, corner], least)
            np.minimum.at(label, before[triangles[:, corner]], least)  # its whole part so far goes along
        label = label[label]
        if (label == before).all():
            return np.unique(label[triangles[:, 0]], return_inverse=True)[1]


def scales(surface: Surface, island: np.ndarray) -> np.ndarray:
    """(k, 2, 2): for each island, the linear map from pixels of its texture to lengths on the surface that fits best.

    It is symmetric: the root of the mean metric, with the determinant that keeps the island's whole area. 0 for an
    island without area.
    """
    count = int(island.max()) + 1 if len(island) else 0
    texels, areas = surface.texels, surface.areas
    metric = np.stack(
        [np.bincount(island, surface.metrics.reshape(-1, 4)[:, k] * texels, count) for k in range(4)], -1
    ).reshape(-1, 2, 2)
    values, vectors = np.linalg.eigh(metric)
    values = np.sqrt(np.maximum(values, 0))
    values = np.maximum(values, values.max(1, keepdims=True) / STRETCH)
    pixels, area = np.bincount(island, texels, count), np.bincount(island, areas, count)
    some = (pixels > 0) & (area > 0) & (values.min(1) > 0)
    product = np.where(some, values.prod(1), 1)
    fitted = values * np.where(some, np.sqrt(area / np.where(some, pixels, 1) / product), 0)[:, None]
    return (vectors * fitted[:, None, :]) @ vectors.transpose(0, 2, 1)


def spread(surface: Surface, island: np.ndarray, maps: np.ndarray) -> float:
    """How uneven a picture of the surface is in which each island is mapped by ``maps`` (k, 2, 2): the pixels per unit
    of length of which 95% of the surface have less, divided by those of which 5% have less. 1 is even.
    """
    area = surface.areas
    stretched = np.abs(np.linalg.det(maps))[island] * surface.texels
    some = (area > 0) & (stretched > 0)
    if not some.any():
        return 1.0
    density = np.sqrt(stretched[some] / area[some])
    order = np.argsort(density)
    part = np.cumsum(area[some][order])
    low, high = (density[order][np.searchsorted(part, part[-1] * share)] for share in (0.05, 0.95))
    return float(high / low)


def moved_inside(surface: Surface, island: np.ndarray, sizes: list[tuple[int, int]]) -> tuple[Surface, np.ndarray]:
    """The surface with islands moved by whole textures to where the texture is, and for each triangle whether its
    island does not fit into the texture: there the texture repeats.
    """
    count = int(island.max()) + 1 if len(island) else 0
    sides = np.asarray(sizes, np.float64)[surface.texture][:, None]
    places = surface.places / sides
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, island, places.min(1))
    np.maximum.at(high, island, places.max(1))
    whole = np.floor((low + high) / 2)
    repeats = np.any((low - whole < -1e-3) | (high - whole > 1 + 1e-3), axis=1)
    shift = np.where(repeats[:, None], 0, whole)
    return replace(surface, places=(places - shift[island][:, None]) * sides), repeats[island]
