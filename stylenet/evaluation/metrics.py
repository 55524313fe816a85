"""Quality of a style network on held-out photos: style and content distance, similarity, artefacts.

The measures of one photo are a record of plain data. Summaries are computed from per-photo records, so an interrupted
evaluation can resume. Knows networks, VGG and photos; nothing about training runs.
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
STYLE_SIZES = (256, 384, 512, 768, 1024)  # longer side of the painting; the best match counts
SMALLEST = 32  # pixels a side
PHOTOS = ASSETS / "photos" / "val"
SIMILARITIES = ("ssim", "lpips", "cfsd")
ARTEFACTS = (  # keys of a record
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


# --- photos and painting


def squares(data: str | None, size: int, count: int) -> list[Tensor]:
    """Centre squares ``(1, 3, size, size)`` of ``count`` photos, evenly spaced in a folder (None: the bundled photos).
    Raises UserError for a size below 32, fewer than two photos or an empty folder.
    """
    return [square for _, square in named_squares(data, size, count)]


def named_squares(data: str | None, size: int, count: int) -> Iterator[tuple[str, Tensor]]:
    """As :func:`squares`, one at a time, each with the photo's name in the folder."""
    for name, value, least in (("sizes", size, SMALLEST), ("photos", count, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name}={value}: give whole numbers of {least} or more.")
    root = Path(data or PHOTOS)
    photos = find_images(root, "data")
    count = min(count, len(photos))
    for photo in (photos[i * len(photos) // count] for i in range(count)):
        yield relative_name(photo, data_root(root)), to_tensor(centre_square(open_photo(photo, size), size))


def painting_file(info: dict[str, Any], given: str | None) -> Path:
    """The path of the painting: ``given`` (a file, or a folder with the painting that the style file names), else the
    bundled painting of that name. Raises UserError if there is none.
    """
    styles = info.get("styles") or [{}]
    image = styles[0].get("image")
    if given and Path(given).is_dir():
        if not image or not (Path(given) / image).is_file():
            wanted = f"has no {image}" if image else "is a folder, but this style file does not name its painting"
            raise UserError(f"painting={given} {wanted}: use the picture itself.")
        return Path(given) / image
    chosen = given or image
    if not chosen:
        raise UserError("This style file does not name its painting. Use painting=painting.jpg.")
    try:
        return find_painting(chosen)
    except UserError as error:
        if given:
            raise UserError(str(error).replace("style image ", "painting=", 1)) from error
        raise UserError(
            f"{image}, the painting of this style, is not bundled: "
            f"use painting=/path/to/{image}, or a folder that contains it."
        ) from error


def painting_of(info: dict[str, Any], given: str | None) -> Image.Image:
    """The picture of :func:`painting_file`."""
    return open_painting(painting_file(info, given), max(STYLE_SIZES))


# --- one photo


class StyleMetrics(nn.Module):
    """``style_metrics(output, photo, other) -> record``: distances of ``output`` from the painting and from its photo,
    each ``(1, 3, h, w)`` in [0, 1]. ``other``: an unrelated photo of the same size, for scale. ``painting``: the
    painting ``(1, 3, h, w)`` at its original size. ``known``: what VGG sees of the photos, shared by the metrics of
    several styles on the same photos; None: it is computed for each output.
    """

    painting: Tensor

    def __init__(self, painting: Image.Image, known: "KnownPhotos | None" = None):
        super().__init__()
        self.vgg = known.vgg if known else VGG({*STYLE_LAYERS, CONTENT_LAYER})
        self.known = known
        self.register_buffer("painting", to_tensor(painting), persistent=False)
        self.targets = {size: self._grams(to_tensor(fit(painting, size))) for size in _sizes(painting)}

    @torch.no_grad()
    def forward(self, output: Tensor, photo: Tensor, other: Tensor) -> Record:
        """Squared differences: "kept", output to photo at relu3_3; "unrelated", photo to ``other``; "before" and
        "after", Grams of photo and output to the painting's, by painting size and layer.
        """
        stylized = self.vgg(output)
        if self.known:
            (grams, content), (_, unrelated) = self.known.of(photo), self.known.of(other)
        else:
            grams, content = seen(self.vgg, photo)
            unrelated = self.vgg(other, [CONTENT_LAYER])[CONTENT_LAYER]
        return {
            "kept": short(content_distance(stylized[CONTENT_LAYER], content)),
            "unrelated": short(content_distance(content, unrelated)),
            "before": self._to_painting(grams),
            "after": self._to_painting(style_grams(stylized)),
        }

    def _to_painting(self, grams: dict[str, Tensor]) -> dict[str, dict[str, float]]:
        return {
            str(size): {layer: short(style_distance(grams[layer], target[layer])) for layer in STYLE_LAYERS}
            for size, target in self.targets.items()
        }

    @torch.no_grad()
    def _grams(self, image: Tensor) -> dict[str, Tensor]:
        features = self.vgg(image)
        return {layer: gram(features[layer]) for layer in STYLE_LAYERS}


class KnownPhotos:
    """What VGG sees of photos ``(1, 3, h, w)``, kept by picture: measuring the next style on them takes a third of the
    passes. 18 MB for each photo of 512 px.
    """

    def __init__(self) -> None:
        self.vgg = VGG({*STYLE_LAYERS, CONTENT_LAYER})
        self._seen: dict[int, tuple[Tensor, dict[str, Tensor], Tensor]] = {}

    @torch.no_grad()
    def of(self, photo: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Its Gram matrices by layer, on the CPU, and its features at relu3_3."""
        if id(photo) not in self._seen:
            self._seen[id(photo)] = (photo, *seen(self.vgg, photo))  # kept with the photo: no other gets its id
        return self._seen[id(photo)][1:]


def seen(vgg: VGG, photo: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What :class:`StyleMetrics` compares of a picture: its Gram matrices and its features at relu3_3."""
    features = vgg(photo)
    return style_grams(features), features[CONTENT_LAYER]


def style_grams(features: dict[str, Tensor]) -> dict[str, Tensor]:
    return {layer: gram(features[layer]).cpu() for layer in STYLE_LAYERS}


def _sizes(painting: Image.Image) -> list[int]:
    """The sizes that need no enlargement; the painting's own if it is smaller than all."""
    return [size for size in STYLE_SIZES if size <= max(painting.size)] or [max(painting.size)]


def short(number: float | Tensor) -> float:
    """Round to six digits."""
    return float(f"{float(number):.6g}")


@torch.no_grad()
def measure(
    output: Tensor, photo: Tensor, other: Tensor, style_metrics: StyleMetrics, similarity: Similarity | None = None
) -> Record:
    """All measures of one ``output`` of ``photo``, ``(1, 3, h, w)``, as plain data. All but the share of pixels out of
    range are taken after clamping to [0, 1].
    """
    picture, painting = output.clamp(0, 1), style_metrics.painting
    figures = {
        **(similarity(picture, photo) if similarity else {}),
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
    return style_metrics(picture, photo, other) | {name: short(value) for name, value in figures.items()}


# --- several photos


@torch.no_grad()
def evaluate(
    net: nn.Module,
    photos: Sequence[Tensor],
    painting: Image.Image,
    similarity: Similarity | None = None,
    known: KnownPhotos | None = None,
) -> dict[str, Any]:
    """Figures for a single-style ``net`` on two or more ``photos`` ``(1, 3, h, w)`` of one size, in [0, 1]: see
    :func:`summary`. ``known``: for several calls with the same photos. Raises UserError for fewer than two photos.
    """
    if len(photos) < 2:
        raise UserError(f"{len(photos)} photo to measure on: use data= with a folder of two or more.")
    style_metrics = StyleMetrics(painting, known)
    others = [*photos[1:], photos[0]]
    records = [
        measure(net(photo), photo, other, style_metrics, similarity)
        for photo, other in zip(photos, others, strict=True)
    ]
    return {"photos": len(photos), "size": photos[0].shape[-1], **summary(records)}


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Summary of the records of several photos.

    "style": squared difference of the Grams of output and painting, divided by that of photo and painting, averaged
    over the layers, with the painting at the best-matching size of ``STYLE_SIZES``; 1 is an untouched photo. "content":
    mean squared difference of output and photo at relu3_3, divided by that of two different photos; 1 is an unrelated
    photo. Mean and worst of each artefact (:mod:`stylenet.evaluation.artefacts`) present in all records; means of
    SSIM, LPIPS and CFSD.
    """
    artefacts_ = [name for name in ARTEFACTS if all(name in record for record in records)]
    means = {name: round(_mean(records, name), 4) for name in SIMILARITIES if name in records[0]}
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
