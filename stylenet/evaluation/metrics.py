"""How good a style's network is, in numbers, on photos it never saw: style and content distance, likeness, artefacts.

What is measured on one photo is a record of plain data; what is told of several is made of their records alone, so that
a stopped evaluation goes on. Knows networks, VGG and photos; nothing about training runs.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.data.crops import centre_square
from stylenet.data.paintings import find_painting, open_painting
from stylenet.data.photos import data_root, find_images, open_photo, relative_name
from stylenet.evaluation import artefacts
from stylenet.evaluation.similarity import Similarity
from stylenet.images.image_io import fit, to_tensor
from stylenet.losses.perceptual import content_distance, gram, style_distance
from stylenet.losses.vgg import VGG
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYER = "relu3_3"
STYLE_SIZES = (256, 384, 512, 768, 1024)  # longer side of the painting: the one that fits best counts
SMALLEST = 32  # pixels a side
PHOTOS = ASSETS / "photos" / "val"
LIKENESS = ("ssim", "lpips", "cfsd")
ARTEFACTS = (  # of a record
    "grid",
    "grid_of_photos",
    "border",
    "bands",
    "dots",
    "dots_of_photos",
    "weave",
    "weave_of_photos",
    "flat",
    "flat_of_photos",
    "out_of_range",
    "saturated",
    "saturated_of_photos",
)

Record = dict[str, Any]


# --- what is looked at


def squares(data: str | None, size: int, count: int) -> list[Tensor]:
    """The centre squares ``(1, 3, size, size)`` of ``count`` photos of a folder (None: the bundled ones), spread evenly
    over it. Raises UserError for a size below 32, fewer than two photos or a folder without any.
    """
    return [square for _, square in named_squares(data, size, count)]


def named_squares(data: str | None, size: int, count: int) -> Iterator[tuple[str, Tensor]]:
    """The same one by one, each with its photo's name in the folder."""
    for name, value, least in (("sizes", size, SMALLEST), ("photos", count, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name}={value}: give whole numbers of {least} or more.")
    root = Path(data or PHOTOS)
    photos = find_images(root, "data")
    count = min(count, len(photos))
    for photo in (photos[i * len(photos) // count] for i in range(count)):
        yield relative_name(photo, data_root(root)), to_tensor(centre_square(open_photo(photo, size), size))


def painting_file(info: dict[str, Any], given: str | None) -> Path:
    """The painting ``given`` (a file, or a folder that has the one a style file names), else the bundled one that it
    names. Raises UserError where there is none.
    """
    styles = info.get("styles") or [{}]
    image = styles[0].get("image")
    if given and Path(given).is_dir():
        if not image or not (Path(given) / image).is_file():
            wanted = f"has no {image}" if image else "is a folder, but this style file does not name its painting"
            raise UserError(f"painting={given} {wanted}: give the picture itself.")
        return Path(given) / image
    chosen = given or image
    if not chosen:
        raise UserError("This style file does not name its painting. Give the picture: painting=painting.jpg")
    try:
        return find_painting(chosen)
    except UserError as error:
        if given:
            raise UserError(str(error).replace("style image ", "painting=", 1)) from error
        raise UserError(
            f"{image}, the painting that this style was trained on, is not bundled: "
            f"give painting=/path/to/{image}, or a folder that has it."
        ) from error


def painting_of(info: dict[str, Any], given: str | None) -> Image.Image:
    """The painting itself; see :func:`painting_file`."""
    return open_painting(painting_file(info, given), max(STYLE_SIZES))


# --- one photo


class Ruler(nn.Module):
    """``ruler(output, photo, other) -> record``: how far ``output`` is from the painting and from its photo, each
    ``(1, 3, h, w)`` in [0, 1]; ``other`` is another photo of that size, the measure of what is unrelated. ``painting``:
    the painting itself ``(1, 3, h, w)``, at the size that was given.
    """

    painting: Tensor

    def __init__(self, painting: Image.Image):
        super().__init__()
        self.vgg = VGG({*STYLE_LAYERS, CONTENT_LAYER})
        self.register_buffer("painting", to_tensor(painting), persistent=False)
        self.targets = {size: self._grams(to_tensor(fit(painting, size))) for size in _sizes(painting)}

    @torch.no_grad()
    def forward(self, output: Tensor, photo: Tensor, other: Tensor) -> Record:
        """What is "kept" of the photo and what "unrelated" photos have: squared differences at relu3_3; those of the
        Grams to the painting's "before" and "after", by the painting's size and layer.
        """
        stylized, features = self.vgg(output), self.vgg(photo)
        unrelated = self.vgg(other, [CONTENT_LAYER])[CONTENT_LAYER]
        return {
            "kept": short(content_distance(stylized[CONTENT_LAYER], features[CONTENT_LAYER])),
            "unrelated": short(content_distance(features[CONTENT_LAYER], unrelated)),
            "before": self._to_painting(features),
            "after": self._to_painting(stylized),
        }

    def _to_painting(self, features: dict[str, Tensor]) -> dict[str, dict[str, float]]:
        grams = {layer: gram(features[layer]).cpu() for layer in STYLE_LAYERS}
        return {
            str(size): {layer: short(style_distance(grams[layer], target[layer])) for layer in STYLE_LAYERS}
            for size, target in self.targets.items()
        }

    @torch.no_grad()
    def _grams(self, image: Tensor) -> dict[str, Tensor]:
        features = self.vgg(image)
        return {layer: gram(features[layer]) for layer in STYLE_LAYERS}


def _sizes(painting: Image.Image) -> list[int]:
    """The sizes that the painting has without being enlarged; its own if it is smaller than all."""
    return [size for size in STYLE_SIZES if size <= max(painting.size)] or [max(painting.size)]


def short(number: float | Tensor) -> float:
    """To six digits."""
    return float(f"{float(number):.6g}")


@torch.no_grad()
def measured(output: Tensor, photo: Tensor, other: Tensor, ruler: Ruler, likeness: Similarity | None = None) -> Record:
    """All measures of one ``output`` of ``photo``, ``(1, 3, h, w)``, as plain data; but for the share of pixels out of
    range they are those of the picture that would be written, in [0, 1].
    """
    picture, painting = output.clamp(0, 1), ruler.painting
    figures = {
        **(likeness(picture, photo) if likeness else {}),
        "grid": artefacts.grid(picture),
        "grid_of_photos": artefacts.grid(photo),
        "border": artefacts.border_ring(picture, photo),
        "bands": artefacts.bands(picture, photo),
        "dots": artefacts.dots(picture),
        "dots_of_photos": artefacts.dots(photo),
        "weave": artefacts.weave(picture),
        "weave_of_photos": artefacts.weave(photo),
        "flat": artefacts.flat(picture, painting),
        "flat_of_photos": artefacts.flat(photo, painting),
        "out_of_range": artefacts.out_of_range(output),
        "saturated": artefacts.saturated(picture),
        "saturated_of_photos": artefacts.saturated(photo),
    }
    return ruler(picture, photo, other) | {name: short(value) for name, value in figures.items()}


# --- several photos


@torch.no_grad()
def evaluate(
    net: nn.Module, photos: Sequence[Tensor], painting: Image.Image, likeness: Similarity | None = None
) -> dict[str, Any]:
    """Figures for a single-style ``net`` on two or more ``photos`` ``(1, 3, h, w)`` of one size, in [0, 1]: see
    :func:`summary`. Raises UserError for fewer than two photos.
    """
    if len(photos) < 2:
        raise UserError(f"{len(photos)} photo to measure on: give a folder with two or more, data=...")
    ruler = Ruler(painting)
    around = [*photos[1:], photos[0]]
    records = [measured(net(photo), photo, other, ruler, likeness) for photo, other in zip(photos, around, strict=True)]
    return {"photos": len(photos), "size": photos[0].shape[-1], **summary(records)}


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """What the records of several photos come to.

    "style": squared difference of the Grams of output and painting, over the same for the photos, averaged over the
    layers, the painting at the size of ``STYLE_SIZES`` that gives the least; 1 is an untouched photo. "content": mean
    squared difference at relu3_3 to the photo, over that between two different photos; 1 is an unrelated photo. Of the
    artefacts (:mod:`stylenet.evaluation.artefacts`) that all records have the mean and the worst, of SSIM, LPIPS and
    CFSD the means.
    """
    artefacts_ = [name for name in ARTEFACTS if all(name in record for record in records)]
    means = {name: round(_mean(records, name), 4) for name in LIKENESS if name in records[0]}
    return {
        **_distances(records),
        **means,
        **{name: _mean_and_worst([record[name] for record in records]) for name in artefacts_},
    }


def _mean(records: Sequence[Record], name: str) -> float:
    return sum(record[name] for record in records) / len(records)


def _mean_and_worst(values: list[float]) -> dict[str, float]:
    return {"mean": round(sum(values) / len(values), 3), "worst": round(max(values), 3)}


def _distances(records: Sequence[Record]) -> dict[str, Any]:
    by_size = {size: _by_layer(records, size) for size in records[0]["before"]}
    size = min(by_size, key=lambda size: sum(by_size[size].values()))
    return {
        "style": round(sum(by_size[size].values()) / len(STYLE_LAYERS), 4),
        "style_by_layer": {layer: round(value, 4) for layer, value in by_size[size].items()},
        "style_size": int(size),
        "content": round(_mean(records, "kept") / _mean(records, "unrelated"), 4),
    }


def _by_layer(records: Sequence[Record], size: str) -> dict[str, float]:
    def total(when: str, layer: str) -> float:
        return sum(record[when][size][layer] for record in records)

    return {layer: total("after", layer) / total("before", layer) for layer in STYLE_LAYERS}
