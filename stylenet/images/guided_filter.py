"""The guided filter (He, Sun and Tang 2013, "Guided image filtering"): a mask gets the edges of its photo.

Its coefficients are computed at the mask's resolution and applied at the photo's (He and Sun 2015, "Fast guided
filter"), so the time hardly depends on the photo.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 1  # pixels of the mask: those that an edge may be wrong by
EPS = 1e-4  # of lightness in [0, 1], squared: what varies less counts as flat
LUMA = (0.299, 0.587, 0.114)


def guided(mask: Tensor, photo: Tensor, radius: int = RADIUS, eps: float = EPS) -> Tensor:
    """``mask`` (1, 1, h, w) in [0, 1], at the size of ``photo`` (1, 3, H, W) in [0, 1] and with its edges: eqs. 5, 6
    and 8, with the lightness of the photo as the guide. Windows are cut at the borders.
    """
    lightness = (photo * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    guide = resized(lightness, mask.shape[2:])
    means = _means(torch.cat([guide, mask, guide * guide, guide * mask], 1), radius)
    mean, mean_mask, square, product = means.split(1, 1)
    slope = (product - mean * mean_mask) / (square - mean * mean + eps)
    both = _means(torch.cat([slope, mean_mask - slope * mean], 1), radius)
    slope, offset = F.interpolate(both, lightness.shape[2:], mode="bilinear", align_corners=False).split(1, 1)
    return (slope * lightness + offset).clamp(0, 1)


def resized(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """``image`` (b, c, h, w) at ``size``, height and width; a smaller one is averaged."""
    return F.interpolate(image, tuple(size), mode="bilinear", antialias=True, align_corners=False)


def _means(x: Tensor, radius: int) -> Tensor:
    """The means over windows of ``2 * radius + 1`` pixels."""
    side = 2 * radius + 1
    columns = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, radius), count_include_pad=False)
