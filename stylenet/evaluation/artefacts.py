"""Measures of visible faults in a stylized picture, whatever its style: grid, dots, weave, border ring, bands, flat
areas, range.

Knows pixels only: no networks, no features, no files.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = range(-12, 13)
BORDER = 8  # pixels
WIDTHS = (8, 16, 32)  # pixels, of bands
STRETCHES = 8  # segments of an edge, each compared separately
APART = 2  # pixel distance at which texture is measured; at larger distances the photo's content dominates
FAINT = 4 / 255  # contrasts below this are ignored: noise and JPEG cause as much
TILE, REACH, BLUR = 64, 24, 8  # pixels: tile side, largest lag and blur of the search for dots
BY_CHANCE = 0.1  # height of the highest peak in a tile of white noise
WINDOW = 32  # pixels
LEVEL = 1 / 255  # differences below this are invisible


def grid(image: Tensor) -> float:
    """Strength of a grid of period 2 or 4 px in ``(1, 3, h, w)``, range [0, 1]: about 1.2 for photos, visible from 10.

    Spectral power of the luminance at these periods divided by the median of the neighbouring frequencies; the larger
    value of both axes.
    """
    luminance = _luminance(image)
    h, w = (side // 4 * 4 for side in luminance.shape)
    return max(_lines(luminance[:h, :w]), _lines(luminance[:h, :w].T))


def _luminance(image: Tensor) -> Tensor:
    return (image[0] * torch.tensor([0.299, 0.587, 0.114], device=image.device).view(3, 1, 1)).sum(0)


def _lines(luminance: Tensor) -> float:
    n = luminance.shape[1]
    window = torch.hann_window(n, device=luminance.device)
    power = torch.fft.rfft((luminance - luminance.mean()) * window).abs().square().mean(0)
    ratios = []
    for k in (n // 2, n // 4):
        around = [k + i for i in NEIGHBOURS if abs(i) > 1 and 0 < k + i < len(power)]
        ratios.append(float(power[k] / power[around].median().clamp(min=1e-12)))
    return max(ratios)


def border(image: Tensor) -> float:
    """Contrast (standard deviation) of the outer 8 px of ``(1, 3, h, w)`` divided by that of the interior."""
    return float(_band(image, 0, BORDER).std(1).mean() / _band(image, BORDER).std(1).mean())


def border_ring(output: Tensor, photo: Tensor) -> float:
    """Difference between the outer 8 px of ``output`` and the next 8 px, relative to the same in ``photo``: 1 means no
    ring; values up to 1.1 also occur inside pictures.

    The larger of two values. Contrast: the ratio of standard deviations divided by the photo's ratio, or its inverse.
    Colour: 1 + the distance of the means in standard deviations, minus the photo's, averaged over the channels. So 1.3
    is a ring with 30 % more or less contrast, or one lighter or darker by 0.3 standard deviations.
    """
    (shift, ratio), (photo_shift, photo_ratio) = _step(output), _step(photo)
    contrast = float(ratio / photo_ratio)
    return max(contrast, 1 / contrast, 1 + float((shift - photo_shift).abs().mean()))


def _step(image: Tensor) -> tuple[Tensor, Tensor]:
    """Change of the mean ``(3,)`` and of the contrast, from the 8 px next to the border to the border."""
    ring, near = _band(image, 0, BORDER), _band(image, BORDER, 2 * BORDER)
    spread = near.std(1).clamp(min=LEVEL)
    return (ring.mean(1) - near.mean(1)) / spread, ring.std(1).mean().clamp(min=LEVEL) / spread.mean()


def _band(image: Tensor, start: int, stop: int | None = None) -> Tensor:
    """Pixels ``(3, n)`` at a distance from ``start`` up to, but excluding, ``stop`` from the border."""
    h, w = image.shape[-2:]
    y, x = torch.arange(h, device=image.device), torch.arange(w, device=image.device)
    distance = torch.minimum(torch.minimum(y, h - 1 - y)[:, None], torch.minimum(x, w - 1 - x))
    return image[0][:, (distance >= start) & (distance < (stop or h + w))]


def bands(output: Tensor, photo: Tensor) -> float:
    """Strength of a band along any single edge of ``output``, relative to ``photo``, both ``(1, 3, h, w)`` in [0, 1]: 1
    means no band, 1.1 to 1.4 is the mean over photos without a band, from 1.5 a band is visible.

    Bands of 8, 16 and 32 px (at most a quarter of the picture) are compared with an equally wide strip next to them, in
    eight segments of the edge. Colour: 1 + the change of the mean in standard deviations of the picture, minus the
    photo's, in the channel with the largest change. Texture: the contrast of pixels 2 px apart along the edge divided
    by that of the strip, divided by the photo's ratio, or its inverse. For each, the value counts that all segments but
    one reach in the same direction: a band covers the whole edge, the photo's content does not. The result is the
    largest value. So 1.3 is a band that differs in colour by 0.3 standard deviations, or has 30 % more or less fine
    texture.
    """
    widths = [width for width in WIDTHS if width <= min(output.shape[-2:]) // 4]
    worst = 1.0
    for width in widths:
        for (shifts, ratios), (photo_shifts, photo_ratios) in zip(
            _steps(output, width), _steps(photo, width), strict=True
        ):
            colour = 1 + float(_shared(shifts - photo_shifts).max())
            texture = float(_shared(ratios - photo_ratios).exp())
            worst = max(worst, colour, texture)
    return worst


def _steps(image: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each edge and segment, the change from the ``width`` px next to the band to the band: of the mean ``(8, 3)``,
    in standard deviations of the picture, and of the logarithm of the fine contrast ``(8,)``.
    """
    picture = image[0]
    spread = picture.flatten(1).std(1).clamp(min=LEVEL)
    for turned in (picture, picture.flip(1), picture.mT, picture.mT.flip(1)):
        length = turned.shape[2] // STRETCHES
        strip = turned[:, : 2 * width, : STRETCHES * length]
        means = strip.unfold(2, length, length).mean(3)  # (3, 2 width, 8): of lines along the edge
        shifts = (means[:, :width].mean(1) - means[:, width:].mean(1)) / spread[:, None]
        detail = (strip[..., APART:] - strip[..., :-APART]).square().unfold(2, length - APART, length).mean(3)
        band, near = (part.mean((0, 1)).sqrt().clamp(min=FAINT) for part in detail.split(width, dim=1))
        yield shifts.T, (band / near).log()


