"""Make the sheets of docs/gatys.md: the effect of each choice in Gatys' method.

    python -m benchmarks.experiments.gatys_effects sheets=[ratio,starts] out=docs/gatys

``out`` gets one sheet per name, by default all, and gatys_effects.json with the scores of the pictures. Existing
``pictures`` are kept. scripts/optimize.py gives the same results with the same options.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.experiments.trainings import answering, device, options, read_json, write_json, write_results
from stylenet.data.paintings import BUNDLED, open_painting
from stylenet.images import image_io
from stylenet.optimizing.gatys import STYLE_LAYERS, paint
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError
from stylenet.system.memory import keep_freed_memory

OPTIONS: dict[str, Any] = {
    "sheets": None,  # names of SHEETS; null: all
    "out": "gatys_effects",  # folder for the sheets
    "pictures": "gatys_pictures",  # folder for each picture by itself
    "size": 256,  # longer side in pixels
    "steps": 60,  # iterations
}
GAP, LABEL, COLUMNS = 6, 22, 3  # pixels between pictures, for a line of text; pictures in a row, but for four
PHOTOS = BUNDLED.parent / "photos"

Choice = Mapping[str, Any]
Sheet = Mapping[str, Choice]


def _sheet(photo: str, painting: str, choices: Mapping[str, Choice]) -> dict[str, Choice]:
    return {label: {"photo": photo, "painting": painting, **choice} for label, choice in choices.items()}


def _ratio(value: float) -> Choice:
    return {"scale": "gatys", "content_weight": value, "style_weight": 1.0}


SHEETS: dict[str, Sheet] = {
    "ratio": _sheet(
        "val/castle", "starry_night", {f"alpha / beta = {x:.0e}": _ratio(x) for x in (1e-2, 1e-3, 1e-4, 1e-5)}
    ),
    "starts": _sheet(
        "val/castle",
        "great_wave",
        {
            "init=content": {},
            "init=style": {"init": "style"},
            "init=noise": {"init": "noise"},
        },
    ),
    "content_layer": _sheet(
        "val/red_panda",
        "street_in_auvers",
        {f"content_layers={layer}": {"content_layers": layer, "steps": 40} for layer in ("relu2_2", "relu4_2")},
    ),
    "style_layers": _sheet(
        "train/lake",
        "starry_night",
        {"relu1_1" + f" to relu{n}_1" * (n > 1): {"style_layers": STYLE_LAYERS[:n], "steps": 20} for n in range(1, 6)},
    ),
    "photos": _sheet("train/temple_roof", "train/gate_at_night", {"temple, lit like the gate": {"steps": 40}}),
}


def main() -> None:
    keep_freed_memory()
    chosen = options(OPTIONS)
    names = chosen["sheets"] or list(SHEETS)
    if unknown := [name for name in names if name not in SHEETS]:
        raise UserError(f"sheets: there is no {unknown[0]}. There are: {', '.join(SHEETS)}.")
    figures = {}
    for name in names:
        made = {label: picture(chosen, name, label, choice) for label, choice in SHEETS[name].items()}
        figures[name] = {label: readings for label, (_, readings) in made.items()}
        draw(Path(chosen["out"]) / f"{name}.jpg", name, chosen["size"], {x: image for x, (image, _) in made.items()})
    write_results(Path(chosen["out"]) / "gatys_effects.json", chosen, sheets=figures)


def source(name: str, size: int) -> Image.Image:
    """A bundled photo as train/cat, or a bundled painting by its name."""
    return open_painting(PHOTOS / f"{name}.jpg" if "/" in name else f"{name}.jpg", size)


def picture(chosen: Mapping[str, Any], sheet: str, label: str, choice: Choice) -> tuple[Image.Image, dict[str, float]]:
    """The picture of a choice and what it scores, as painted before or now."""
    settings = {"size": chosen["size"], "steps": chosen["steps"], **choice}
    file = Path(chosen["pictures"]) / f"{sheet}_{list(SHEETS[sheet]).index(label)}.png"
    said = file.with_suffix(".json")
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    if file.exists() and said.exists() and (was := read_json(said))["settings"] == plain:
        return image_io.open_rgb(file), was["readings"]
    print(f"{sheet}: {label}", file=sys.stderr, flush=True)
    last: dict[str, float] = {}

    def seen(step: int, readings: Mapping[str, float], image: Any) -> None:
        last.update(readings)
        if step % 10 == 0:
            print(step, f"{readings['loss']:.4g}", end=" ", file=sys.stderr, flush=True)

    rest = {key: value for key, value in settings.items() if key not in ("photo", "painting")}
    content = image_io.read(source(settings["photo"], settings["size"]))
    paintings = [source(settings["painting"], settings["size"])]
    image = image_io.to_pil(paint(content, paintings, style_size=settings["size"], device=device(), seen=seen, **rest))
    with replacing(file) as temp:
        image.save(temp)
    readings = {name: float(f"{value:.4g}") for name, value in last.items()}
    write_json(said, {"settings": plain, "readings": readings})
    return image, readings


def draw(path: Path, name: str, size: int, made: Mapping[str, Image.Image]) -> None:
    """The photo, the painting and what was made of them, each under its label; for several photos a row for each."""
    cells: list[tuple[str, Image.Image]] = []
    for label, image in made.items():
        choice = SHEETS[name][label]
        pair = [("the photo", source(choice["photo"], size)), ("the style", source(choice["painting"], size))]
        if not cells or choice["photo"] != SHEETS[name][next(iter(made))]["photo"]:
            cells += pair
        cells.append((label, image))
    columns = 2 if len(cells) == 4 else COLUMNS
    rows = [cells[k : k + columns] for k in range(0, len(cells), columns)]
    heights = [max(image.height for _, image in row) + LABEL for row in rows]
    canvas = Image.new("RGB", (columns * (size + GAP) - GAP, sum(heights)), "white")
    for k, row in enumerate(rows):
        for column, (label, image) in enumerate(row):
            left, top = column * (size + GAP), sum(heights[:k])
            ImageDraw.Draw(canvas).text((left + 2, top + 2), label, fill="black", font=ImageFont.load_default(15))
            canvas.paste(image, (left, top + LABEL))
    with replacing(path) as temp:
        canvas.save(temp, quality=90)


if __name__ == "__main__":
    answering(main)
