"""Check a long training for leaks of memory, open files, threads and processes.

    python -m benchmarks.stress.leaks steps=2000 output=leaks.json

scripts/train.py trains a tiny network with two processes that read photos, checkpoints, validations and sheets every
100 steps. Memory is resident memory, shared libraries included. The first quarter of the steps is warm-up. The average
memory of the last quarter must be at most 10 MB above that of the second; open files, threads and processes must not
increase. Exits with 0 only if so, and if no process is left.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.stress.kill_resume import step_of
from benchmarks.stress.starting import started
from benchmarks.stress.watching import belonging, gone, looked_at
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware

OPTIONS: dict[str, Any] = {
    "steps": 2000,
    "samples": 40,  # how often it is looked at
    "logger": "csv",
    "output": None,  # a file for the figures, as JSON
}
TINY = [
    *("style=starry_night", "++style.starry_night.size=96", "net.widths=[4,8,8]", "net.blocks=1", "data.size=32"),
    *("data.batch_size=2", "data.workers=2", "data.val=2", "data.val_size=48", "trainer.accelerator=cpu"),
    *("trainer.ema=0.99", "trainer.checkpoint_every=100", "trainer.val_every=100", "trainer.sheet_every=100"),
]
GROWTH = 10.0  # MB from the second to the last quarter that count as none


@dataclass
class Sample:
    """All processes of the training at one step: MB of the first one and of the others, and counts of what else."""

    step: int
    main: float
    others: float
    files: int
    threads: int
    processes: int


def main() -> None:
    chosen = options(OPTIONS)
    if chosen["steps"] < 100:
        raise UserError(f"steps={chosen['steps']}: less than 100 tell nothing.")
    with tempfile.TemporaryDirectory() as folder:
        samples, left = watched(Path(folder), **{key: chosen[key] for key in ("steps", "samples", "logger")})
    for sample in samples:
        print(
            f"step {sample.step:5d}: {sample.main:7.1f} MB, the others {sample.others:7.1f} MB, {sample.files} files, "
            f"{sample.threads} threads, {sample.processes} processes"
        )
    found = verdict(samples, chosen["steps"]) | {"left_at_the_end": left}
    print(
        ", ".join(
            f"{name} {value:+.1f}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
        )
    )
    if chosen["output"]:
        figures = {"steps": chosen["steps"], "growth": found, "hardware": hardware(torch.device("cpu"))}
        write_json(Path(chosen["output"]), figures | {"samples": [asdict(sample) for sample in samples]})
    flat = (
        max(found["main_MB"], found["others_MB"]) <= GROWTH
        and max(found["files"], found["threads"], found["processes"]) <= 0
    )
    sys.exit(not flat or left > 0)


def watched(folder: Path, steps: int, samples: int, logger: str) -> tuple[list[Sample], int]:
    """What a training took as it went, and how many processes were left at its end."""
    words = [*TINY, f"steps={steps}", f"logger={logger}", f"out={folder}", f"hydra.run.dir={folder}"]
    words.append(f"trainer.log_every_n_steps={max(1, steps // samples // 4)}")
    process = started(words, folder / "stderr")
    taken: list[Sample] = []
    pids: list[int] = []
    while process.poll() is None:
        time.sleep(0.05)
        if (step := step_of(folder)) >= (len(taken) + 1) * steps // samples and step < steps:
            pids = belonging(process.pid)
            taken.append(sample(step, process.pid, pids))
    if process.returncode:
        raise UserError(f"The training ended with code {process.returncode}: {(folder / 'stderr').read_text()}")
    gone(pids, patience=10)
    return taken, len(belonging(process.pid))


def sample(step: int, first: int, pids: list[int]) -> Sample:
    there = [process for pid in pids if (process := looked_at(pid))]
    main = sum(process.memory for process in there if process.pid == first)
    return Sample(
        step=step,
        main=round(main, 1),
        others=round(sum(process.memory for process in there) - main, 1),
        files=sum(process.files for process in there),
        threads=sum(process.threads for process in there),
        processes=len(there),
    )


def verdict(samples: list[Sample], steps: int) -> dict[str, Any]:
    """How much more the last quarter takes than the second one: on average of MB, at most of what is counted."""
    early = [sample for sample in samples if steps / 4 <= sample.step < steps / 2]
    late = [sample for sample in samples if sample.step >= steps * 3 / 4]
    if not (early and late):
        raise UserError("The training was too fast to be looked at: give more steps.")

    def more(name: str, of: Any) -> Any:
        return of(getattr(sample, name) for sample in late) - of(getattr(sample, name) for sample in early)

    return {
        "main_MB": round(more("main", statistics.mean), 2),
        "others_MB": round(more("others", statistics.mean), 2),
        **{name: more(name, max) for name in ("files", "threads", "processes")},
    }


if __name__ == "__main__":
    answering(main)
