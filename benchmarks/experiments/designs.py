"""Compare light networks with equal training: loss against cost, in figures and pictures.

    python -m benchmarks.experiments.designs out=designs data=/path/to/photos val=/path/to/other/photos steps=400 \
        size=160

Each design is trained as in scripts/train.py with the same crops, seed and steps. Finished trainings are kept, so an
interrupted run can resume. ``out`` gets designs.json, designs.png (validation loss against multiply-adds) and
designs.jpg (the same photos by every network).
"""

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiments import light_nets
from benchmarks.experiments.trainings import (
    answering,
    data_arguments,
    device,
    drawn,
    options,
    style_arguments,
    train,
    write_results,
)
from benchmarks.speed.measuring import Clock
from stylenet.evaluation.artefacts import grid
from stylenet.evaluation.metrics import squares
from stylenet.evaluation.report import sheet
from stylenet.nets import checkpoint
from stylenet.nets.cost import multiply_adds, parameters
from stylenet.system.errors import UserError

TRAIN_LIGHT = Path(__file__).resolve().with_name("train_light.py")
OPTIONS: dict[str, Any] = {
    "out": "designs",  # folder for everything
    "only": None,  # names of designs; null: all
    "style": "starry_night",  # a name of configs/style, or the file of a painting
    "data": None,  # folder of photos; null: the bundled ones
    "val": None,  # folder of validation photos; null: as configs/data has it
    "steps": 400,
    "size": 160,  # of the crops
    "batch": 4,
    "seed": 0,
    "extra": [],  # more arguments for scripts/train.py, such as [loss.style_weight=8]
    "photos": 4,  # on the sheet
    "photo_size": 384,  # their side in pixels; the grid is measured on them too
    "rounds": 15,  # of timing
    "side": 512,  # of the picture that is timed
}

# Each at the learning rate that suits it. For five it was measured (validation loss, here after 300 steps at 128 px):
# 3e-3 instead of 1e-3 took johnson_8 from 0.787 to 0.684 and bottleneck from 0.967 to 0.901, and johnson itself from
# 0.662 to 0.677. The narrow ones of Johnson's order were trained at 3e-3 only, the others at 1e-3 only.
SMALL_STEPS, LARGE_STEPS = "1e-3", "3e-3"
JOHNSONS: dict[str, dict[str, Any]] = {
    "johnson": {"lr": SMALL_STEPS, "widths": [32, 64, 128], "blocks": 5},
    "johnson_16": {"lr": SMALL_STEPS, "widths": [16, 32, 64], "blocks": 5},
    "johnson_8": {"lr": LARGE_STEPS, "widths": [8, 16, 32], "blocks": 5},
}
FOLDED: dict[str, Any] = {"name": "lite", "lr": SMALL_STEPS, "stem": 4, "order": "conv_upsample", "detail": True}
LATE: dict[str, Any] = {"name": "lite", "lr": LARGE_STEPS, "stem": 1, "order": "upsample_conv", "detail": False}
LIGHT: dict[str, dict[str, Any]] = {
    "johnson_8_deep": {"lr": LARGE_STEPS, "widths": [8, 16, 32], "blocks": 7},
    # The trunk at an eighth of the size; the convolution before each doubling, and the picture joining in at full size.
    "eighth": FOLDED | {"widths": [16, 32, 64, 96], "blocks": 3},
    # The same with the convolutions after the doublings, as in Johnson's, and so narrower.
    "eighth_late": FOLDED | {"widths": [8, 16, 48, 88], "blocks": 3, "order": "upsample_conv", "detail": False},
    # The trunk at a quarter of the size, as in Johnson's: plain, separable and bottleneck blocks.
    "quarter": FOLDED | {"widths": [16, 32, 48], "blocks": 4},
    "separable": FOLDED | {"block": "separable", "widths": [16, 32, 96], "blocks": 6},
    "bottleneck": FOLDED | {"lr": LARGE_STEPS, "block": "bottleneck", "widths": [16, 24, 96], "blocks": 5, "mid": 47},
    # Johnson's order of things (a convolution at full size first, no shortcut for the picture), the trunk made cheap.
    "johnson_separable": LATE | {"widths": [8, 16, 80], "blocks": 5, "block": "separable", "kernel": 9},
    "johnson_bottleneck": LATE | {"widths": [8, 16, 64], "blocks": 6, "block": "bottleneck", "mid": 32, "kernel": 9},
    "johnson_small_kernel": LATE | {"widths": [8, 16, 40], "blocks": 5, "kernel": 5},
}
DESIGNS = JOHNSONS | LIGHT


