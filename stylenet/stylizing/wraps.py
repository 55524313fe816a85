"""Pictures that go on at their other side: tiles of a texture, and panoramas all around. Knows no networks."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.images import image_io

# The option, and the axes of stylenet.nets.borders.
AXES = {"x": "x", "y": "y", "both": "xy", "panorama": "x"}
LEAST = 32  # pixels of a side that wraps
LOBES = 3  # of Lanczos' filter on either side


def sides(size: Sequence[int], axes: str, multiple: int) -> tuple[int, int]:
    """Height and width that a network can wrap: along these axes the nearest multiples."""
    height, width = size
    fitted = [max(LEAST, round(side / multiple) * multiple) for side in (height, width)]
    return (fitted[0] if "y" in axes else height), (fitted[1] if "x" in axes else width)


def resized(picture: np.ndarray, size: Sequence[int], axes: str) -> np.ndarray:
    """A picture (h, w, c) of uint8 or uint16 at this height and width, as if it went on along these axes."""
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    around = margins(picture.shape[:2], size, axes)
    (down, across), (tall, wide) = around, picture.shape[:2]
    more = np.pad(picture, ((down, down), (across, across), (0, 0)), "wrap") if axes else picture
    return image_io.resized(more, (width, height), (across, down, across + wide, down + tall))


def resized_tensor(picture: Tensor, size: Sequence[int], axes: str) -> Tensor:
    """The same for (b, c, h, w) in [0, 1]."""
    if picture.shape[2:] == torch.Size(size):
        return picture
    (height, width), (tall, wide) = size, picture.shape[2:]
    down, across = margins((tall, wide), size, axes)
    channels = padded(picture.detach().float(), (down, across)).cpu().flatten(0, 1).numpy()
    box = (across, down, across + wide, down + tall)
    made = torch.stack([torch.from_numpy(image_io.resampled(one, (width, height), box)) for one in channels])
    return made.clamp(0, 1).unflatten(0, picture.shape[:2]).to(picture.device)


def padded(picture: Tensor, around: Sequence[int]) -> Tensor:
    """(b, c, h, w) with so many rows of the other side above and below, and columns on either side."""
    down, across = around
    return F.pad(picture, (across, across, down, down), mode="circular") if down or across else picture


def margins(old: Sequence[int], new: Sequence[int], axes: str) -> tuple[int, int]:
    """Rows and columns around a picture of the ``old`` height and width that count when it gets the ``new``."""
    down, across = (
        min(before, LOBES * max(1, -(-before // after)) + 1) if axis in axes else 0
        for axis, before, after in zip("yx", old, new, strict=True)
    )
    return down, across