def _shared(changes: Tensor) -> Tensor:
    """The magnitude that all but one of ``(n, ...)`` reach in the same direction; 0 where they disagree."""
    ordered = changes.sort(dim=0).values
    return torch.maximum(ordered[1], -ordered[-2]).clamp(min=0)


def flat(image: Tensor, painting: Tensor) -> float:
    """Share of ``(1, 3, h, w)`` that is flat compared with the painting ``(1, 3, H, W)``, both in [0, 1] and at least
    32 px a side.

    Counts adjacent windows of 32 px with a contrast (standard deviation of the luminance) below a tenth of the median
    contrast of the painting's windows.
    """
    usual = _windows(_luminance(painting), WINDOW, WINDOW).flatten(1).std(1).median()
    contrasts = _windows(_luminance(image), WINDOW, WINDOW).flatten(1).std(1)
    return float((contrasts < usual / 10).float().mean())


def _windows(luminance: Tensor, side: int, step: int) -> Tensor:
    """``(h, w)`` -> ``(n, side, side)``, every ``step`` pixels."""
    return luminance.unfold(0, side, step).unfold(1, side, step).reshape(-1, side, side)


def out_of_range(image: Tensor) -> float:
    """Share of pixels of an unclamped ``(1, 3, h, w)`` with a channel outside [0, 1]; NaN counts as outside."""
    return 1 - float(((image >= 0) & (image <= 1)).all(dim=1).float().mean())


def saturated(image: Tensor) -> float:
    """Share of black or blown-out pixels of ``(1, 3, h, w)``: all channels below 2 % or all above 98 %."""
    black, blown = (image < 0.02).all(dim=1), (image > 0.98).all(dim=1)
    return float((black | blown).float().mean())


