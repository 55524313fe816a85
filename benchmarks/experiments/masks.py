"""How well mask=person finds people, and the sheet of docs/controls.md about it.

    python -m benchmarks.experiments.masks out=docs/controls/person.jpg photos=/path/to/photos

Prints the intersection over union with polygons that were drawn by hand (people.json): each person that the photo is
about, with what they wear and hold. ``photos``: a folder with the photographs of COCO 2017 named there; those that are
not there, nor bundled, are left out, which is said.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import stylenet
from benchmarks.experiments import trainings
from stylenet.images import image_io
from stylenet.stylizing.controls import open_masks
from stylenet.stylizing.found_masks import settled
from stylenet.system.places import ASSETS

OPTIONS: dict[str, Any] = {
    "out": "person.jpg",  # the sheet
    "photos": None,  # folder of the photos that are not bundled
    "size": 300,  # longer side of the pictures on the sheet, in pixels
}
MARKED = Path(__file__).with_name("people.json")
SHOWN = ASSETS / "photos" / "val" / "astronaut.jpg"
STYLES = ["starry_night", "udnie"]


def main() -> None:
    chosen = trainings.options(OPTIONS)
    figures = []
    print("| photo | what | IoU |\n|---|---|---|")
    for name, marked in json.loads(MARKED.read_text()).items():
        path = _path(name, chosen["photos"])
        if path is None:
            print(f"| {name} | {marked['what']} | not there |")
            continue
        figures.append(overlap(image_io.open_rgb(path), marked["polygons"]))
        print(f"| {name} | {marked['what']} | {figures[-1]:.2f} |")
    print(f"| mean of {len(figures)} | | {np.mean(figures):.2f} |")
    trainings.in_rows(Path(chosen["out"]), [sheet(image_io.fit(image_io.open_rgb(SHOWN), chosen["size"]))])


def overlap(photo: Image.Image, polygons: list[list[float]]) -> float:
    """Intersection over union of the mask that is found in a photo and the ``polygons``, each x, y, x, y, ..."""
    drawn = Image.new("L", photo.size)
    for polygon in polygons:
        ImageDraw.Draw(drawn).polygon(polygon, fill=255)
    found = np.asarray(person(photo).resize(photo.size, Image.Resampling.BICUBIC)) > 127
    marked = np.asarray(drawn) > 127
    return float((found & marked).sum() / (found | marked).sum())


def person(photo: Image.Image) -> Image.Image:
    """The mask of mask=person."""
    masks, _ = settled(open_masks(["person"]), np.asarray(photo))
    return masks[0]


def sheet(photo: Image.Image) -> list[Image.Image]:
    """The photo, its mask, the style on the person, around the person, and one style for each."""
    made = [stylenet.load(STYLES[0], mask=word)(photo) for word in ("person", "background")]
    both = stylenet.load(STYLES, mask=["background", "person"])(photo)
    return [photo, person(photo).convert("RGB").resize(photo.size), *made, both]


def _path(name: str, folder: str | None) -> Path | None:
    bundled = [ASSETS / "photos" / part / f"{name}.jpg" for part in ("train", "val")]
    places = [*bundled, Path(folder).expanduser() / f"{name}.jpg"] if folder else bundled
    return next((path for path in places if path.is_file()), None)


if __name__ == "__main__":
    trainings.answering(main)
