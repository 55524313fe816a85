"""How good a style's network is, in numbers, on photos it never saw: style and content distance, the grid, the border.

Knows networks, VGG and photos; nothing about training runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.crops import centre_square
from stylenet.errors import UserError
from stylenet.images import fit, to_tensor
from stylenet.losses import content_distance, gram, style_distance
from stylenet.paintings import open_painting
from stylenet.photos import find_images, open_photo
from stylenet.vgg import VGG

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYER = "relu3_3"
STYLE_SIZES = (256, 384, 512, 768)  # longer side of the painting: the one that fits best counts
NEIGHBOURS = range(-12, 13)
BORDER = 8  # pixels
SMALLEST = 32  # pixels a side
PHOTOS = Path(__file__).parent / "assets" / "photos" / "val"


def squares(data: str | None, size: int, count: int) -> list[Tensor]:
    """The centre squares ``(1, 3, size, size)`` of ``count`` photos of a folder (None: the bundled ones), spread evenly
    over it. Raises UserError for a size below 32, fewer than two photos or a folder without any.
    """
    for name, value, least in (("sizes", size, SMALLEST), ("photos", count, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name}={value}: give whole numbers of {least} or more.")
    photos = find_images(data or PHOTOS, "data")
    count = min(count, len(photos))
    chosen = [photos[i * len(photos) // count] for i in range(count)]
    return [to_tensor(centre_square(open_photo(photo, size), size)) for photo in chosen]


def painting_of(info: dict[str, Any], given: str | None) -> Image.Image:
    """The painting ``given``, else the bundled one that a style file names. Raises UserError where there is none."""
    styles = info.get("styles") or [{}]
    image = given or styles[0].get("image")
    if not image:
        raise UserError("This style file does not name its painting. Give the picture: painting=painting.jpg")
    return open_painting(image, max(STYLE_SIZES))


@torch.no_grad()
def evaluate(net: nn.Module, photos: Sequence[Tensor], painting: Image.Image) -> dict[str, Any]:
    """Figures for a single-style ``net`` on two or more ``photos`` ``(1, 3, h, w)`` of one size, in [0, 1], averaged
    over them.

    "style": squared difference of the Grams of output and ``painting``, over the same for the photos, averaged over the
    layers, the painting at the size of ``STYLE_SIZES`` that gives the least; 1 is an untouched photo. "content": mean
    squared difference at relu3_3 to the photo, over that between two different photos; 1 is an unrelated photo. "grid":
    see :func:`grid`. "border": contrast of the outer 8 px to that of the inside, over the same in the photo; 1 is no
    ring. Raises UserError for fewer than two photos.
    """
    if len(photos) < 2:
        raise UserError(f"{len(photos)} photo to measure on: give a folder with two or more, data=...")
    outputs = [net(photo) for photo in photos]
    rings = [border(output) / border(photo) for output, photo in zip(outputs, photos, strict=True)]
    return {
        "photos": len(photos),
        "size": photos[0].shape[-1],
        **_distances(VGG({*STYLE_LAYERS, CONTENT_LAYER}), photos, outputs, painting),
        "grid": _mean_and_worst([grid(output) for output in outputs]),
        "grid_of_photos": _mean_and_worst([grid(photo) for photo in photos]),
        "border": _mean_and_worst(rings),
    }


def _mean_and_worst(values: list[float]) -> dict[str, float]:
    return {"mean": round(sum(values) / len(values), 3), "worst": round(max(values), 3)}


def _distances(vgg: VGG, photos: Sequence[Tensor], outputs: list[Tensor], painting: Image.Image) -> dict[str, Any]:
    """One photo at a time: the features of a photo take a gigabyte at 1024 px, its Grams a megabyte."""
    before, after = [], []
    kept = unrelated = 0.0
    last = vgg(photos[-1], [CONTENT_LAYER])[CONTENT_LAYER]
    for photo, output in zip(photos, outputs, strict=True):
        features, stylized = vgg(photo), vgg(output)
        kept += float(content_distance(stylized[CONTENT_LAYER], features[CONTENT_LAYER]))
        unrelated += float(content_distance(features[CONTENT_LAYER], last))
        last = features[CONTENT_LAYER]
        before.append(_grams(features))
        after.append(_grams(stylized))
    targets = {size: _grams(vgg(to_tensor(fit(painting, size)))) for size in _sizes(painting)}
    by_size = {size: _style(before, after, target) for size, target in targets.items()}
    size = min(by_size, key=lambda size: sum(by_size[size].values()))
    return {
        "style": round(sum(by_size[size].values()) / len(STYLE_LAYERS), 4),
        "style_by_layer": {layer: round(value, 4) for layer, value in by_size[size].items()},
        "style_size": size,
        "content": round(kept / unrelated, 4),
    }


def _sizes(painting: Image.Image) -> list[int]:
    """The sizes that the painting has without being enlarged; its own if it is smaller than all."""
    return [size for size in STYLE_SIZES if size <= max(painting.size)] or [max(painting.size)]


Grams = dict[str, Tensor]


def _grams(features: dict[str, Tensor]) -> Grams:
    return {layer: gram(features[layer]) for layer in STYLE_LAYERS}


def _style(before: list[Grams], after: list[Grams], target: Grams) -> dict[str, float]:
    def total(grams: list[Grams], layer: str) -> float:
        return sum(float(style_distance(g[layer], target[layer])) for g in grams)

    return {layer: total(after, layer) / total(before, layer) for layer in STYLE_LAYERS}


def grid(image: Tensor) -> float:
    """How much a grid of period 2 or 4 px stands out of ``(1, 3, h, w)`` in [0, 1]: about 1.2 for photos, 10 and more
    is seen.

    The power of the luminance's spectrum at these periods over the median of the neighbouring frequencies, the worst of
    both axes.
    """
    luminance = (image[0] * torch.tensor([0.299, 0.587, 0.114], device=image.device).view(3, 1, 1)).sum(0)
    h, w = (side // 4 * 4 for side in luminance.shape)
    return max(_lines(luminance[:h, :w]), _lines(luminance[:h, :w].T))


def _lines(luminance: Tensor) -> float:
    n = luminance.shape[1]
    window = torch.hann_window(n, device=luminance.device)
    power = torch.fft.rfft((luminance - luminance.mean()) * window).abs().square().mean(0)
    ratios = []
    for k in (n // 2, n // 4):
        around = [k + i for i in NEIGHBOURS if abs(i) > 1 and 0 < k + i < len(power)]
        ratios.append(float(power[k] / power[around].median()))
    return max(ratios)


def border(image: Tensor) -> float:
    """The contrast (standard deviation) of the outer 8 px of ``(1, 3, h, w)`` over that of the inside."""
    inside = torch.zeros(image.shape[-2:], dtype=torch.bool, device=image.device)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return float(image[0][:, ~inside].std(dim=1).mean() / image[0][:, inside].std(dim=1).mean())
