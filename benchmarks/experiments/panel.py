"""Networks side by side on the same photos, for visual comparison: one picture per style.

    python -m benchmarks.experiments.panel ckpts=[gallery,deep/base.safetensors,theirs.model] \
        styles=[starry_night,udnie] photos=/path/to/photos out=panel

One row per photo: the photo, then the output of each checkpoint. A checkpoint with several styles uses the style of the
picture; one with a single style, including third-party ones, appears in every picture.
"""

from pathlib import Path
from typing import Any

from PIL import Image

import stylenet
from benchmarks.experiments.trainings import answering, in_rows, options
from stylenet.data.photos import find_images
from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import fit, open_rgb
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "ckpts": [],
    "styles": [],
    "photos": str(PHOTOS),  # a folder
    "count": 6,  # photos: the first ones
    "size": 768,  # pixels of a photo's longer side
    "out": "panel",  # folder
    "quality": 90,  # of the JPEG files
}


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["ckpts"] or not chosen["styles"]:
        raise UserError("ckpts= and styles= are needed: ckpts=[gallery,mine.safetensors] styles=[starry_night]")
    files = find_images(Path(chosen["photos"]))[: chosen["count"]]
    photos = [fit(open_rgb(file), chosen["size"]) for file in files]
    out = Path(chosen["out"])
    out.mkdir(parents=True, exist_ok=True)
    for style in chosen["styles"]:
        columns = [photos, *(painted(ckpt, style, photos) for ckpt in chosen["ckpts"])]
        in_rows(out / f"{style}.jpg", [*zip(*columns, strict=True)], chosen["quality"])
        print(out / f"{style}.jpg", flush=True)


def painted(ckpt: str, style: str, photos: list[Image.Image]) -> list[Image.Image]:
    several = len(checkpoint.load(ckpt)[1]["styles"]) > 1
    net = stylenet.load(f"{ckpt}:{style}" if several else ckpt)
    return [net(photo) for photo in photos]


if __name__ == "__main__":
    answering(main)
