"""How strongly a picture repeats itself: dots in rows, a cloth, stripes in flat places.

A term of the loss that has gradients. Knows pixels only: no features, no styles, no files.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

TILE, REACH, BLUR = 64, 24, 8  # pixels: side of a tile, largest lag, blur that leaves the fine detail
LAGS = 2 * REACH + 1
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # of the luminance
FAINT = 2 / 255  # contrasts below this are invisible, and count less
SHARE = 0.9  # of a painting's tiles, which repeat less than a picture may
PART = 64  # tiles looked at in one go
STEPS = 16  # places on the way from lag 0 to a lag


def flatter(picture: Tensor) -> Tensor:
    """The numbers of the flatter half of the tiles of ``(b, 3, h, w)``: ``(b, n)``. At least 64 px a side."""
    contrasts = _tiles(picture).flatten(2).std(2)
    return contrasts.argsort(1)[:, : (contrasts.shape[1] + 1) // 2]


def repeats(picture: Tensor, chosen: Tensor | None = None) -> Tensor:
    """How much of the fine detail of ``(b, 3, h, w)`` in [0, 1] comes again at lags of up to 24 px: ``(b, 49, 49)``, 0
    is nothing, 1 all. At least 64 px a side.

    The autocorrelation of the luminance without what a Gaussian blur of 8 px leaves, each tile of 64 px divided by its
    own value at lag 0, averaged over the ``chosen`` tiles ``(b, n)`` (None: the flatter half). Of it, the height above
    the lowest correlation (at least 0) on the line from lag 0: a wide stroke is like itself nearby, a pattern is like
    itself again.
    """
    tiles, chosen = _tiles(picture), flatter(picture) if chosen is None else chosen
    return _heights(_correlations(torch.take_along_dim(tiles, chosen[:, :, None, None], 1)).mean(1))


def allowance(paintings: Tensor) -> Tensor:
    """What a picture may repeat in the style of each of ``(b, 3, h, w)`` in [0, 1], at least 64 px a side:
    ``(b, 49, 49)``.

    For each lag what a tenth of the painting's tiles exceed, each tile looked at as by :func:`repeats`. So strokes side
    by side, as a sky of The Scream has them in a few places, may be painted everywhere.
    """
    tiles = _tiles(paintings)
    heights = torch.cat([_heights(_correlations(part)) for part in tiles.flatten(0, 1).split(PART)])
    heights = heights.unflatten(0, tiles.shape[:2])
    return heights.kthvalue(max(1, round(tiles.shape[1] * SHARE)), 1).values


def repetition(found: Tensor, allowed: Tensor) -> Tensor:
    """Squares of what :func:`repeats` found above what is allowed, summed over the lags: two ``(b or 1, 49, 49)`` ->
    ``(b,)``. Stripes or dots all over have 200 and more, a photo with stripes of 8 levels in its flat places 3 to 60.
    """
    return (found - allowed).clamp(min=0).square().sum((1, 2))


def _tiles(picture: Tensor) -> Tensor:
    """The luminance's tiles, every 32 px: ``(b, n, 64, 64)``."""
    picture = picture.to(torch.promote_types(picture.dtype, torch.float32))
    luminance = RED * picture[:, 0] + GREEN * picture[:, 1] + BLUE * picture[:, 2]
    return luminance.unfold(1, TILE, TILE // 2).unfold(2, TILE, TILE // 2).flatten(1, 2)


def _correlations(tiles: Tensor) -> Tensor:
    """Autocorrelations of the fine detail of ``(..., 64, 64)``, 1 at lag 0: ``(..., 49, 49)`` (Wiener-Khinchin)."""
    known = _known(tiles)
    products = _lagged((tiles - tiles.mean((-2, -1), keepdim=True)) * known.taper, known.fine) * known.scale
    return products / (products[..., REACH, REACH].clamp(min=0) + FAINT**2)[..., None, None]


def _heights(correlations: Tensor) -> Tensor:
    """Of ``(n, 49, 49)``: the height above the lowest correlation, at least 0, on the line from lag 0."""
    known = _known(correlations)
    lowest = correlations.flatten(1).index_select(1, known.ways.flatten()).unflatten(1, known.ways.shape).amin(1)
    return (correlations - lowest.clamp(min=0).unflatten(1, (LAGS, LAGS))).clamp(min=0) * known.within


def _lagged(tiles: Tensor, gain: Tensor) -> Tensor:
    """Sums of products of pixels at lags of -24 to 24 px: ``(..., 64, 64)`` -> ``(..., 49, 49)``."""
    size = 2 * TILE, 2 * TILE
    found = torch.fft.rfft2(tiles, s=size) * gain
    lags = torch.fft.irfft2(found.real.square() + found.imag.square(), s=size)
    return torch.fft.fftshift(lags, dim=(-2, -1))[..., TILE - REACH : TILE + REACH + 1, TILE - REACH : TILE + REACH + 1]


class _Known(NamedTuple):
    """What is the same for all pictures."""

    taper: Tensor
    """What a tile is multiplied with, ``(64, 64)``."""
    fine: Tensor
    """What a blur takes away, by frequency, ``(128, 65)``."""
    scale: Tensor
    """1 / the taper's own sums of products, ``(49, 49)``."""
    ways: Tensor
    """The numbers of the lags next to the line from lag 0 to each lag, that lag included: ``(17, 49 * 49)``."""
    within: Tensor
    """Whether a lag is one of at most 24 px, ``(49, 49)``."""


def _known(like: Tensor) -> _Known:
    if torch.compiler.is_compiling():  # a compiler sees no caches
        return _made.__wrapped__(like.device, like.dtype)
    with torch.inference_mode(False):  # else what a validation makes is of no use to the training
        return _made(like.device, like.dtype)


@lru_cache(maxsize=8)
@torch.no_grad()
def _made(device: torch.device, dtype: torch.dtype) -> _Known:
    where = {"device": device, "dtype": dtype}
    taper = torch.hann_window(TILE, periodic=False, **where)
    taper = (taper[:, None] * taper).sqrt()
    y, x = torch.fft.fftfreq(2 * TILE, **where), torch.fft.rfftfreq(2 * TILE, **where)
    fine = 1 - torch.exp(-2 * (torch.pi * BLUR) ** 2 * (y[:, None].square() + x.square()))
    scale = 1 / _lagged(taper, torch.ones_like(fine))
    side = torch.arange(-REACH, REACH + 1, device=device)
    lags = torch.stack(torch.meshgrid(side, side, indexing="ij"))
    parts = torch.arange(STEPS + 1, **where) / STEPS
    ways = (parts.view(-1, 1, 1, 1) * lags).round().long() + REACH
    within = lags.square().sum(0) <= REACH**2
    return _Known(taper, fine, scale, (ways[:, 0] * LAGS + ways[:, 1]).flatten(1), within)