def main() -> None:
    chosen = options(OPTIONS)
    names = chosen["only"] or [*DESIGNS]
    if unknown := [name for name in names if name not in DESIGNS]:
        raise UserError(f"only={unknown}: no such design. There are: {', '.join(DESIGNS)}.")
    light_nets.register()
    out = Path(chosen["out"]).resolve()
    files = {name: train(out / name, arguments(name, chosen), chosen["steps"], TRAIN_LIGHT) for name in names}
    nets = {name: checkpoint.load(file, device())[0] for name, file in files.items()}
    nets = {name: net.to(memory_format=torch.channels_last) for name, net in nets.items()}
    rows = {name: figures(checkpoint.load(files[name])[1], net) for name, net in nets.items()}
    for name, times in seconds(nets, chosen["side"], chosen["rounds"]).items():
        rows[name] |= times
    photos = squares(chosen["val"], chosen["photo_size"], chosen["photos"])
    pictures = {"photos": photos} | drawn(nets, photos)
    for name in nets:
        rows[name]["grid"] = [round(grid(picture), 2) for picture in pictures[name]]
    write_results(out / "designs.json", chosen, designs=rows)
    plot(out / "designs.png", rows)
    sheet(out / "designs.jpg", pictures)
    print(table(rows))


def arguments(name: str, chosen: Mapping[str, Any]) -> list[str]:
    """Of scripts/train.py for one design, all but the steps."""
    data = data_arguments(chosen["data"], chosen["val"])
    crops = [f"data.size={chosen['size']}", "data.margin=0", f"data.batch_size={chosen['batch']}"]
    every = ["trainer.checkpoint_every=100", *(f"trainer.{x}_every={chosen['steps']}" for x in ("val", "sheet"))]
    lr = DESIGNS[name]["lr"]
    steps = [] if lr == SMALL_STEPS else [f"optimizer.lr={lr}"]
    rest = [f"seed={chosen['seed']}", "logger=csv", *steps, *chosen["extra"]]
    return [*style_arguments(chosen["style"]), *net_arguments(name), *data, *crops, *every, *rest]


def net_arguments(name: str) -> list[str]:
    """Johnson's own by its config; another network has arguments that this config has not."""
    net = {key: json.dumps(value) for key, value in DESIGNS[name].items() if key not in ("name", "lr")}
    if "name" not in DESIGNS[name]:
        return ["net=johnson", "net.noise=0", *(f"net.{key}={value}" for key, value in net.items())]
    others = [f"++net.{key}={value}" for key, value in net.items()]
    return [f"net.name={DESIGNS[name]['name']}", "~net.output", "~net.noise", "~net.frame", *others]


def figures(info: dict[str, Any], net: nn.Module) -> dict[str, Any]:
    """What training left in the style file, and the network's size. Multiply-adds are of a pass at 256x256."""
    return {
        "net": info["net"],
        "lr": info["training"]["optimizer"]["lr"],
        "val": {name: info["training"]["val"][name] for name in ("loss", "style", "content")},
        "multiply_adds": multiply_adds(net, 256, 256),
        "parameters": parameters(net),
    }


