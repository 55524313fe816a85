"""The scale of the brush: a smaller input gives broader strokes; the photo's edges are restored afterwards.

The detail lost by downscaling is added to the upscaled result. Its gain at each position is the guided filter's a_k
(He, Sun and Tang 2013, "Guided image filtering", eq. 5) times the squared correlation of photo and result, both
computed at the small size. So painted edges become sharp again at any contrast, and strokes get no embossed photo
detail. Without the correlation, leaves and windows leave speckles at the borders of strokes.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images import image_io
from stylenet.images.image_io import ROWS, over

REACH = 2  # window radius in pixels: gains are computed in 5x5 windows
FAINT = 2e-3  # regulariser: luma variance below which the photo has no detail
LEAST, MOST = -1.0, 1.5  # limits of the gain: beyond them, noise is amplified
_LIGHT = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # of R'G'B' (ITU-R BT.601)


def smaller(photo: np.ndarray, stroke: float) -> np.ndarray:
    """Downscale ``photo``, (h, w, 3) of uint8 or uint16, by ``stroke``; unchanged if that is 1."""
    height, width = photo.shape[:2]
    return photo if stroke == 1 else image_io.resized(photo, (part(width, stroke), part(height, stroke)))


def larger(photo: np.ndarray, small: np.ndarray, made: np.ndarray, stroke: float) -> np.ndarray:
    """Upscale ``made``, the result for :func:`smaller`'s output ``small``, to the size of ``photo``."""
    if stroke == 1:
        return made
    shape = photo.shape[1::-1]
    result = image_io.resized(made, shape)
    if stroke > 1:
        over(
            result,
            [photo, *(image_io.resized(one, shape) for one in (small, gain_levels(small, made))), result],
            detailed,
        )
    return result


def smaller_tensor(photo: Tensor, stroke: float) -> Tensor:
    """As :func:`smaller`, for (b, 3, h, w) in [0, 1]."""
    return photo if stroke == 1 else _sized(photo, [part(side, stroke) for side in photo.shape[2:]])


def larger_tensor(photo: Tensor, small: Tensor, made: Tensor, stroke: float) -> Tensor:
    """As :func:`larger`, for (b, 3, h, w) in [0, 1]."""
    if stroke == 1:
        return made
    sides, small = photo.shape[2:], small.to(made)
    result = _sized(made, sides)
    if stroke > 1:
        gains = _sized(_to_unit(_follows(small, made)), sides)
        result = detailed(photo.to(made), _sized(small, sides), gains, result).clamp(0, 1)
    return result


def part(side: int, stroke: float) -> int:
    """The length of a side after :func:`smaller`, in pixels."""
    return max(1, round(side / stroke))


def _sized(image: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize (b, c, h, w) in [0, 1] to another height and width, with the same resampling as for arrays."""
    height, width = sides
    channels = image.detach().float().cpu().flatten(0, 1).numpy()
    made = torch.stack([torch.from_numpy(image_io.resampled(channel, (width, height))) for channel in channels])
    return made.clamp(0, 1).unflatten(0, image.shape[:2]).to(image.device)


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


def gain_levels(small: np.ndarray, made: np.ndarray) -> np.ndarray:
    """How much of the photo's detail each place of ``made``, the result for ``small``, gets back: (h, w, 1) of uint8, 0
    for LEAST and 255 for MOST.
    """
    result, height = np.empty((*small.shape[:2], 1), np.uint8), len(small)
    for top in range(0, height, ROWS):
        first, bottom = max(0, top - 2 * REACH), min(height, top + ROWS)
        rows = [image_io.to_tensor(one[first : bottom + 2 * REACH]) for one in (small, made)]
        found = _to_unit(_follows(*rows))[:, :, top - first :][:, :, : bottom - top]
        result[top:bottom] = image_io.to_array(found)
    return result
