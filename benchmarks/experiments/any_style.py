"""Measure networks for any style on paintings that they have never seen, and show their pictures.

    python -m benchmarks.experiments.any_style ckpts=[any] photos=/path/to/photos paintings=/path/to/unseen.txt
    python -m benchmarks.experiments.any_style ckpts=[any,gallery,starry_night] photos=... paintings=[starry_night.jpg]
    python -m benchmarks.experiments.any_style ckpts=[any] paintings=[a.jpg,b.jpg] shown=[photo.jpg] page=docs/any.jpg

The first measures each painting on the same photos with ``stylenet.evaluation.metrics`` and saves the figures to
``out`` after each painting; existing ones are kept. The second lays networks with styles of their own beside: of a file
with several, the style of the painting's name; also the size of the file and the seconds of a pass at 512 px with the
fastest backend. The third makes a page: the paintings in the first row, then a row
for each photo and network.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import nn

import stylenet
from benchmarks.experiments.trainings import answering, options, read_json, write_json
from stylenet.data.paintings import open_painting
from stylenet.data.photos import find_images
from stylenet.evaluation.candidates import InStyle
from stylenet.evaluation.metrics import STYLE_SIZES, KnownPhotos, evaluate, squares
from stylenet.images.contact_sheet import ContactSheet
from stylenet.images.image_io import fit, open_rgb
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "ckpts": ["any"],
    "paintings": None,  # a folder, a .txt file with one path a line, or a list of files
    "photos": None,  # a folder: measure
    "count": 8,  # photos at most
    "size": 384,  # side of their squares, in pixels
    "out": "docs/results/any_style.json",
    "shown": [],  # photos: make a page
    "page": "any.jpg",
    "side": 300,  # of its pictures, in pixels
    "painted": 640,  # longer side in pixels at which they are painted
}
ARTEFACTS = ("grid", "weave", "dots", "flat")


def main() -> None:
    chosen = options(OPTIONS)
    given = chosen["paintings"]
    if not given or not (chosen["photos"] or chosen["shown"]):
        raise UserError("paintings= and photos= are missing: give what the networks have never seen.")
    paintings = [Path(one) for one in given] if isinstance(given, list) else find_images(given, "paintings")
    if chosen["photos"]:
        measure(chosen, paintings)
    if chosen["shown"]:
        draw(chosen, paintings)


def measure(chosen: dict[str, Any], paintings: list[Path]) -> None:
    """The figures of each network and painting, and their means."""
    photos = squares(chosen["photos"], chosen["size"], chosen["count"])
    known, out = KnownPhotos(), Path(chosen["out"])
    found: dict[str, Any] = read_json(out) if out.exists() else {}
    for ckpt in chosen["ckpts"]:
        of_net = found.setdefault(Path(ckpt).stem, {})
        figures = of_net.setdefault("paintings", {})
        for painting in paintings:
            net = None if painting.stem in figures else in_style(ckpt, painting)
            if net is not None:
                with torch.inference_mode():
                    picture = open_painting(painting, max(STYLE_SIZES))
                    figures[painting.stem] = evaluate(net, photos, picture, known=known)
                of_net["mean"] = mean(figures)
                write_json(out, found)
        if "seconds_at_512" not in of_net:
            of_net["megabytes"] = round(checkpoint.resolve(ckpt).stat().st_size / 1e6, 1)
            of_net["seconds_at_512"] = round(seconds(ckpt, paintings[0]), 2)
            write_json(out, found)
        print(Path(ckpt).stem, len(figures), "paintings:", found[Path(ckpt).stem]["mean"], flush=True)


def in_style(ckpt: str, painting: Path) -> nn.Module | None:
    """The network in the style of a painting: any style, or its own of that name; None if it has none."""
    net, info = checkpoint.load(ckpt)
    if net.any_style:
        return InStyle(net, painting)
    names = [style.get("name") for style in info["styles"]]
    if painting.stem not in names:
        return None
    return net if net.n_styles == 1 else checkpoint.single_style(net, info, painting.stem)[0]


def seconds(ckpt: str, painting: Path) -> float:
    """Seconds of a pass over a picture of 512x512, the median of five; the look at the painting does not count."""
    any_style = checkpoint.load(ckpt)[0].any_style
    style, photo = stylenet.load(ckpt, style=painting if any_style else None), torch.rand(1, 3, 512, 512)
    style(photo)
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        style(photo)
        taken.append(time.perf_counter() - begin)
    return median(taken)


def mean(figures: dict[str, Any]) -> dict[str, float]:
    """The means over the paintings."""
    every = [*figures.values()]
    told = {name: sum(one[name] for one in every) / len(every) for name in ("style", "content")}
    told |= {name: sum(one[name]["mean"] for one in every) / len(every) for name in ARTEFACTS}
    return {name: round(value, 3) for name, value in told.items()}


def draw(chosen: dict[str, Any], paintings: list[Path]) -> None:
    """The page."""
    side, rows = chosen["side"], [(photo, ckpt) for photo in chosen["shown"] for ckpt in chosen["ckpts"]]
    page = ContactSheet([side] * (len(paintings) + 1), [side] * (len(rows) + 1), gap=8, margin=8, text=0)
    for column, painting in enumerate(paintings, 1):
        page.place(0, column, square(open_rgb(painting), side), [])
    for row, (photo, ckpt) in enumerate(rows, 1):
        picture = fit(open_rgb(photo), chosen["painted"])
        page.place(row, 0, square(picture, side), [])
        net = stylenet.load(ckpt)
        for column, painting in enumerate(paintings, 1):
            page.place(row, column, square(net(picture, style=painting), side), [])
            print(Path(ckpt).stem, Path(photo).stem, painting.stem, flush=True)
    page.page.save(Path(chosen["page"]), quality=88, optimize=True)


def square(picture: Image.Image, side: int) -> Image.Image:
    """The middle of a picture."""
    least = min(picture.size)
    left, top = (picture.width - least) // 2, (picture.height - least) // 2
    box = left, top, left + least, top + least
    return picture.resize((side, side), Image.Resampling.LANCZOS, box=box)


if __name__ == "__main__":
    answering(main)
