"""Compare killed and resumed runs of scripts/train.py with an uninterrupted run.

    python -m benchmarks.stress.kill_resume kills=20 output=kill_resume.json

One run of ``steps`` steps is uninterrupted. Others are killed with SIGKILL at random moments after their first
checkpoint, often during a checkpoint write, all processes or only the first. They resume with another number of
workers, and some are killed again. Weights, average, optimizer and the figures of all steps must be equal to the last
bit. The loss of step k is a function of the weights and of the photos of step k: if all are equal, no photo was skipped
or used twice. Exits with 0 only if all are equal and no process is left.
"""

import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.stress.starting import started
from benchmarks.stress.watching import belonging, gone
from stylenet.system.atomic import leftovers
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware
from stylenet.training import wandb_files

OPTIONS: dict[str, Any] = {
    "kills": 20,
    "each": None,  # kills of each run; null: one to three
    "steps": 40,  # 24 photos, two a step: an epoch ends at steps 12, 24 and 36
    "recipes": ["float32", "bf16_ema"],
    "copies": False,  # true: each process is a copy of this one, which has loaded the libraries: seconds saved
    "seed": None,  # of the moments; null: another one each time
    "folder": None,  # where the runs go; null: a temporary folder, removed at the end
    "output": None,  # a file for the figures, as JSON
}
RECIPES = {
    "float32": ["trainer.precision=32-true", "logger=csv"],
    "bf16_ema": ["trainer.precision=bf16-mixed", "trainer.ema=0.99", "logger=wandb"],
}
SMALL = [
    *("style=starry_night", "++style.starry_night.size=96", "net.widths=[8,16,32]", "net.blocks=1", "name=style"),
    *("data.size=48", "data.batch_size=2", "data.val=2", "data.val_size=64", "trainer.accelerator=cpu"),
    *("trainer.log_every_n_steps=1", "trainer.val_every=15", "trainer.sheet_every=20", "trainer.checkpoint_every=5"),
]
PATIENCE = 300.0  # seconds until a training must have come to its next step
WHOM = ("all processes", "the first alone")
SAVING, ANY = "while saving", "anywhere"
CLOCKS = ("train/images_per_s", "_runtime", "_timestamp")  # what differs between any two runs


@dataclass
class Kill:
    """One kill: of ``whom`` ("all processes" or "the first alone") and ``when``; what was found after it."""

    recipe: str
    run: int
    workers: int
    whom: str
    when: str
    step: int = 0  # the last one whose figures were on disk
    checkpoint: int = 0  # the step of the checkpoint that is resumed
    half_written: bool = False  # the kill came while a checkpoint was being written
    seconds_until_gone: float | None = None  # from the kill to the end of the last worker
    same: bool = False

    def __str__(self) -> str:
        left = "PROCESSES LEFT" if self.seconds_until_gone is None else f"all gone in {self.seconds_until_gone:.2f} s"
        writing = ", a checkpoint half written" if self.half_written else ""
        end = "bit-identical" if self.same else "DIFFERENT"
        return (
            f"run {self.run} ({self.recipe}, {self.workers} workers): {self.whom} killed {self.when}, after step "
            f"{self.step}{writing}; {left}; resumed from step {self.checkpoint}: {end}"
        )


def main() -> None:
    chosen = options(OPTIONS)
    if unknown := {*chosen["recipes"]} - {*RECIPES}:
        raise UserError(f"recipes=[{','.join(unknown)}]: there are {', '.join(RECIPES)}.")
    seed = random.randrange(2**32) if chosen["seed"] is None else chosen["seed"]
    print(f"seed={seed}: the moments of the kills", flush=True)
    folder = Path(chosen["folder"] or tempfile.mkdtemp())
    kills: list[Kill] = []
    try:
        for kill in killing(folder, chosen, random.Random(seed)):
            kills.append(kill)
            if chosen["output"]:
                write_json(Path(chosen["output"]), summary(kills, seed, chosen))
    finally:
        if not chosen["folder"]:
            shutil.rmtree(folder)
    found = summary(kills, seed, chosen)
    print(f"{found['identical']} of {len(kills)} kills ended in the bits of the run that was not killed", flush=True)
    sys.exit(found["identical"] < len(kills))


def summary(kills: list[Kill], seed: int, chosen: dict[str, Any]) -> dict[str, Any]:
    return {
        "kills": len(kills),
        "identical": sum(kill.same and kill.seconds_until_gone is not None for kill in kills),
        "during_writing": sum(kill.half_written for kill in kills),
        "seed": seed,
        **{name: chosen[name] for name in ("steps", "recipes", "copies")},
        "hardware": hardware(torch.device("cpu")),
        "each": [asdict(kill) for kill in kills],
    }


