"""Compare training recipes at equal numbers of pixels; each differs from the default in one setting.

    python -m benchmarks.experiments.quality out=quality data=/path/to/photos val=/path/to/other/photos steps=250 \
        size=128

Each is trained as in scripts/train.py with the same seed. All are evaluated with one objective, that of the first, the
default, on held-out photos. A recipe with another loss is therefore not evaluated on its own objective; style and
content show its trade-off. Finished trainings are kept. ``out`` gets quality.json and quality.jpg (the same photos by
every network).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.experiments import trainings
from benchmarks.experiments.warm_start import loss_of, readings
from stylenet.evaluation.artefacts import dots, grid
from stylenet.evaluation.metrics import squares
from stylenet.evaluation.report import sheet
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "out": "quality",  # folder for everything
    "only": None,  # names of recipes; null: all
    "net": "lite",  # of configs/net
    "style": "starry_night",  # a name of configs/style, or the file of a painting
    "data": None,  # folder of photos; null: the bundled ones
    "val": None,  # folder of photos to judge on; null: the bundled ones
    "steps": 250,
    "size": 128,  # of the crops, four a step
    "seed": 0,
    "sizes": [256, 512],  # of the photos it is judged on
    "photos": 8,  # of them
    "shown": 4,  # on the sheet
}


def recipes(size: int) -> dict[str, list[str]]:
    """By name, the arguments that differ from the default's. Crops of another size are as many pixels a step."""
    return {
        "default": [],
        "twice the steps": [],
        "learning rate halved": ["optimizer.lr=1.5e-3"],
        "learning rate doubled": ["optimizer.lr=6e-3"],
        "no decay": ["optimizer.final=1"],
        "averaged weights": ["trainer.ema=0.99"],
        "crops half as large": [f"data.size={size // 2}", "data.batch_size=16"],
        "crops larger by half": [f"data.size={size * 3 // 2}", "data.batch_size=2"],
        "content at relu2_2": ["~loss.content_layers.relu3_3", "+loss.content_layers.relu2_2=1"],
        "style weight 8": ["loss.style_weight=8"],
        "painting at 384 px": ["++style.starry_night.size=384"],
    }


def main() -> None:
    chosen = trainings.options(OPTIONS)
    known = recipes(chosen["size"])
    names = chosen["only"] or [*known]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"only={unknown}: no such recipe. There are: {', '.join(known)}.")
    names = ["default", *(name for name in names if name != "default")]
    out = Path(chosen["out"]).resolve()
    files: dict[str, Path] = {}
    rows: dict[str, Any] = {}
    for name in names:
        steps = chosen["steps"] * (2 if name == "twice the steps" else 1)
        files[name] = trainings.train(out / name.replace(" ", "_"), [*arguments(chosen), *known[name]], steps)
        rows[name] = judged(files[name], files["default"], chosen)
        trainings.write_results(out / "quality.json", chosen, recipes=rows)
        print(f"| {name} | " + " | ".join(f"{x:.3f}" for x in numbers(rows[name])) + " |", flush=True)
    photos = squares(chosen["val"], max(chosen["sizes"]), chosen["shown"])
    sheet(out / "quality.jpg", {"photos": photos} | trainings.drawn(files, photos))


def arguments(chosen: Mapping[str, Any]) -> list[str]:
    """Of scripts/train.py, the same for all."""
    data = trainings.data_arguments(chosen["data"], None)
    crops = [f"data.size={chosen['size']}", "data.margin=0", "data.batch_size=4", "data.val=0"]
    rest = [f"net={chosen['net']}", "net.noise=0", f"seed={chosen['seed']}", "logger=csv"]
    return [*trainings.style_arguments(chosen["style"]), *data, *crops, *rest]


@torch.no_grad()
def judged(file: Path, judge: Path, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """By photo size: mean loss, style and content under the objective of ``judge``, and the worst grid and dots."""
    loss = loss_of(chosen["style"], checkpoint.load(judge)[1])
    net = checkpoint.load(file, trainings.device())[0]
    found = {}
    for size in chosen["sizes"]:
        photos = squares(chosen["val"], size, chosen["photos"])
        outputs = [net(photo.to(trainings.device())).cpu() for photo in photos]
        artefacts = {"grid": max(map(grid, outputs)), "dots": max(map(dots, outputs))}
        found[str(size)] = readings(loss, net, photos) | {name: round(value, 3) for name, value in artefacts.items()}
    return found


def numbers(row: Mapping[str, Mapping[str, float]]) -> list[float]:
    return [figures[name] for figures in row.values() for name in ("loss", "style", "content", "grid", "dots")]


if __name__ == "__main__":
    trainings.answering(main)
