"""The guided filter with a colour guide (He, Sun and Tang 2013, "Guided image filtering", section 3.5): around each
pixel, one picture as a linear map of the colours of another.

The maps are found at a low resolution and applied at any other (He and Sun 2015, "Fast guided filter"): the result has
the edges of the full picture, at the cost of a small one. :mod:`stylenet.images.guided_filter` has a grey guide.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ENOUGH = 16  # radius at which a window has enough pixels: of a larger one, some are taken


class LocalLinear:
    """``target`` as a linear map of the colours of ``guide`` in each window, eqs. 14 to 16; both (1, 3, h, w).

    ``radius``: of the windows, in pixels; they are cut at the borders. ``eps``: the variance of the guide, in [0, 1]
    squared, below which a window counts as flat, so that its target is averaged. Large windows are looked at in every
    second pixel, every third and so on.
    """

    def __init__(self, guide: Tensor, target: Tensor, radius: int, eps: float):
        place, step = working(guide), max(1, radius // ENOUGH)
        guide, target = (
            image[0, :, step // 2 :: step, step // 2 :: step].to(place, torch.float64) for image in (guide, target)
        )
        radius = round(radius / step)
        count = boxes(torch.ones_like(guide[:1]), radius)
        mean, mean_target = boxes(guide, radius) / count, boxes(target, radius) / count
        inverse = inverted(covariances(guide, lambda x: boxes(x, radius) / count, mean), eps)
        slope = slopes(inverse, [boxes(guide * one, radius) / count for one in target], mean, mean_target)
        offset = mean_target - (slope * mean).sum(1)
        maps = torch.cat([slope.flatten(0, 1), offset])
        self.maps = (boxes(maps, radius) / count).float()  # (12, h, w): 9 slopes, then 3 offsets

    def __call__(self, photo: Tensor, top: int = 0, height: int | None = None) -> Tensor:
        """The map of ``photo`` (1, 3, rows, W): the guide's picture in any size, or some of its rows.

        ``top``, ``height``: the first of these rows, and the height of the whole picture. The result is not clamped.
        """
        rows, width = photo.shape[2:]
        maps = _rows(self.maps, top, rows, height or rows)
        maps = F.interpolate(maps[None], (rows, width), mode="bilinear", align_corners=False)[0].to(photo)
        slope, offset = maps[:9].unflatten(0, (3, 3)), maps[9:]
        return ((slope * photo).sum(1) + offset)[None]


def working(image: Tensor) -> torch.device:
    """The device for sums in float64: the picture's, unless it is one without them."""
    return image.device if image.device.type == "cuda" else torch.device("cpu")


def boxes(x: Tensor, radius: int) -> Tensor:
    """The sums (c, h, w) over windows of ``2 * radius + 1`` pixels, cut at the borders, in a time that does not depend
    on the radius.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        sums = F.pad(x.cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0))
        places = torch.arange(size, device=x.device)
        x = sums.index_select(axis, (places + radius + 1).clamp(max=size))
        x = x - sums.index_select(axis, (places - radius).clamp(min=0))
    return x


def covariances(guide: Tensor, means, mean: Tensor) -> Tensor:
    """Of the colours (3, h, w) in each window, given what takes the means over windows: the entries xx, xy, xz, yy, yz
    and zz (6, ...).
    """
    first, second = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
    return means(guide[first] * guide[second]) - mean[first] * mean[second]


def inverted(covariance: Tensor, eps: float) -> Tensor:
    """The inverses (3, 3, ...) of symmetric matrices, given as six entries, with ``eps`` added to the diagonal."""
    xx, xy, xz, yy, yz, zz = covariance
    xx, yy, zz = xx + eps, yy + eps, zz + eps
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    cofactors = torch.stack([torch.stack([a, b, c]), torch.stack([b, d, e]), torch.stack([c, e, f])])
    return cofactors / (xx * a + xy * b + xz * c)


def slopes(inverse: Tensor, products: list[Tensor], mean: Tensor, mean_target: Tensor) -> Tensor:
    """The linear maps (target channels, 3, h, w) of the windows, eq. 14. ``products``: for each channel of the target,
    the means of its products with the guide's (3, h, w).
    """
    shared = [product - mean * one for product, one in zip(products, mean_target, strict=True)]
    return torch.stack([(inverse * one).sum(1) for one in shared])


def _rows(maps: Tensor, top: int, rows: int, height: int) -> Tensor:
    """Rows of ``maps`` (c, h, w) resized to ``height`` by bilinear interpolation, but for their width."""
    most = maps.shape[1] - 1
    places = (torch.arange(top, top + rows, device=maps.device) + 0.5) * maps.shape[1] / height - 0.5
    places = places.clamp(0, most)
    low = places.floor().long()
    part = (places - low)[:, None]
    return maps[:, low].lerp(maps[:, (low + 1).clamp(max=most)], part.to(maps))