def killing(folder: Path, chosen: dict[str, Any], chance: random.Random) -> Iterator[Kill]:
    """The runs that are killed, until there were as many kills; each is told of when it is known how it ended."""
    recipes, kills, steps = chosen["recipes"], chosen["kills"], chosen["steps"]
    wholes: dict[str, dict[str, Any]] = {}
    done, run = 0, 0
    while done < kills:
        recipe = recipes[run % len(recipes)]
        if recipe not in wholes:
            begun(folder / recipe, recipe, 0, chosen).wait()
            wholes[recipe] = result(folder / recipe, steps)
        run += 1
        place = folder / f"{recipe}_{run}"
        times = min(chosen["each"] or chance.randint(1, 3), kills - done)
        several = [*killed(place, recipe, run, range(done, done + times), chosen, chance)]
        last = begun(place, recipe, chance.randint(0, 2), chosen)
        same = last.wait() == 0 and result(place, steps) == wholes[recipe] and not belonging(last.pid)
        for kill in several:
            kill.same = same
            print(f"kill {(done := done + 1)} of {kills}: {kill}", flush=True)
            yield kill


def killed(
    folder: Path, recipe: str, run: int, numbers: range, chosen: dict[str, Any], chance: random.Random
) -> Iterator[Kill]:
    """One run, begun and killed, resumed and killed again. It may end before a kill comes: then there are fewer."""
    for number in numbers:
        kill = Kill(recipe, run, chance.randint(0, 2), WHOM[number % 2], ANY if number % 3 else SAVING)
        process = begun(folder, recipe, kill.workers, chosen)
        moment(process, folder, kill, chosen["steps"], chance)
        all_of_it = belonging(process.pid)
        if process.poll() is not None:
            return
        (os.killpg if kill.whom == WHOM[0] else os.kill)(process.pid, signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            return
        kill.seconds_until_gone = gone(all_of_it, patience=10)
        kill.step, kill.half_written = step_of(folder), bool(leftovers(folder / "last.ckpt"))
        kill.checkpoint = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
        yield kill


def begun(folder: Path, recipe: str, workers: int, chosen: dict[str, Any]) -> Any:
    """The training in ``folder``, or where it has a checkpoint the rest of it: as a user starts it, but one thread."""
    goes_on = (folder / "last.ckpt").exists()
    where = f"resume={folder / 'last.ckpt'}" if goes_on else f"hydra.run.dir={folder}"
    words = [*SMALL, *RECIPES[recipe], f"steps={chosen['steps']}", f"data.workers={workers}", f"out={folder / 'out'}"]
    return started([*words, where], folder / "stderr", copy=chosen["copies"])


# --- moments


def moment(process: Any, folder: Path, kill: Kill, steps: int, chance: random.Random) -> None:
    """Come back when the kill is due, or the process has ended."""
    first = step_of(folder) if (folder / "last.ckpt").exists() else 0
    until(process, lambda: (folder / "last.ckpt").exists() and step_of(folder) > first)
    target = chance.randint(step_of(folder), steps)
    until(process, lambda: step_of(folder) >= target)
    pause = chance.random() * 0.3
    if kill.when == SAVING:
        until(process, lambda: bool(leftovers(folder / "last.ckpt")))
        pause *= 0.001
    time.sleep(pause)


def until(process: Any, happens: Callable[[], bool]) -> None:
    """Look in again and again, as long as the process is there."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not happens():
        time.sleep(0.0005)
        if time.monotonic() > end:
            process.kill()
            raise UserError(f"A training came no further in {PATIENCE:.0f} s.")


def step_of(folder: Path) -> int:
    """The last step whose figures are on disk."""
    try:
        return int((folder / "csv/metrics.csv").read_bytes().rpartition(b"\r\n")[0].rpartition(b"\n")[2].split(b",")[0])
    except (OSError, ValueError):
        return 0


# --- comparing


def result(folder: Path, steps: int) -> dict[str, Any]:
    """All that a run left which must be the same in every other, in a form that == compares to the last bit."""
    try:
        saved = torch.load(folder / "last.ckpt", weights_only=True)
        figures = rows(folder)
        of_training = [int(row["step"]) for row in figures if row.get("train/loss")]
        if of_training != [*range(1, steps + 1)]:
            raise ValueError(f"the figures are of the steps {of_training}")
        for counter in ("loops", "epoch"):  # Lightning's own: they tell of restarts, and whether the end was told of
            del saved[counter]
        style = load_file(folder / "out" / "style.safetensors")
        return {"style": bits(style), "checkpoint": bits(saved), "figures": figures, "board": board(folder)}
    except (OSError, ValueError) as error:
        print(f"{folder}: {error}; see {folder / 'stderr'}", file=sys.stderr)
        return {}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv/metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if v and k not in CLOCKS} for row in csv.DictReader(file)]


def board(folder: Path) -> list[dict[str, Any]]:
    """The rows that W&B kept, of all parts of the run."""
    kept = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_files.records(file.read_bytes()):
            named = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            kept += [{k: json.loads(v) for k, v in named.items() if k not in CLOCKS and "/" in k}] if named else []
    return [{k: v for k, v in row.items() if not k.startswith(("sheet/", "style/"))} for row in kept]


def bits(data: Any) -> Any:
    """Plain data, tensors as their bytes."""
    if isinstance(data, torch.Tensor):
        return str(data.dtype), [*data.shape], data.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(data, dict):
        return {key: bits(value) for key, value in data.items()}
    return [bits(value) for value in data] if isinstance(data, list | tuple) else data


if __name__ == "__main__":
    answering(main)
