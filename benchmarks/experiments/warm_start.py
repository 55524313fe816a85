"""Time to learn a new painting: from scratch, and from a trained style (experiment=quick).

    python -m benchmarks.experiments.warm_start "paintings=[great_wave,mine.jpg]" out=warm_start \
        data=/path/to/photos full_steps=800

For each painting scripts/train.py runs twice: as experiment=quick, and the same with init=null. All saved weights are
then measured on the same photos with one loss, with the references of the warm run. Seconds count from the start of the
command, including start-up, calibration and checkpoints; there is no validation. Finished runs are kept; an interrupted
run starts again, to keep its times valid. ``out`` gets warm_start.json,
warm_start.png (loss against time) and warm_start.jpg (pictures).
"""

import hashlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiments.trainings import (
    answering,
    data_arguments,
    device,
    drawn,
    finish,
    options,
    read_json,
    started,
    style_arguments,
    train,
    write_json,
    write_results,
)
from stylenet.evaluation.candidates import objective_of
from stylenet.evaluation.metrics import squares
from stylenet.evaluation.report import sheet
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets import checkpoint
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "paintings": [],  # names of configs/style, or files
    "out": "warm_start",  # folder for everything
    "bases": None,  # what the warm start of each painting starts from, in the same order; null: as experiment=quick
    "steps": None,  # of both runs; null: as experiment=quick has them
    "every": 25,  # steps between the moments at which the weights are kept
    "data": None,  # folder of photos to train on; null: the bundled ones
    "val": None,  # folder of photos to measure on; null: the bundled ones
    "photos": 8,  # of them
    "photo_size": 256,  # their side in pixels
    "full": None,  # a fully trained style file for each painting, in the same order
    "full_steps": None,  # or the steps of such a training, done here
    "full_extra": [],  # more arguments for it, such as [data.size=256]
    "extra": [],  # more arguments for scripts/train.py in both runs
}
STARTS = ("warm", "cold")
NEAR = 1.15  # times the loss of the fully trained style
POLL = 0.05  # seconds


def main() -> None:
    chosen = options(OPTIONS)
    check(chosen)
    out = Path(chosen["out"]).resolve()
    photos = squares(chosen["val"], chosen["photo_size"], chosen["photos"])
    found: dict[str, Any] = {}
    pictures = {"photos": photos[:4]}
    for number, painting in enumerate(chosen["paintings"]):
        name = Path(painting).stem
        base = [] if chosen["bases"] is None else [f"init={chosen['bases'][number]}"]
        starts = dict(zip(STARTS, (base, ["init=null"]), strict=True))
        runs = {key: run(out / name / key, recipe(painting, chosen) + start, chosen) for key, start in starts.items()}
        full = trained_fully(out / name / "full", number, chosen)
        found[name] = measured(out / name, painting, runs, full, photos)
        ends = {start: moments[-1]["file"] for start, moments in runs.items()} | ({"full": full} if full else {})
        pictures |= drawn({f"{name}, {start}": file for start, file in ends.items()}, photos[:4])
        write_results(out / "warm_start.json", chosen, paintings=found)
        plot(out / "warm_start.png", found)
        sheet(out / "warm_start.jpg", pictures)
    print(table(found))


def check(chosen: Mapping[str, Any]) -> None:
    paintings = chosen["paintings"]
    if not paintings:
        raise UserError('paintings= is empty: give names or files, such as "paintings=[great_wave,mine.jpg]".')
    for option in ("full", "bases"):
        given = chosen[option]
        if given is not None and len(given) != len(paintings):
            raise UserError(f"{option}= lists {len(given)} styles for {len(paintings)} paintings: give one for each.")


# --- training, and what it leaves behind


def recipe(painting: str, chosen: Mapping[str, Any]) -> list[str]:
    """Of scripts/train.py, for both runs of a painting."""
    steps = [] if chosen["steps"] is None else [f"steps={chosen['steps']}"]
    data = [*data_arguments(chosen["data"], None), "data.val=0"]
    rest = [f"trainer.checkpoint_every={chosen['every']}", "logger=csv", *chosen["extra"]]
    return ["experiment=quick", *style_arguments(painting), *data, *steps, *rest]


