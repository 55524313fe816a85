"""docs/gallery.md: every shipped style on the same four photos, its losses, and how many iterations a pass is worth.

    python benchmarks/gallery.py results=docs/results/shipped.json

The photos are the bundled ones for validation, which no style was trained on. ``results`` is what scripts/evaluate.py
wrote of the shipped styles; a style that is not in it gets a picture and no figures. Pictures that are there already
are made anew only with ``pictures=true``.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the package

import stylenet
from benchmarks.trainings import answering, options, read_json
from stylenet import checkpoint
from stylenet.evaluate import PHOTOS
from stylenet.files import replacing
from stylenet.nets.cost import multiply_adds
from stylenet.photos import find_images
from stylenet.report import iterations, table

ROOT = Path(__file__).resolve().parents[1]
OPTIONS: dict[str, Any] = {
    "results": "docs/results/shipped.json",
    "docs": "docs",  # the folder for gallery.md and its pictures
    "pictures": False,  # true: make them anew
}
SHIPPED = ROOT / "stylenet/assets/checkpoints"
SIDE, GAP, QUALITY = 768, 6, 84  # pixels of the longer side of a photo; between two; of the JPEG files
SIZES = ("256", "512", "1024")
LITE = "_lite"
HEAD = """# Gallery

Every shipped style on the same four photos, {side} px on the longer side, as

    python scripts/stylize.py ckpt=<name> input=photo.jpg size={side}

makes them. No style was trained on these photos. "Light" is the network with a tenth of the multiply-adds (`net=lite`).

Losses are the calibrated ones of training, medians over photos of COCO at 512 px: style 1.0 is an untouched photo, 0
the painting; content 1.0 is an unrelated photo, 0 the photo itself. A pass is worth as many iterations of Gatys' L-BFGS
as reach the same objective from the photo: the median (least to greatest); from noise in the last column, at 256 px.
How this was measured: [results.md](results.md). This page is made by

    {command}
"""


def main() -> None:
    chosen = options(OPTIONS)
    docs, results = Path(chosen["docs"]), Path(chosen["results"])
    nets = read_json(results)["nets"] if results.exists() else {}
    names = [name for file in sorted(SHIPPED.glob("*.safetensors")) for name in styles(file.stem)]
    for name in names:
        if chosen["pictures"] or not (docs / "gallery" / drawn(name)).exists():
            picture(name, docs / "gallery" / drawn(name))
    with replacing(docs / "gallery.md") as temp:
        temp.write_text("\n".join(page(names, nets, f"python benchmarks/gallery.py results={results}")))


def styles(name: str) -> list[str]:
    """What ``ckpt=`` calls the styles of a shipped file."""
    known = [style["name"] for style in checkpoint.load(name)[1]["styles"]]
    return [name] if len(known) == 1 else [f"{name}:{style}" for style in known]


def drawn(name: str) -> str:
    """The file of a style's pictures."""
    return f"{name.replace(':', '_')}.jpg"


def page(names: list[str], nets: Mapping[str, Any], command: str) -> Iterator[str]:
    """The lines of the gallery."""
    yield HEAD.format(side=SIDE, command=command)
    heads = ["style", "network", "file", "style loss", "content loss", *(f"worth at {s}" for s in SIZES), "noise, 256"]
    yield table(heads, [row(name, nets.get(name, {"sizes": {}})["sizes"]) for name in names]) + "\n"
    for name in names:
        info = checkpoint.load(name)[1]
        if not name.endswith(LITE):
            several = ", one of several in a file" if ":" in name else ""
            yield f"## {info['styles'][0]['title']}{several}\n"
        yield f"`{name}`: {described(info)}\n\n![{name}](gallery/{drawn(name)})\n"
        if why := tuned(name):
            yield f"The painting's longer side was {info['styles'][0]['size']} px in training: {why}.\n"


def row(name: str, sizes: Mapping[str, Any]) -> list[str]:
    """A style's line in the table."""
    net, _ = checkpoint.load(name)
    file = checkpoint.resolve(name).stat().st_size
    cost = f"{'light' if name.endswith(LITE) else 'Johnson'}, {multiply_adds(net) / 1e9:.2f} G"
    size = f"{file / 1e6:.1f} MB" if file > 1e6 else f"{file / 1e3:.0f} KB"
    known = (sizes.get("512") or sizes.get("256") or {}).get("summary", {})
    losses = [f"{known[f'objective_{kind}']:.3f}" if known else "" for kind in ("style", "content")]
    return [
        f"`{name}`",
        cost,
        size,
        *losses,
        *(worth(sizes, s, "content") for s in SIZES),
        worth(sizes, "256", "noise"),
    ]


def worth(sizes: Mapping[str, Any], size: str, start: str) -> str:
    found = sizes.get(size, {}).get("summary", {}).get("worth", {}).get(start)
    return iterations(found) if found else ""


def described(info: Mapping[str, Any]) -> str:
    """How it was trained, in a line."""
    training = info["training"]
    start = f"from {training['init']}" if training.get("init") else "from scratch"
    crops = f"{training['batch']} crops of {training['data']['size']} px"
    return f"{training['steps']:,} steps of {crops}, {start}, {training['data']['photos']:,} photos."


def tuned(name: str) -> str:
    """Why the style's painting has the size that its config gives it: the comment there."""
    config = ROOT / "configs/style" / f"{name}.yaml"
    lines = config.read_text().splitlines() if config.exists() else []
    comments = [line.partition("#")[2] for line in lines if line.strip().startswith("size:")]
    return comments[0].strip() if comments else ""


def picture(name: str, path: Path) -> None:
    """The four photos in a style, two by two, each as large as fits."""
    stylize = stylenet.load(name)
    made = []
    for file in find_images(PHOTOS, "data"):
        with Image.open(file) as photo:
            photo = photo.convert("RGB")
        scale = SIDE / max(photo.size)
        made.append(
            stylize(photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS))
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temp:
        beside(made).save(temp, format="JPEG", quality=QUALITY, optimize=True)


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in rows of two, those of a row equally high."""
    rows = []
    for pair in (pictures[i : i + 2] for i in range(0, len(pictures), 2)):
        height = min(p.height for p in pair)
        rows.append([p if p.height == height else p.resize((round(p.width * height / p.height), height)) for p in pair])
    width = max(sum(p.width for p in row) + GAP * (len(row) - 1) for row in rows)
    canvas = Image.new("RGB", (width, sum(row[0].height + GAP for row in rows) - GAP), "white")
    top = 0
    for row in rows:
        left = 0
        for p in row:
            canvas.paste(p, (left, top))
            left += p.width + GAP
        top += row[0].height + GAP
    return canvas


if __name__ == "__main__":
    answering(main)
