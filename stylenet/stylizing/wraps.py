"""Pictures that go on at their other side: tiles of a texture, and panoramas all around. Knows no networks."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images import image_io

AXES = {"x": "x", "y": "y", "both": "xy"}  # the option, and the axes of stylenet.nets.borders
LEAST = 32  # pixels of a side that wraps


def sides(size: Sequence[int], axes: str, multiple: int) -> tuple[int, int]:
    """Height and width that a network can wrap: along these axes the nearest multiples."""
    height, width = size
    fitted = [max(LEAST, round(side / multiple) * multiple) for side in (height, width)]
    return (fitted[0] if "y" in axes else height), (fitted[1] if "x" in axes else width)


def resized(picture: np.ndarray, size: Sequence[int], axes: str) -> np.ndarray:
    """A picture (h, w, 3) of uint8 or uint16 at this height and width, as if it went on along these axes."""
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    down, across = 3 if "y" in axes else 1, 3 if "x" in axes else 1
    large = image_io.resized(np.tile(picture, (down, across, 1)), (width * across, height * down))
    top, left = height * (down // 2), width * (across // 2)
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def resized_tensor(picture: Tensor, size: Sequence[int], axes: str) -> Tensor:
    """The same for (b, 3, h, w) in [0, 1]."""
    height, width = size
    if picture.shape[2:] == torch.Size((height, width)):
        return picture
    down, across = 3 if "y" in axes else 1, 3 if "x" in axes else 1
    tiled = picture.repeat(1, 1, down, across)
    large = F.interpolate(tiled, (height * down, width * across), mode="bicubic", antialias=True).clamp(0, 1)
    top, left = height * (down // 2), width * (across // 2)
    return large[..., top : top + height, left : left + width]