def dots(image: Tensor) -> float:
    """Share of the fine detail of ``(1, 3, h, w)`` that repeats at 2 to 24 px (dots, stripes, a weave), in the flattest
    quarter of the picture: 0 is none, 1 all. At least 128 px a side.

    The highest peak of the luminance's autocorrelation, averaged over tiles of 64 px: local repetition, as of strokes,
    averages out. A peak's height is measured from the lowest correlation (at least 0) on the line from lag 0 to it.
    """
    correlation = _autocorrelation(_flattest(image)).mean(0)
    return float(_heights(correlation).max().clamp(0, 1))


def weave(image: Tensor) -> float:
    """Share of the fine detail of ``(1, 3, h, w)`` that repeats at 2 to 24 px within a tile of 64 px, in the flattest
    quarter of the picture: 0 is none or white noise, 1 all. At least 128 px a side.

    As :func:`dots`, but averages the highest peak of each tile: a pattern counts even if its phase, direction and
    period vary across the picture. Photos and paintings have 0.03 to 0.12; a weave is visible from 0.3.
    """
    heights = torch.stack([_heights(correlation).max() for correlation in _autocorrelation(_flattest(image))])
    return float(((heights - BY_CHANCE) / (1 - BY_CHANCE)).clamp(0, 1).mean())


def _flattest(image: Tensor) -> Tensor:
    """The quarter of the luminance's tiles ``(n, 64, 64)`` with the lowest contrast."""
    luminance = _luminance(image.clamp(0, 1))
    side = min(TILE, *luminance.shape)
    tiles = _windows(luminance, side, side // 2)
    return tiles[tiles.flatten(1).std(1).argsort()[: math.ceil(len(tiles) / 4)]]


def _heights(correlation: Tensor) -> Tensor:
    """Height of each lag of ``(49, 49)`` above the lowest correlation (at least 0) on the line to it."""
    return correlation - _least_on_the_way(correlation).clamp(min=0)


def _autocorrelation(tiles: Tensor) -> Tensor:
    """Autocorrelation of the fine detail of ``(n, t, t)`` at lags of -24 to 24 px: ``(n, 49, 49)``, 1 at lag 0.

    Fine detail is the part that a Gaussian blur of 8 px removes; computed from the power spectrum (Wiener-Khinchin).
    """
    side = tiles.shape[1]
    taper = torch.hann_window(side, periodic=False, device=tiles.device)
    taper = (taper[:, None] * taper).sqrt()
    tapered = (tiles - tiles.mean((1, 2), keepdim=True)) * taper
    y, x = torch.fft.fftfreq(2 * side), torch.fft.rfftfreq(2 * side)
    fine = 1 - torch.exp(-2 * (torch.pi * BLUR) ** 2 * (y[:, None].square() + x.square()))
    weights = _lagged(taper[None], torch.ones_like(fine).to(tiles.device))
    products = _lagged(tapered, fine.to(tiles.device)) / weights.clamp(min=weights.max() / 50)
    return products / products[:, REACH, REACH].clamp(min=LEVEL**2).view(-1, 1, 1)


def _lagged(tiles: Tensor, gain: Tensor) -> Tensor:
    """Sums of products of pixels at lags of -24 to 24 px: ``(n, t, t)`` -> ``(n, 49, 49)``."""
    size = 2 * tiles.shape[1], 2 * tiles.shape[2]
    power = (torch.fft.rfft2(tiles, s=size) * gain).abs().square()
    lags = torch.fft.fftshift(torch.fft.irfft2(power, s=size), dim=(1, 2))
    y, x = size[0] // 2, size[1] // 2
    return lags[:, y - REACH : y + REACH + 1, x - REACH : x + REACH + 1]


def _least_on_the_way(correlation: Tensor) -> Tensor:
    """Lowest correlation on the straight line from lag 0 to each lag ``(49, 49)``; infinite for lags over 24 px."""
    lag = torch.arange(-REACH, REACH + 1, device=correlation.device) / REACH
    lags = torch.stack(torch.meshgrid(lag, lag, indexing="xy"), dim=-1)
    ways = torch.stack([lags * part / 20 for part in range(1, 20)])
    met = F.grid_sample(correlation.expand(len(ways), 1, -1, -1), ways, align_corners=True)[:, 0].amin(0)
    return met.masked_fill(lags.norm(dim=-1) > 1, torch.inf)