@torch.inference_mode()
def seconds(nets: Mapping[str, nn.Module], side: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Median milliseconds of a pass at ``side`` x ``side``, float32 and under bf16, the networks taking turns."""
    clock, place = Clock(device()), device()
    photo = torch.rand(1, 3, side, side, device=place).contiguous(memory_format=torch.channels_last)

    def passing(net: nn.Module, bf16: bool) -> Callable[[], Tensor]:
        def work() -> Tensor:
            with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
                return net(photo)

        return work

    works = {(name, bf16): passing(net, bf16) for name, net in nets.items() for bf16 in (False, True)}
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in works}
    for _ in range(rounds):
        for key, work in works.items():
            work()
            times[key].append(clock.time(work))
    medians = {key: round(1000 * statistics.median(found), 2) for key, found in times.items()}
    return {name: {f"ms_{side}": medians[name, False], f"ms_{side}_bf16": medians[name, True]} for name in nets}


def table(rows: Mapping[str, dict[str, Any]]) -> str:
    """As Markdown, by rising loss."""
    side = next(key for key in next(iter(rows.values())) if key.startswith("ms_")).removeprefix("ms_")
    heads = ["design", "val loss", "G multiply-adds", "parameters", f"ms at {side} px", "under bf16", "grid, worst"]
    heads.append("learning rate")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["val"]["loss"]):
        cells = [name, f"{row['val']['loss']:.4f}", f"{row['multiply_adds'] / 1e9:.3f}", f"{row['parameters']:,}"]
        cells += [f"{row[f'ms_{side}']:g}", f"{row[f'ms_{side}_bf16']:g}", f"{max(row['grid']):.2f}", f"{row['lr']:g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(path: Path, rows: Mapping[str, dict[str, Any]]) -> None:
    """Validation loss against multiply-adds: the Johnsons as a line, the light designs as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from stylenet.system.atomic import replacing

    points = {name: (row["multiply_adds"] / 1e9, row["val"]["loss"]) for name, row in rows.items()}
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    line = sorted(points[name] for name in JOHNSONS if name in points)
    light = {name: points[name] for name in LIGHT if name in points}
    axes.plot(*zip(*line, strict=True), "o-", color="tab:blue", label="Johnson, all widths narrowed") if line else None
    axes.plot(*zip(*light.values(), strict=True), "s", color="tab:red", label="light designs") if light else None
    if "johnson" in points:
        cost, loss = points["johnson"]
        axes.axhline(1.1 * loss, color="grey", linestyle=":", label="Johnson's loss + 10 %")
        axes.axvline(cost / 10, color="grey", linestyle="--", label="a tenth of Johnson's cost")
    for name, point in points.items():
        if name in JOHNSONS:
            axes.annotate(name, point, xytext=(0, -14), textcoords="offset points", fontsize=9, ha="center")
    low, high = axes.get_ylim()
    for (name, point), height in zip(upwards(light), apart(light, (high - low) / 22), strict=True):
        arrow = {"arrowstyle": "-", "color": "lightgrey"}
        axes.annotate(name, point, xytext=(0.45, height), fontsize=9, ha="right", va="center", arrowprops=arrow)
    axes.set(xscale="log", xlabel="multiply-adds of a pass at 256x256, in G", ylabel="validation loss", xlim=(0.2, 15))
    axes.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=120)
    pyplot.close(figure)


def upwards(points: Mapping[str, tuple[float, float]]) -> list[tuple[str, tuple[float, float]]]:
    return sorted(points.items(), key=lambda item: item[1][1])


def apart(points: Mapping[str, tuple[float, float]], gap: float) -> list[float]:
    """Where to write the names, from the lowest up: as high as the points, but ``gap`` from each other at least."""
    heights: list[float] = []
    for _, (_, height) in upwards(points):
        heights.append(max(height, heights[-1] + gap) if heights else height)
    return heights


if __name__ == "__main__":
    answering(main)
