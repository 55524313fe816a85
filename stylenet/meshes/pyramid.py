"""Pictures with holes, filled from around the holes; and pictures sampled between their pixels, at any scale.

Filling is push-pull (Gortler, Grzeszczuk, Szeliski and Cohen 1996, "The Lumigraph", section 3.4): each level is the
mean of the known pixels of the level below, then holes are filled from the coarser level. So the levels are mipmaps as
well, without a trace of what is in the holes.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 512  # per band


class Pyramid:
    """A picture whose holes are filled, at its own size and at halves of it. ``levels``: each (1, c, h, w), floats in
    [0, 255]; the first one has half the picture's sides, as the picture itself stays as it is.

    ``picture``: (h, w, c) of uint8. ``known``: (h, w) of bool, False in the holes. If nothing is known, all is grey.
    """

    def __init__(self, picture: np.ndarray, known: np.ndarray):
        self.picture, self.known = picture, known
        levels = [_first(picture, known)]
        while max(levels[-1].shape[2:]) > 1:
            levels.append(_half(levels[-1]))
        whole = levels[-1]
        filled = torch.where(whole[:, -1:] > 0, whole[:, :-1] / whole[:, -1:].clamp(min=1e-6), torch.tensor(128.0))
        self.levels = [filled]
        for level in reversed(levels[:-1]):
            height, width = level.shape[2:]
            coarse = _double(self.levels[0])[:, :, :height, :width]
            weight = level[:, -1:]
            self.levels.insert(0, torch.where(weight > 0, level[:, :-1] / weight.clamp(min=1e-6), coarse))

    def filled(self) -> np.ndarray:
        """The picture with its holes filled, (h, w, c) of uint8."""
        result = self.picture.copy()
        height, width = self.known.shape
        for top in range(0, height, ROWS):
            rows = slice(top, min(top + ROWS, height))
            holes = ~self.known[rows]
            if holes.any():
                first = max(0, top // 2 - 1)
                part = self.levels[0][:, :, first : (rows.stop + 1) // 2 + 1]
                fine = _double(part)[0, :, rows.start - 2 * first : rows.stop - 2 * first, :width]
                result[rows][holes] = fine.permute(1, 2, 0).numpy()[holes].round().astype(np.uint8)
        return result


def _first(picture: np.ndarray, known: np.ndarray) -> Tensor:
    """The sums of known pixels in squares of 2x2, and their number, (1, c + 1, h / 2, w / 2), rounded up."""
    parts = []
    for top in range(0, len(picture), 2 * ROWS):
        weight = torch.from_numpy(known[top : top + 2 * ROWS]).float()[None, None]
        rows = torch.from_numpy(picture[top : top + 2 * ROWS]).permute(2, 0, 1)[None].float()
        parts.append(_half(torch.cat([rows * weight, weight], 1)))
    return torch.cat(parts, 2)


def _half(sums: Tensor) -> Tensor:
    """The means over squares of 2x2 of weighted pixels and their weights; beyond the border nothing is known."""
    height, width = sums.shape[2:]
    return F.avg_pool2d(F.pad(sums, (0, width % 2, 0, height % 2)), 2)


def _double(level: Tensor) -> Tensor:
    return F.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)


def mipmaps(picture: np.ndarray) -> list[np.ndarray]:
    """A texture (h, w, 3) of uint8 and its halves down to one pixel, as float32, as graphics hardware makes them."""
    levels = [picture.astype(np.float32)]
    while max(levels[-1].shape[:2]) > 1:
        image = torch.from_numpy(levels[-1]).permute(2, 0, 1)[None]
        height, width = image.shape[2:]
        small = F.adaptive_avg_pool2d(image, (max(1, height // 2), max(1, width // 2)))
        levels.append(small[0].permute(1, 2, 0).contiguous().numpy())
    return levels


def sample(image: Tensor, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``image``, (1, c, h, w) of floats, between its pixels at ``x`` and ``y`` (r, n): (c, r, n) of float32, bilinear.
    The centre of the first pixel is at 0.5. Beyond the border, the border's pixels are repeated.
    """
    height, width = image.shape[2:]
    grid = np.stack([x * (2 / width) - 1, y * (2 / height) - 1], -1).astype(np.float32)
    found = F.grid_sample(image, torch.from_numpy(grid)[None], "bilinear", "border", align_corners=False)
    return found[0].numpy()


def sample_scaled(levels: Sequence[Tensor], x: np.ndarray, y: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """As :func:`sample`, from the halves ``levels`` of a picture at its own ``x`` and ``y``, for samples that stand
    ``scale`` of its pixels apart (r, n): between two levels, linear.
    """
    level = np.log2(np.maximum(scale, 1.0)).clip(0, len(levels) - 1)
    below = np.floor(level).astype(np.int64)
    result = np.zeros((levels[0].shape[1], *x.shape), np.float32)
    for number in range(int(below.min()), min(int(below.max()) + 1, len(levels) - 1) + 1):
        share = np.maximum(0, 1 - np.abs(level - number)).astype(np.float32)
        if share.any():
            result += share * sample(levels[number], x / 2**number, y / 2**number)
    return result
