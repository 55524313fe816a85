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
SMALL, LARGE = 512, 1024  # pixels of a photo's longer side
COLUMNS = (("astronaut",), ("red_panda", "harbour_at_dusk"))  # the photos of the small size
BELOW = "castle"  # of the large one; it has 768 px
GAP, QUALITY = 6, 84  # pixels between two pictures; of the JPEG files
SHEET, ACROSS, SHEET_SIDE = "castle.jpg", 4, 440  # its photo, pictures in a row, pixels of their longer side
LEFT_OUT = "shipwreck_of_the_minotaur"  # of sixteen styles fifteen fit beside the photo
LITE = "_lite"
HEAD = """# Gallery

Every shipped style on the same four photos, three at {small} px on the longer side and one at {large}, made by

    python scripts/stylize.py ckpt=<name> input=photo.jpg size={small}

Only the harbour was among the training photos. The large one was enlarged from 768 px.
"Light" is the network with a tenth of the multiply-adds (`net=lite`).

Style and content are squared distances on the centre squares of {photos} photos of COCO at 512 px. Style: 0 is the
painting (at the best-matching size), 1 an untouched photo. Content: 0 is the photo, 1 another photo. Grid, weave and
dots are repeating patterns, as multiples of the photos' values. Bands are borders that differ from the interior; 1.0
means no difference beyond the photo's own.
`stylenet.evaluation.metrics` defines the measures. Figures by `benchmarks/experiments/ruler.py`, this page by

    {command}
"""


THEIRS = """Four networks of the pytorch/examples kind, for comparison (gnsmrky/pytorch-fast-neural-style-for-web,
236,000 crops each), with the paintings they were trained on, which are other files than ours:

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
    yield HEAD.format(small=SMALL, large=LARGE, command=command, photos=" or ".join(map(str, sorted(counts))) or "no")
    heads = ["style", "network", "style distance", "content distance", "grid", "weave", "dots", "bands"]
    yield table(heads, [row(name, found.get(name) or found.get(name.partition(":")[2])) for name in names]) + "\n"
    if theirs := [name for name in found if name.endswith(".model")]:
        yield THEIRS + table(heads, [figures_of(name, "16-32-64, 2.77 G", found[name]) for name in theirs]) + "\n"
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
    return figures_of(name, cost, told)


def figures_of(name: str, cost: str, told: Mapping[str, Any] | None) -> list[str]:
    """A line of figures; empty cells where there are none."""
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
    """The four photos in a style, each as large as it was stylized."""
    stylize = stylenet.load(name)
    small = [[stylize(scaled(photo, SMALL)) for photo in column] for column in COLUMNS]
    large = stylize(scaled(BELOW, LARGE))
    heights = [sum(each.height for each in column) + GAP * (len(column) - 1) for column in small]
    canvas = Image.new("RGB", (2 * SMALL + GAP, max(heights) + GAP + large.height), "white")
    for across, (column, height) in enumerate(zip(small, heights, strict=True)):
        top = (max(heights) - height) // 2
        for each in column:
            canvas.paste(each, (across * (SMALL + GAP), top))
            top += each.height + GAP
    canvas.paste(large, (GAP // 2, max(heights) + GAP))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temp:
        canvas.save(temp, format="JPEG", quality=QUALITY, optimize=True)


def scaled(photo: str, side: int) -> Image.Image:
    """A bundled photo with ``side`` pixels on its longer side, enlarged if it has fewer."""
    picture = open_rgb(PHOTOS / f"{photo}.jpg")
    scale = side / max(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    answering(main)
