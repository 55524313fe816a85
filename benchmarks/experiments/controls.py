"""Make the sheets of docs/controls.md: the effect of each control of scripts/stylize.py on photos.

    python -m benchmarks.experiments.controls out=docs/controls match=scream_match.safetensors

``match``: the style for the sheet of style.color=match, made by this command; without it that sheet is unchanged:

    python scripts/train.py style=the_scream style.the_scream.image=the_scream.jpg style.color=match init=the_scream \\
      steps=500 data=folder data.root=/path/to/photos data.size=160 name=scream_match
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import stylenet
from benchmarks.experiments import trainings
from stylenet import load
from stylenet.evaluation.metrics import PHOTOS
from stylenet.images import image_io

OPTIONS: dict[str, Any] = {
    "out": "controls",  # folder for the sheets
    "photos": ["castle", "astronaut"],  # of the bundled ones, one a row
    "size": 384,  # their longer side in pixels
    "match": "",  # a style that was trained with style.color=match
}
# Of each sheet, the style and the options of load() of each column.
SHEETS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "strength": ("starry_night", [{"strength": value} for value in (0.25, 0.5, 0.75, 1.0)]),
    "color": ("the_scream", [{"color": value} for value in ("style", "luminance", "histogram")]),
    "stroke": ("udnie", [{"stroke": value} for value in (0.5, 1.0, 2.0, 3.0)]),
}


def main() -> None:
    chosen = trainings.options(OPTIONS)
    out = Path(chosen["out"])
    out.mkdir(parents=True, exist_ok=True)
    photos = [image_io.fit(image_io.open_rgb(PHOTOS / f"{name}.jpg"), chosen["size"]) for name in chosen["photos"]]
    for name, (style, columns) in SHEETS.items():
        stylizers = [load(style, **options) for options in columns]
        trainings.in_rows(
            out / f"{name}.jpg", [[photo, *(stylize(photo) for stylize in stylizers)] for photo in photos]
        )
    if chosen["match"]:
        styles = [load("the_scream"), load(chosen["match"])]
        trainings.in_rows(out / "match.jpg", [[photo, *(style(photo) for style in styles)] for photo in photos])
    style, large = load("udnie"), [image_io.open_rgb(PHOTOS / f"{name}.jpg") for name in chosen["photos"]]
    sizes = [round(chosen["size"] * part) for part in (0.5, 0.75, 1)]
    trainings.in_rows(
        out / "size.jpg",
        [[image_io.fit(one, sizes[-1]), *(style(image_io.fit(one, n)) for n in sizes)] for one in large],
    )
    trainings.in_rows(out / "mask.jpg", [masks(photo) for photo in photos])
    trainings.in_rows(out / "areas.jpg", [areas(photo) for photo in photos])


def masks(photo: Image.Image) -> list[Image.Image]:
    """The photo, two masks that meet in a soft slope, and two styles in them."""
    left, right = slopes(photo)
    made = stylenet.load(["starry_night", "udnie"], mask=[left, right])(photo)
    return [photo, left.convert("RGB"), right.convert("RGB"), made]


def areas(photo: Image.Image) -> list[Image.Image]:
    """The photo, and two styles of one network in two masks: blended as pictures, and painted in one pass."""
    options: Any = {"ckpt": "gallery", "mix": ["great_wave", "udnie"], "mask": slopes(photo)}
    return [photo, *(stylenet.load(**options, backend=backend)(photo) for backend in ("openvino", "torch"))]


def slopes(photo: Image.Image) -> list[Image.Image]:
    """Two masks that meet in a soft slope."""
    slope = np.clip(np.linspace(-1, 2, photo.width), 0, 1)
    left = Image.fromarray(np.tile(np.rint(255 * (1 - slope)).astype(np.uint8), (photo.height, 1)))
    return [left, left.point(lambda level: 255 - level)]


if __name__ == "__main__":
    trainings.answering(main)