def run(folder: Path, arguments: list[str], chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train, and keep the weights every so many steps and at the end: [{"step", "seconds", "file"}]."""
    done = folder / "moments.json"
    if not done.exists():
        write_json(done, {"arguments": arguments, "moments": watched(folder, arguments)})
    before = read_json(done)
    if before["arguments"] != arguments:
        raise UserError(f"{folder} holds a run with other arguments (see {done}): give another out=.")
    return before["moments"]


def watched(folder: Path, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Each checkpoint is kept by a link before the run puts the next in its place, and made a style file at the end."""
    for left in [*folder.glob("*.ckpt"), *folder.glob("*.safetensors")]:  # of a run that was stopped
        left.unlink()
    times: dict[Path, float] = {}
    began = time.time()
    with started(folder, arguments) as process:
        while running(process):
            keep(folder, times)
        finish(process)
    keep(folder, times)
    moments = [moment(link, written - began) for link, written in times.items()]
    return [*{found["step"]: found for found in reversed(moments)}.values()][::-1]  # of one step the earliest


def running(process: subprocess.Popen) -> bool:
    """Whether it still is, a moment later."""
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return True
    return False


def keep(folder: Path, times: dict[Path, float]) -> None:
    last = folder / "last.ckpt"
    if not last.exists():
        return
    link = folder / f"{last.stat().st_mtime_ns}.ckpt"
    if link not in times:
        os.link(last, link)
        times[link] = link.stat().st_mtime


def moment(link: Path, seconds: float) -> dict[str, Any]:
    net, info = checkpoint.load(link)
    step = info["training"]["steps"]
    file = checkpoint.save(link.with_name(f"{step:06d}.safetensors"), net, info, half=True)
    link.unlink()
    return {"step": step, "seconds": round(seconds, 1), "file": str(file)}


def trained_fully(folder: Path, number: int, chosen: Mapping[str, Any]) -> str | None:
    """The file of a fully trained style, if there is to be one."""
    if chosen["full"] is not None:
        return chosen["full"][number]
    if chosen["full_steps"] is None:
        return None
    data = [*data_arguments(chosen["data"], None), "data.val=0"]
    arguments = [*style_arguments(chosen["paintings"][number]), *data, "logger=csv", *chosen["full_extra"]]
    return str(train(folder, arguments, chosen["full_steps"]))


# --- measuring


def measured(
    folder: Path, painting: str, runs: Mapping[str, list[dict[str, Any]]], full: str | None, photos: list[Tensor]
) -> dict[str, Any]:
    """The loss at every moment of the runs and of the full training, and what the warm one came to."""
    files = [found["file"] for moments in runs.values() for found in moments] + ([full] if full else [])
    losses = losses_of(folder / "losses.json", files, painting, runs["warm"][-1]["file"], photos)
    result: dict[str, Any] = {
        start: [{"step": x["step"], "seconds": x["seconds"], **losses[x["file"]]} for x in moments]
        for start, moments in runs.items()
    }
    if full:
        goal = NEAR * losses[full]["loss"]
        near = [found["seconds"] for found in result["warm"] if found["loss"] <= goal]
        result["full"] = {"file": Path(full).name, **losses[full]}
        result["warm_over_full"] = round(result["warm"][-1]["loss"] / losses[full]["loss"], 3)
        result["seconds_to_115_percent"] = min(near, default=None)
    return result


def losses_of(
    known: Path, files: Sequence[str], painting: str, reference: str, photos: list[Tensor]
) -> dict[str, dict[str, float]]:
    """The readings of each style file by the loss that ``reference`` was trained with; those in ``known`` are kept."""
    before: dict[str, Any] = read_json(known) if known.exists() else {}
    loss = loss_of(painting, checkpoint.load(reference)[1])
    seen = hashlib.sha256(torch.cat(photos).numpy().tobytes()).hexdigest()[:16]
    losses = {}
    for file in files:
        key = f"{file} of {checkpoint.resolve(file).stat().st_mtime_ns} on {seen}"
        if key not in before:
            before[key] = readings(loss, checkpoint.load(file, device())[0], photos)
            write_json(known, before)
        losses[file] = before[key]
    return losses


def loss_of(painting: str, info: dict[str, Any]) -> PerceptualLoss:
    """The loss that a style was trained with, its references included."""
    image = painting if Path(painting).suffix else info["styles"][0]["image"]
    return objective_of(image, info).to(device())


@torch.no_grad()
def readings(loss: PerceptualLoss, net: nn.Module, photos: list[Tensor]) -> dict[str, float]:
    """Mean loss, style and content over the photos, in float32."""
    found = []
    for photo in (photo.to(device()) for photo in photos):
        read = loss.readings(loss(net(photo), photo))
        found.append([read[name] for name in ("loss", "style", "content")])
    means = torch.tensor(found).mean(0).tolist()
    return {name: round(mean, 5) for name, mean in zip(("loss", "style", "content"), means, strict=True)}


def table(found: Mapping[str, dict[str, Any]]) -> str:
    """As Markdown: what the runs came to, and when."""
    heads = ["painting", "full", "cold", "warm", "warm / full", "seconds", "seconds to 1.15 times full"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, row in found.items():
        ends = [row["full"]["loss"] if "full" in row else None, row["cold"][-1]["loss"], row["warm"][-1]["loss"]]
        cells = [*ends, row.get("warm_over_full"), row["warm"][-1]["seconds"], row.get("seconds_to_115_percent")]
        lines.append(f"| {name} | {' | '.join('-' if cell is None else f'{cell:g}' for cell in cells)} |")
    return "\n".join(lines)


def plot(path: Path, found: Mapping[str, dict[str, Any]]) -> None:
    """Loss against seconds, a panel for each painting; the full training is a line, with 15 % above it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(4.5 * len(found), 4), layout="constrained", squeeze=False)
    for axes, (name, row) in zip(panels[0], found.items(), strict=True):
        for start, colour in (("cold", "tab:blue"), ("warm", "tab:red")):
            axes.plot(
                [x["seconds"] for x in row[start]], [x["loss"] for x in row[start]], ".-", color=colour, label=start
            )
        if "full" in row:
            loss = row["full"]["loss"]
            axes.axhline(loss, color="black", label="fully trained")
            axes.axhspan(loss, NEAR * loss, color="grey", alpha=0.2, label="up to 15 % above")
        axes.set(title=name.replace("_", " "), xlabel="seconds", ylabel="loss on validation photos", xlim=(0, None))
        axes.grid(alpha=0.3)
    panels[0][0].legend(frameon=False)
    with replacing(path) as temp:
        figure.savefig(temp, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    answering(main)
