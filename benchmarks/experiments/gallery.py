"""Make docs/gallery.md, every shipped style on four photos with its figures, and docs/styles.jpg, one photo in most.

    python -m benchmarks.experiments.gallery results=docs/results/gallery.json

The photos are the bundled validation photos, on which no style was trained. ``results`` is the output of
benchmarks/experiments/ruler.py; styles missing there get a picture without figures. Existing pictures are replaced only
with ``pictures=true``. A style in both a single and a shared file is shown once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

import stylenet
from benchmarks.experiments.trainings import answering, in_rows, options, read_json
from stylenet.data.photos import find_images
from stylenet.evaluation.metrics import PHOTOS
from stylenet.evaluation.report import table
from stylenet.images.image_io import fit, open_rgb
from stylenet.nets import checkpoint
from stylenet.nets.cost import multiply_adds
from stylenet.system.atomic import replacing

ROOT = Path(__file__).resolve().parents[2]
OPTIONS: dict[str, Any] = {
    "results": "docs/results/gallery.json",
    "docs": "docs",  # the folder for gallery.md and its pictures
    "pictures": False,  # true: replace existing pictures
}
SHIPPED = ROOT / "stylenet/assets/checkpoints"
SIDE, GAP, QUALITY = 768, 6, 84  # pixels of the longer side of a photo; between two; of the JPEG files
SHEET, ACROSS, SHEET_SIDE = "castle.jpg", 4, 440  # its photo, pictures in a row, pixels of their longer side
LEFT_OUT = "shipwreck_of_the_minotaur"  # of sixteen styles fifteen fit beside the photo
LITE = "_lite"
HEAD = """# Gallery

Every shipped style on the same four photos, {side} px on the longer side, made by

    python scripts/stylize.py ckpt=<name> input=photo.jpg size={side}

No style was trained on these photos. "Light" is the network with a tenth of the multiply-adds (`net=lite`).

Style and content are squared distances on the centre squares of {photos} photos of COCO at 512 px. Style: 0 is the
painting (at the best-matching size), 1 an untouched photo. Content: 0 is the photo, 1 another photo. Grid, weave and
dots are repeating patterns, as multiples of the photos' values. Bands are borders that differ from the interior; 1.0
means no difference beyond the photo's own.
`stylenet.evaluation.metrics` defines the measures. Figures by `benchmarks/experiments/ruler.py`, this page by

    {command}
"""


def main() -> None:
    chosen = options(OPTIONS)
    docs, results = Path(chosen["docs"]), Path(chosen["results"])
    found = read_json(results) if results.exists() else {}
    files = [file.stem for file in SHIPPED.glob("*.safetensors")]
    whole = [name for file in sorted(files) for name in styles(file) if ":" in name]
    known = {name.partition(":")[2] for name in whole}
    names = whole + [file for file in sorted(files) if file not in known and len(styles(file)) == 1]
    for name in names:
        if chosen["pictures"] or not (docs / "gallery" / drawn(name)).exists():
            picture(name, docs / "gallery" / drawn(name))
    if chosen["pictures"] or not (docs / "styles.jpg").exists():
        sheet([name for name in whole if not name.endswith(LEFT_OUT)], docs / "styles.jpg")
    with replacing(docs / "gallery.md") as temp:
        alone = [file for file in sorted(files) if file in known]
        temp.write_text(
            "\n".join(page(names, alone, found, f"python -m benchmarks.experiments.gallery results={results}"))
        )


def styles(name: str) -> list[str]:
    """What ``ckpt=`` calls the styles of a shipped file."""
    known = [style["name"] for style in checkpoint.load(name)[1]["styles"]]
    return [name] if len(known) == 1 else [f"{name}:{style}" for style in known]


def drawn(name: str) -> str:
    """The file of a style's pictures."""
    return f"{name.replace(':', '_')}.jpg"


def page(names: list[str], alone: list[str], found: Mapping[str, Any], command: str) -> Iterator[str]:
    """The lines of the gallery."""
    counts = {found[name]["photos"] for name in names if name in found}
    yield HEAD.format(side=SIDE, command=command, photos=" or ".join(map(str, sorted(counts))) or "no")
    heads = ["style", "network", "style distance", "content distance", "grid", "weave", "dots", "bands"]
    yield table(heads, [row(name, found.get(name) or found.get(name.partition(":")[2])) for name in names]) + "\n"
    if alone:
        yield f"Also as separate files, 3.4 MB each: {', '.join(f'`{name}`' for name in alone)}.\n"
    for name in names:
        info = checkpoint.load(name)[1]
        yield f"## {info['styles'][0].get('title') or name}{', light' if name.endswith(LITE) else ''}\n"
        yield f"`{name}`: {described(info)}\n\n![{name}](gallery/{drawn(name)})\n"


def row(name: str, told: Mapping[str, Any] | None) -> list[str]:
    """A style's line in the table."""
    net, _ = checkpoint.load(name)
    cost = f"{'light' if name.endswith(LITE) else 'Johnson'}, {multiply_adds(net) / 1e9:.2f} G"
    if told is None:
        return [f"`{name}`", cost, *[""] * 6]
    figures = [f"{told[kind]:.3f}" for kind in ("style", "content")]
    grid = told["grid"]["mean"] / told["grid_of_photos"]["mean"]
    patterns = [told[kind]["mean"] / told[f"{kind}_of_photos"]["mean"] for kind in ("weave", "dots")]
    return [f"`{name}`", cost, *figures, *(f"{value:.2f}" for value in (grid, *patterns, told["bands"]["mean"]))]


def described(info: Mapping[str, Any]) -> str:
    """How it was trained, in a line."""
    training = info["training"]
    start = f"from {training['init']}" if training.get("init") else "from scratch"
    crops = f"{training['batch']} crops of {training['data']['size']} px"
    return f"{training['steps']:,} steps of {crops}, {start}, {training['data']['photos']:,} photos."


def sheet(names: list[str], path: Path) -> None:
    """One photo, and the same in each style."""
    photo = fit(open_rgb(PHOTOS / SHEET), SHEET_SIDE)
    pictures = [photo, *(stylenet.load(name)(photo) for name in names)]
    in_rows(path, [pictures[i : i + ACROSS] for i in range(0, len(pictures), ACROSS)], QUALITY)


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
