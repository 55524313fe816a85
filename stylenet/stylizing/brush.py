"""The scale of the brush: a smaller input gives broader strokes; the photo's edges are restored afterwards.

The detail lost by downscaling is added to the upscaled result. Its gain at each position is the guided filter's a_k
(He, Sun and Tang 2013, "Guided image filtering", eq. 5) times the squared correlation of photo and result, both
computed at the small size. So painted edges become sharp again at any contrast, and strokes get no embossed photo
detail. Without the correlation, leaves and windows leave speckles at the borders of strokes.

``axes``: those along which pictures go on at their other side, see :mod:`stylenet.stylizing.wraps`.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images import image_io
from stylenet.images.image_io import ROWS, over
from stylenet.stylizing import wraps

REACH = 2  # window radius in pixels: gains are computed in 5x5 windows
FAINT = 2e-3  # regulariser: luma variance below which the photo has no detail
MULTIPLE = 8  # sides in pixels that every network can wrap
LEAST, MOST = -1.0, 1.5  # limits of the gain: beyond them, noise is amplified
_LIGHT = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # of R'G'B' (ITU-R BT.601)


def smaller(photo: np.ndarray, stroke: float, axes: str = "") -> np.ndarray:
    """Downscale ``photo``, (h, w, 3) of uint8 or uint16, by ``stroke``; unchanged if that is 1."""
    return photo if stroke == 1 else wraps.resized(photo, sides(photo.shape[:2], stroke, axes), axes)


def larger(photo: np.ndarray, small: np.ndarray, made: np.ndarray, stroke: float, axes: str = "") -> np.ndarray:
    """Upscale ``made``, the result for :func:`smaller`'s output ``small``, to the size of ``photo``."""
    if stroke == 1:
        return made
    size = photo.shape[:2]
    result = wraps.resized(made, size, axes)
    if stroke > 1:
        gains = gain_levels(small, made, axes)
        over(result, [photo, *(wraps.resized(one, size, axes) for one in (small, gains)), result], detailed)
    return result


def smaller_tensor(photo: Tensor, stroke: float, axes: str = "") -> Tensor:
    """As :func:`smaller`, for (b, 3, h, w) in [0, 1]."""
    if stroke == 1:
        return photo
    return wraps.resized_tensor(photo, sides(photo.shape[2:], stroke, axes), axes)


def larger_tensor(photo: Tensor, small: Tensor, made: Tensor, stroke: float, axes: str = "") -> Tensor:
    """As :func:`larger`, for (b, 3, h, w) in [0, 1]."""
    if stroke == 1:
        return made
    sides, small = photo.shape[2:], small.to(made)
    result = wraps.resized_tensor(made, sides, axes)
    if stroke > 1:
        follows = _to_unit(_inner(_follows(*(wraps.padded(one, _reach(axes)) for one in (small, made))), axes))
        gains, small = (wraps.resized_tensor(one, sides, axes) for one in (follows, small))
        result = detailed(photo.to(made), small, gains, result).clamp(0, 1)
    return result


def sides(size: Sequence[int], stroke: float, axes: str = "") -> tuple[int, int]:
    """Height and width after :func:`smaller`, in pixels. Along ``axes`` they are such that networks can wrap them."""
    height, width = (max(1, round(side / stroke)) for side in size)
    return wraps.sides((height, width), axes, MULTIPLE) if stroke != 1 else (height, width)


def _reach(axes: str) -> tuple[int, int]:
    """Rows and columns of the other side that gains depend on: two windows."""
    down, across = (2 * REACH if axis in axes else 0 for axis in "yx")
    return down, across


def _inner(image: Tensor, axes: str) -> Tensor:
    """(b, c, h, w) without the rows and columns of :func:`_reach`."""
    (down, across), (height, width) = _reach(axes), image.shape[2:]
    return image[..., down : height - down, across : width - across]


def _light(image: Tensor) -> Tensor:
    return (image * _LIGHT.to(image)).sum(1, keepdim=True)


def detailed(photo: Tensor, small: Tensor, gains: Tensor, made: Tensor) -> Tensor:
    """``made`` with the photo's detail that ``small`` lacks. All are (b, c, h, w) in [0, 1], at the photo's size;
    ``gains``: see :func:`gain_levels`.
    """
    return made + (gains * (MOST - LEAST) + LEAST) * (_light(photo) - _light(small))


def _follows(small: Tensor, made: Tensor) -> Tensor:
    """The gain of photo detail, (b, 1, h, w), from the luma of both. Separate colour channels would cause fringes."""
    light, painted = _light(small), _light(made)
    mean = _mean(light)
    variance, covariance = _mean(light * light) - mean * mean, _mean(light * painted) - mean * _mean(painted)
    alike = covariance**2 / ((variance + FAINT) * (_mean(painted * painted) - _mean(painted) ** 2 + FAINT))
    return _mean(alike * (covariance / (variance + FAINT)).clamp(LEAST, MOST))


def _mean(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2 * REACH + 1, 1, REACH, count_include_pad=False)


def _to_unit(gains: Tensor) -> Tensor:
    return (gains - LEAST) / (MOST - LEAST)


def gain_levels(small: np.ndarray, made: np.ndarray, axes: str = "") -> np.ndarray:
    """How much of the photo's detail each place of ``made``, the result for ``small``, gets back: (h, w, 1) of uint8, 0
    for LEAST and 255 for MOST.
    """
    (down, across), (tall, wide) = _reach(axes), small.shape[:2]
    small, made = (np.pad(one, ((down, down), (across, across), (0, 0)), "wrap") for one in (small, made))
    return np.ascontiguousarray(_gains(small, made)[down : down + tall, across : across + wide])


def _gains(small: np.ndarray, made: np.ndarray) -> np.ndarray:
    result, height = np.empty((*small.shape[:2], 1), np.uint8), len(small)
    for top in range(0, height, ROWS):
        first, bottom = max(0, top - 2 * REACH), min(height, top + ROWS)
        rows = [image_io.to_tensor(one[first : bottom + 2 * REACH]) for one in (small, made)]
        found = _to_unit(_follows(*rows))[:, :, top - first :][:, :, : bottom - top]
        result[top:bottom] = image_io.to_array(found)
    return result
