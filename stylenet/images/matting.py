"""Smoothing by the matting Laplacian: a picture becomes one whose colours are, in every window of 3x3 pixels, nearly a
linear map of those of a photo.

The Laplacian is that of Levin, Lischinski and Weiss (2008, "A closed-form solution to natural image matting", eq. 12).
A pixel shares windows with its 24 neighbours only, so it is kept as one map of weights for each of them.
"""

import torch
from torch import Tensor

from stylenet.images.conjugate_gradients import solve
from stylenet.images.guided_filter import resized
from stylenet.images.local_linear import LocalLinear, working

ALPHA = 0.9999  # of eq. 9: how much smoothness counts, against the given picture
EPS = 1e-7  # of Levin et al.: the variance that counts as flat
TOLERANCE = 1e-2  # of the residual: pixels are off by a tenth of an 8-bit level on average, by two at worst
STEPS = 300  # at most, per size
COARSEST = 128  # longer side in pixels from which no smaller picture is solved first


def smoothed(photo: Tensor, target: Tensor, alpha: float = ALPHA, tolerance: float = TOLERANCE) -> Tensor:
    """``target`` with the structure of ``photo``, both (1, 3, h, w) in [0, 1], not clamped: (1 - alpha) (I - alpha
    S)^-1 Y (Li, Liu, Li, Yang and Kautz 2018, "A closed-form solution to photorealistic image stylization", eq. 9), for
    the matting Laplacian D - W. S is D^-1 W here. The paper's D^-1/2 W D^-1/2 is the same away from the borders, where
    D is 9 everywhere; at the borders it makes flat colours dark.

    The result of half the size, made likewise, is the first guess. Pictures with a side below 3 have no windows and are
    returned as they are.
    """
    height, width = photo.shape[2:]
    if min(height, width) < 3:
        return target
    start = target
    if max(height, width) > COARSEST and min(height, width) >= 8:
        half = (height // 2, width // 2)
        small, small_target = resized(photo, half), resized(target, half)
        start = LocalLinear(small, smoothed(small, small_target, alpha, tolerance), 1, 1e-5)(photo)
    affinity = Affinity(photo[0].to(working(photo)))
    windows = affinity.windows

    def times(x: Tensor) -> Tensor:  # all of it times D, which makes it symmetric
        return windows * x - alpha * affinity.times(x)

    right, first = (1 - alpha) * windows * target[0].to(windows), start[0].to(windows)
    diagonal = windows - alpha * affinity.diagonal
    return solve(times, right, first, diagonal, tolerance, STEPS)[None].to(target)


class Affinity:
    """The matrix W of the matting Laplacian D - W of a photo (3, h, w) with sides of 3 or more.

    ``windows``: the number of windows that hold each pixel (1, h, w), the diagonal D. ``diagonal``: that of W.
    """

    def __init__(self, photo: Tensor, eps: float = EPS):
        height, width = photo.shape[1:]
        places = [(down, across) for down in range(3) for across in range(3)]
        parts = _whitened(photo.double(), places, eps)
        self.weights: dict[tuple[int, int], Tensor] = {}
        self.windows = torch.zeros(1, height, width, device=photo.device)
        for number, first in enumerate(places):
            _at(self.windows, first, height, width).add_(1)
            for other in range(number, 9):
                apart = places[other][0] - first[0], places[other][1] - first[1]
                weight = (1 + (parts[number] * parts[other]).sum(0, keepdim=True)) / 9
                zeros = torch.zeros(1, height, width, device=photo.device)
                _at(self.weights.setdefault(apart, zeros), first, height, width).add_(weight)
        self.diagonal = self.weights.pop((0, 0))
        for (down, across), weight in self.weights.items():
            self.weights[down, across] = weight[_near(down, across, height, width)].clone()

    def times(self, picture: Tensor) -> Tensor:
        """The product with each channel of a picture (c, h, w)."""
        height, width = picture.shape[1:]
        made = self.diagonal * picture
        for (down, across), weight in self.weights.items():
            near, far = _near(down, across, height, width), _near(-down, -across, height, width)
            made[near].addcmul_(weight, picture[far])
            made[far].addcmul_(weight, picture[near])
        return made


def _whitened(photo: Tensor, places: list[tuple[int, int]], eps: float) -> list[Tensor]:
    """The pixel at each place of all windows (3, h - 2, w - 2), less their mean, multiplied by C^-1: C C' is their
    covariance with ``eps`` / 9 on its diagonal. In float32, which these numbers of about 1 can bear.
    """
    pixels = [_at(photo, place, *photo.shape[1:]) for place in places]
    mean = torch.stack(pixels).mean(0)
    apart = [pixel - mean for pixel in pixels]
    xx, xy, xz, yy, yz, zz = (
        torch.stack([one[first] * one[second] for one in apart]).mean(0) + (eps / 9 if first == second else 0)
        for first, second in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )
    a = xx.sqrt()
    b, c = xy / a, xz / a
    d = (yy - b * b).clamp(min=eps / 9).sqrt()
    e = (yz - b * c) / d
    f = (zz - c * c - e * e).clamp(min=eps / 9).sqrt()
    made = []
    for x, y, z in apart:
        x = x / a
        y = (y - b * x) / d
        made.append(torch.stack([x, y, (z - c * x - e * y) / f]).float())
    return made


def _at(x: Tensor, place: tuple[int, int], height: int, width: int) -> Tensor:
    """The pixels of (c, h, w) that are at ``place`` of a window."""
    down, across = place
    return x[:, down : height - 2 + down, across : width - 2 + across]


def _near(down: int, across: int, height: int, width: int) -> tuple[slice, slice, slice]:
    """The pixels of (c, h, w) that have one so far down and across."""
    return (
        slice(None),
        slice(max(0, -down), height - max(0, down)),
        slice(max(0, -across), width - max(0, across)),
    )
