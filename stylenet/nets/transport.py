"""Features with the mean and the covariance of other features, in whole pictures or region by region.

Knows tensors alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SINGULAR = 1e-5  # share of the largest eigenvalue below which a direction counts as constant
FEWEST = 8  # places of a region that are enough for statistics of its own


def moved(content: Tensor, style: Tensor, labels: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Features ``content (1, c, h, w)`` with mean and covariance of ``style (1, c, h', w')``, in the dtype of content.

    ``labels``: whole numbers of regions, of pictures of any size. Each region is moved by itself to the region of the
    same number; to the whole style where that has fewer than FEWEST places. Regions of the content with fewer places
    are moved with the whole content's map.
    """
    places, theirs = content[0].flatten(1).float(), style[0].flatten(1).float()
    if labels is None:
        return _Map(places, theirs)(places).to(content.dtype).view_as(content)
    mine = _shrunk(labels[0], content.shape[-2:])
    others = _shrunk(labels[1], style.shape[-2:])
    result = torch.empty_like(places)
    for number in mine.unique().tolist():
        here, there = mine == number, others == number
        target = theirs[:, there] if int(there.sum()) >= FEWEST else theirs
        source = places[:, here] if int(here.sum()) >= FEWEST else places
        result[:, here] = _Map(source, target)(places[:, here])
    return result.to(content.dtype).view_as(content)


class _Map:
    """The affine map that takes features with the statistics of ``source (c, n)`` to those of ``target (c, m)``.

    Of all such maps it is the one that moves them least: optimal transport between two normal distributions, ``T =
    S^-1/2 (S^1/2 A S^1/2)^1/2 S^-1/2`` with covariances S of the source and A of the target (Lu et al. 2019, "A
    closed-form solution to universal style transfer", eq. 8). Whitening and colouring, ``A^1/2 S^-1/2``, reaches the
    same statistics and turns the features more. Directions in which the source does not vary get no variation: a
    division by almost 0 would paint noise.
    """

    def __init__(self, source: Tensor, target: Tensor):
        self.mean, covariance = _statistics(source)
        self.other_mean, other = _statistics(target)
        values, vectors = torch.linalg.eigh(covariance)
        varies = values > SINGULAR * values[-1].clamp_min(torch.finfo(values.dtype).tiny)
        values, vectors = values[varies], vectors[:, varies]
        root = values.sqrt()
        middle = root[:, None] * (vectors.mT @ other @ vectors) * root  # in the source's own axes
        inner, axes = torch.linalg.eigh(middle)
        inner = (axes * inner.clamp_min(0).sqrt()) @ axes.mT
        self.matrix = (vectors @ (inner / root[:, None] / root) @ vectors.mT).to(source.dtype)

    def __call__(self, places: Tensor) -> Tensor:
        return self.matrix @ (places - self.mean) + self.other_mean


def _statistics(places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(c, 1)`` and, in float64, covariance ``(c, c)`` of ``(c, n)``."""
    mean = places.mean(1, keepdim=True)
    centred = places - mean
    return mean, (centred @ centred.mT).double() / places.shape[1]


def _shrunk(labels: Tensor, size: torch.Size) -> Tensor:
    """The labels ``(h, w)`` at the size of features, ``(h * w)``."""
    small = F.interpolate(labels[None, None].double(), list(size[-2:]), mode="nearest-exact")
    return small[0, 0].flatten().long()
