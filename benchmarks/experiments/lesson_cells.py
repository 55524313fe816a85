"""The cells of the lesson's pictures: optimised ones, kept as files, and matrices as pictures; pages of them.

For lesson.py. Knows nothing about what the pictures show.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.experiments.trainings import read_json, write_json
from stylenet.images.contact_sheet import ContactSheet
from stylenet.images.image_io import open_rgb, to_pil
from stylenet.system.atomic import replacing

GAP, TEXT, SHOWN = 8, 13, 144  # pixels between cells, of a caption, and of a cell that is not optimised

Chosen = Mapping[str, Any]
"""The options of the command: here ``out``, ``work``, ``side`` and ``patience``."""
Cell = tuple[Image.Image, Sequence[str]]
"""A picture and its caption, up to two lines."""
Rows = Sequence[Sequence[Cell]]


def page(rows: Rows) -> Image.Image:
    """Cells in rows and columns, each with a caption of up to two lines."""
    widths = [max(row[k][0].width for row in rows if k < len(row)) for k in range(max(map(len, rows)))]
    heights = [max(cell[0].height for cell in row) for row in rows]
    sheet = ContactSheet(widths, heights, gap=GAP, margin=GAP, text=TEXT)
    for row, cells in enumerate(rows):
        for column, (picture, caption) in enumerate(cells):
            sheet.place(row, column, picture, caption)
    return sheet.page


def scaled(chosen: Chosen, steps: int) -> int:
    return round(steps * chosen["patience"])


def cell(chosen: Chosen, name: str, steps: int, make: Callable[[int, Any], Tensor]) -> Image.Image:
    """The picture that ``make(steps, seen)`` optimises, from ``work`` if it was made before with the same settings."""
    steps = scaled(chosen, steps)
    file = Path(chosen["work"]) / f"{name}.png"
    settings = {"steps": steps, "side": chosen["side"]}
    readings = file.with_suffix(".json")
    if file.exists() and readings.exists() and (was := read_json(readings))["settings"] == settings:
        note(chosen, name, was)
        return open_rgb(file)
    last: dict[str, float] = {}

    def seen(step: int, terms: Mapping[str, Tensor], image: Tensor) -> None:
        last.update({key: float(f"{float(value):.3g}") for key, value in terms.items()})
        if step % 50 == 0 or step == steps:
            print(f"{name}: {step} of {steps}, objective {sum(last.values()):.4g}", file=sys.stderr, flush=True)

    picture = to_pil(make(steps, seen))
    with replacing(file) as temp:
        picture.save(temp, "PNG")
    write_json(readings, {"settings": settings, "terms": last})
    note(chosen, name, read_json(readings))
    return picture


def note(chosen: Chosen, name: str, made: Mapping[str, Any]) -> None:
    """Keep how a cell was made beside the pictures."""
    path = Path(chosen["out"]) / "readings.json"
    known = read_json(path) if path.exists() else {}
    if known.get(name) != made:
        write_json(path, dict(sorted({**known, name: dict(made)}.items())))


def grey(one: Tensor, how: Image.Resampling = Image.Resampling.NEAREST) -> Image.Image:
    """A feature map in [0, 1] as a picture: white where it is largest, and its square root elsewhere."""
    return to_pil(one.clamp(0, 1).sqrt().expand(3, -1, -1)).resize((SHOWN, SHOWN), how)


def colored(matrix: Tensor, side: int = 192) -> Image.Image:
    """A matrix as a picture: from black over orange to white, the square root of its share of the largest number."""
    share = (matrix / matrix.max()).clamp(min=0).sqrt()
    levels = to_pil(share.expand(3, -1, -1)).convert("L")
    picture = ImageOps.colorize(levels, (0, 0, 0), (255, 255, 255), (225, 110, 30))
    return picture.resize((side, side), Image.Resampling.NEAREST)
