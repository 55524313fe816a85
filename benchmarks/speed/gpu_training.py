"""Training on a GPU: a step of ours and of the common recipe in turns, and a real training. Parts of gpu_parts.py."""

import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.gpu_result import ROOT, Result, need
from benchmarks.speed.measuring import Switches, as_at_home, short
from stylenet.system.errors import UserError

BATCH = 16
MINUTES = 1.0
TINY = ("net.blocks=1", "net.widths=[8,8,8]", "style.starry_night.size=64", "data.margin=8", "data.workers=0")
START_UP = 30.0  # seconds of a training's process before and after its minutes


def training(result: Result) -> None:
    """A step of ours and of the common recipe in turns: batches ready on the device, then photos from disk."""
    plan = plan_of(result)
    from benchmarks.speed import training_speed
    from benchmarks.speed.measuring import Work, enough
    from benchmarks.speed.operations import matrix_rate, operations
    from stylenet.training.precision import has_bf16

    half = has_bf16("gpu" if result.device.type == "cuda" else "cpu")
    rate = matrix_rate(result.device, torch.bfloat16 if half else torch.float32)
    needed = operations(plan.train, plan.styles, plan.train["data"]["margin"])
    result.keep(matrix_rate_t=short(rate / 1e12), operations_per_image_g=short(needed / 1e9))
    result.keep(size=plan.train["data"]["size"], margin=plan.train["data"]["margin"], batch=plan.common_batch)
    settings = {"batches ready on the device": plan.train, "photos from disk": plan.train}
    settings["the common network and losses, photos from disk"] = plan.same_work
    took = 0.0
    for name, how in settings.items():
        if not result.has(took):
            result.add(what=name, error="left out for want of time")
            continue
        begin = time.monotonic()
        home, ready, common = Switches(), name.startswith("batches"), plan.common()
        if ready:
            common.batches = itertools.repeat(next(common.batches).to(result.device))
        with as_at_home(home):
            count = enough(plan.seconds, plan.settled(common.step))
        theirs = Work(common.step, plan.clock, count)
        figures, precision = training_speed.against(theirs, plan, home, how, plan.repeats, ready)
        share = {"share": short(figures["ours"]["images_per_s"] * needed / rate)} if how is plan.train else {}
        result.add(what=name, precision=precision, **figures, **share)
        took = time.monotonic() - begin
        del common, theirs
        if result.device.type == "cuda":
            torch.cuda.empty_cache()


def plan_of(result: Result) -> Any:
    """What scripts/train.py trains with the style starry_night, and the common recipe beside it."""
    need("hydra", "pytorch_lightning")
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from benchmarks.speed.__main__ import SAME_WORK
    from benchmarks.speed.plan import Plan
    from stylenet.cli import hydra_app  # noqa: F401  # registers what the configs refer to
    from stylenet.losses.vgg_weights import vgg_weights
    from stylenet.system.places import CONFIGS

    vgg_weights()  # now, with its own message, should there be none
    side, batch = (32, 2) if result.tiny else (256, BATCH)
    words = ["style=starry_night", f"data.size={side}", f"data.batch_size={batch}"]
    words += [*TINY] if result.tiny else []

    def settings(*more: str) -> dict[str, Any]:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            found: Any = OmegaConf.to_container(compose("train", [*words, *more]), resolve=True)
        return found | {"data": found["data"] | {"root": result.photos}}

    train = settings()
    style = {"name": "starry_night", **train["style"]["starry_night"]}
    rounds, seconds = (1, 0.0) if result.tiny else (3, 1.0)
    return Plan(train, settings(*SAME_WORK), [style], result.device, batch, [], rounds, seconds, False, False)


def real_training(result: Result) -> None:
    """``scripts/train.py`` as a user runs it, for a minute or what the limit allows, with its images/s."""
    need("hydra", "pytorch_lightning")
    minutes = None if result.tiny else round(max(0.1, min(MINUTES, (result.left - START_UP) / 60)), 2)
    batch = 2 if result.tiny else BATCH
    words = ["style=starry_night", "logger=csv", f"data.batch_size={batch}"]
    words.append("steps=12" if minutes is None else f"minutes={minutes}")
    words.append(f"trainer.accelerator={'gpu' if result.device.type == 'cuda' else result.device.type}")
    words += ["data=folder", f"data.root={result.photos}"] if result.photos else ["data=bundled"]
    if result.tiny:
        words += [*TINY, "data.size=32", "data.val=2", "data.val_size=32", "trainer.log_every_n_steps=1"]
    with tempfile.TemporaryDirectory() as name:
        folder, begin = Path(name), time.monotonic()
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), *words]
        command += [f"out={folder}", "name=style", f"hydra.run.dir={folder}"]
        process = subprocess.Popen(command)  # in this part's group: it ends with the part
        while process.poll() is None:
            time.sleep(0.5)
            result.data["rows"] = [progress(folder, batch, minutes, time.monotonic() - begin)]
            result.keep()
        result.data["rows"] = [progress(folder, batch, minutes, time.monotonic() - begin)]
        result.keep()
        if process.returncode or not (folder / "style.safetensors").exists():
            raise UserError(f"scripts/train.py ended with code {process.returncode}; last_lines in the file say why.")
        if "images_per_s" not in result.data["rows"][0]:
            raise UserError("scripts/train.py wrote no images/s: it was too short.")


def progress(folder: Path, batch: int, minutes: float | None, seconds: float) -> dict[str, Any]:
    """What metrics.csv says so far."""
    row: dict[str, Any] = {"batch": batch, "seconds": round(seconds, 1)}
    row |= {} if minutes is None else {"minutes": minutes}
    metrics = folder / "csv" / "metrics.csv"
    if metrics.exists():
        with metrics.open(newline="") as file:
            lines = [*csv.DictReader(file)]
        rates = [float(line["train/images_per_s"]) for line in lines if line.get("train/images_per_s")]
        row["steps"] = max((int(line["step"]) for line in lines), default=0)
        if rates:
            row |= {"images_per_s": short(statistics.median(rates)), "readings": len(rates)}
            row |= {"least": short(min(rates)), "most": short(max(rates))}
        losses = [line["train/loss"] for line in lines if line.get("train/loss")]
        row |= {"first_loss": short(float(losses[0])), "last_loss": short(float(losses[-1]))} if losses else {}
    return row
