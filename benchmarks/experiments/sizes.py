"""One painting on one photo at several sizes: how large its strokes are beside what the photo shows.

    python -m benchmarks.experiments.sizes photo=large.jpg ckpt=starry_night sizes=[512,768,1024,2048] out=sizes.jpg

For each size the photo is scaled down to it and stylized. The page shows a part of each picture at full size, all parts
around the same place of the photo, and the whole picture above it.
"""

from pathlib import Path
from typing import Any

from PIL import Image

import stylenet
from benchmarks.experiments.trainings import answering, options
from stylenet.images.contact_sheet import ContactSheet
from stylenet.images.image_io import fit, open_rgb
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "photo": None,  # larger than the largest size
    "ckpts": ["starry_night"],
    "sizes": [512, 768, 1024, 2048],  # longer side in pixels
    "part": [460, 260],  # width and height in pixels of what is shown at full size
    "centre": [0.5, 0.5],  # of that part, from the left and from the top
    "out": "sizes.jpg",
    "quality": 88,
}
GAP = 6  # pixels


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["photo"]:
        raise UserError("photo= is missing: give a photo larger than the largest of sizes=.")
    photo = open_rgb(chosen["photo"])
    if min(fit(photo, min(chosen["sizes"])).size) < chosen["part"][1]:
        raise UserError(f"part={chosen['part']}: it is larger than the photo at {min(chosen['sizes'])} px.")
    if max(photo.size) < max(chosen["sizes"]):
        raise UserError(
            f"photo={chosen['photo']}: its longer side is {max(photo.size)} px, less than the largest of sizes=."
        )
    ckpts, sizes, (width, height) = chosen["ckpts"], chosen["sizes"], chosen["part"]
    tall = round(width * photo.height / photo.width) + GAP + height
    page = ContactSheet([width] * len(sizes), [tall] * len(ckpts), gap=2 * GAP, margin=2 * GAP, text=20)
    for row, ckpt in enumerate(ckpts):
        net = stylenet.load(ckpt)
        for column, size in enumerate(sizes):
            picture = shown(net(fit(photo, size)), chosen["part"], chosen["centre"])
            page.place(row, column, picture, [f"{size} px", ckpt])
            print(ckpt, size, flush=True)
    page.page.save(Path(chosen["out"]), quality=chosen["quality"], optimize=True)


def shown(picture: Image.Image, part: list[int], centre: list[float]) -> Image.Image:
    """The whole picture, as wide as the part, above a part of it at full size."""
    width, height = part
    whole = picture.resize((width, round(width * picture.height / picture.width)), Image.Resampling.LANCZOS)
    left, top = (
        min(max(0, round(at * side - length / 2)), side - length)
        for at, side, length in zip(centre, picture.size, part, strict=True)
    )
    page = Image.new("RGB", (width, whole.height + GAP + height), "white")
    page.paste(whole, (0, 0))
    page.paste(picture.crop((left, top, left + width, top + height)), (0, whole.height + GAP))
    return page


if __name__ == "__main__":
    answering(main)
