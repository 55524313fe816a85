"""Which triangle covers each pixel: of a texture, of an atlas of its islands, or of a picture of the model.

Knows points in pixels; nothing about models. A pixel counts as covered if its centre, at a half, is.
"""

from collections.abc import Iterator

import numpy as np

AT_ONCE = 2**21  # pixels in work at a time, which bounds the memory
NONE = -1  # no triangle


def covering(points: np.ndarray, shape: tuple[int, int], top: int = 0) -> np.ndarray:
    """The number of the last triangle that covers each pixel, (h, w) of int32; NONE where there is none.

    ``points``: (n, 3, 2), x and y of the corners in pixels. ``top``: the first row of the window of this ``shape``.
    """
    found = np.full(shape[0] * shape[1], NONE, np.int32)
    for triangle, place, _, _ in _pixels(points, shape, top):
        found[place] = triangle  # of several, the last one stays
    return found.reshape(shape)


def nearest(points: np.ndarray, depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The number of the nearest triangle at each pixel, (h, w) of int32; NONE where there is none.

    ``depth``: (n, 3), at least 0 at each corner; it is linear in the picture. In perspective that is true of the
    reciprocal of the distance, see :mod:`stylenet.meshes.renderer`.
    """
    far = np.iinfo(np.int64).max
    found = np.full(shape[0] * shape[1], far, np.int64)
    base, across, down = planes(points, depth)
    for triangle, place, x, y in _pixels(points, shape, 0):
        here = base[triangle] + across[triangle] * x + down[triangle] * y
        bits = np.maximum(here, 0).astype(np.float32).view(np.int32).astype(np.int64)  # floats from 0 sort as integers
        np.minimum.at(found, place, (bits << 32) | triangle)
    return np.where(found == far, NONE, found & 0xFFFFFFFF).astype(np.int32).reshape(shape)


def planes(points: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of values (n, 3) that are linear over each triangle: those at (0, 0), and their slopes in x and y."""
    one, two = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    area = np.where(area == 0, 1, area)
    first, second = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    across = (first * two[:, 1] - second * one[:, 1]) / area
    down = (second * one[:, 0] - first * two[:, 0]) / area
    return values[:, 0] - across * points[:, 0, 0] - down * points[:, 0, 1], across, down


def _pixels(
    points: np.ndarray, shape: tuple[int, int], top: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The pixels of all triangles in pieces: the triangle, the place in the window, x and y of each."""
    height, width = shape
    triangle, row, first, last = _spans(np.asarray(points, np.float64), height, width, top)
    if not len(row):
        return
    ends = np.cumsum(last - first + 1)
    begin = 0
    while begin < len(row):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + AT_ONCE, "right")))
        lengths = (last - first + 1)[begin:end]
        spans = np.repeat(np.arange(begin, end), lengths)
        column = np.arange(len(spans)) - np.repeat(ends[begin:end] - lengths - done, lengths) + first[spans]
        yield triangle[spans], row[spans] * width + column, column + 0.5, row[spans] + top + 0.5
        begin = end


def _spans(
    points: np.ndarray, height: int, width: int, top: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each row of each triangle: the triangle, the row of the window, the first and the last column."""
    low = np.ceil(np.clip(points[..., 1].min(1) - top, 0, height) - 0.5).astype(np.int64).clip(0)
    high = np.floor(np.clip(points[..., 1].max(1) - top, 0, height) - 0.5).astype(np.int64).clip(-1, height - 1)
    counts = np.maximum(high - low + 1, 0)
    triangle = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts, counts) + low[triangle]
    y = row + top + 0.5
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for corner in range(3):  # a row meets two sides, or touches the third in a corner
        x0, y0 = points[:, corner, 0][triangle], points[:, corner, 1][triangle]
        x1, y1 = points[:, corner - 2, 0][triangle], points[:, corner - 2, 1][triangle]
        meets = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1)) & (y0 != y1)
        x = x0 + (x1 - x0) * ((y - y0) / np.where(meets, y1 - y0, 1))
        left, right = np.where(meets, np.minimum(left, x), left), np.where(meets, np.maximum(right, x), right)
    met = left <= right
    first = np.ceil(np.where(met, left, 0).clip(0, width) - 0.5).clip(0).astype(np.int64)
    last = np.floor(np.where(met, right, -1).clip(-1, width) - 0.5).clip(-1, width - 1).astype(np.int64)
    some = first <= last
    return triangle[some], row[some], first[some], last[some]
