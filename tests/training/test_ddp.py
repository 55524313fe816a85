"""One training in two processes, on gloo: the same as in one process, and everything that is written, written once.

In double precision: in float32 the rounding alone, other for a batch of 4 than for two of 2, grows a thousandfold in 20
steps, also in one process. As a user runs it; the runs are side by side, for most of their time is start-up.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from omegaconf import OmegaConf

from stylenet.data.datamodule import Photos
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError
from stylenet.system.places import home
from stylenet.training import distributed
from stylenet.training.trainer import trainer_for

STEPS = 20
TINY = [
    *("style=[great_wave,starry_night]", "++style.starry_night.size=64", "style_size=64", f"steps={STEPS}"),
    *("net.widths=[4,8,16]", "net.blocks=1", "~loss.style_layers.relu3_3", "~loss.style_layers.relu4_3"),
    *("~loss.content_layers.relu3_3", "+loss.content_layers.relu2_2=1", "optimizer.warmup=5"),
    *("data.size=64", "data.val_size=32", "data.val=3", "data.workers=0", "trainer.accelerator=cpu"),
    *("trainer.precision=64-true", "trainer.log_every_n_steps=1", "trainer.val_every=10", "trainer.sheet_every=10"),
]
TWO = ["data.batch_size=2", "trainer=ddp", "trainer.checkpoint_every=2"]
PYTHON, TRAIN = sys.executable, str(ROOT / "scripts/train.py")


class Run:
    """A run of the script in ``folder``; its log, what it wrote, and how it ended."""

    def __init__(self, folder: Path, *command: str):
        self.folder, self.log = folder, folder / "log"
        folder.mkdir()
        given = os.environ | {"STYLENET_HOME": str(home()), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
        words = [*command, f"out={folder / 'out'}", f'hydra.run.dir="{folder}/run"']
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )

    def done(self) -> "Run":
        self.stdout = self.process.communicate(timeout=300)[0]
        return self

    @property
    def last(self) -> Path:
        return self.folder / "run/last.ckpt"

    def weights(self) -> dict[str, torch.Tensor]:
        saved = torch.load(self.last, weights_only=True)["state_dict"]
        return {name: value for name, value in saved.items() if name.startswith("net.")}

    def figures(self) -> list[dict[str, str]]:
        with (self.folder / "run/csv/metrics.csv").open() as file:
            return [*csv.DictReader(file)]


def when_under_way(run: Run) -> None:
    end = time.monotonic() + 300
    while not run.last.exists():
        assert run.process.poll() is None and time.monotonic() < end, run.log.read_text()
        time.sleep(0.005)


def child_of(process: subprocess.Popen) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """One process; two by torchrun; two by Lightning, stopped by a signal to the second; and one that goes on there."""
    vgg_weights()
    folder = tmp_path_factory.mktemp("ddp")
    one = [PYTHON, TRAIN, *TINY, "data.batch_size=4", "logger=csv"]
    torchrun = [PYTHON, "-m", "torch.distributed.run", "--nproc-per-node=2", TRAIN, *TINY, *TWO, "logger=wandb"]
    runs = {
        "stopped": Run(folder / "it's (2)", PYTHON, TRAIN, *TINY, *TWO, "trainer.devices=2", "logger=csv"),
        "one": Run(folder / "one", *one),
        "two": Run(folder / "two", *torchrun),
    }
    try:
        when_under_way(runs["stopped"])
        os.kill(child_of(runs["stopped"].process), signal.SIGTERM)
        runs["stopped"].done()
        runs["resumed"] = Run(folder / "resumed", *one, f"resume={runs['stopped'].last}")
        return {name: run if name == "stopped" else run.done() for name, run in runs.items()}
    finally:
        for run in runs.values():
            if run.process.poll() is None:
                os.killpg(run.process.pid, signal.SIGKILL)
                run.process.communicate()


@pytest.mark.parametrize("other", ["two", "resumed"])
def test_the_weights_are_those_of_one_process(other: str, runs: dict[str, Run]):
    mine, theirs = runs["one"].weights(), runs[other].weights()
    assert runs[other].process.returncode == 0, runs[other].log.read_text()
    assert all((mine[name] - theirs[name]).abs().max() < 1e-9 for name in mine)


@pytest.mark.parametrize("other", ["two", "resumed"])
def test_the_figures_are_those_of_the_whole_batch_in_every_step(other: str, runs: dict[str, Run]):
    mine, theirs = runs["one"].figures(), runs[other].figures()
    assert len(mine) == STEPS + 2 and (other == "resumed" or len(theirs) == len(mine))
    assert [row["step"] for row in mine[-len(theirs) :]] == [row["step"] for row in theirs]
    for row, same in zip(mine[-len(theirs) :], theirs, strict=True):
        names = [name for name in row if row[name] and "images_per_s" not in name]
        assert [float(same[name]) for name in names] == pytest.approx([float(row[name]) for name in names], abs=1e-6)


def test_everything_is_written_once(runs: dict[str, Run]):
    two = runs["two"]
    assert two.stdout == f"{two.folder / 'out/great_wave+starry_night.safetensors'}\n"
    assert [file.name for file in (two.folder / "out").iterdir()] == ["great_wave+starry_night.safetensors"]
    kept = {path.name for path in (two.folder / "run").iterdir()}
    assert kept == {".hydra", "csv", "last.ckpt", "sheets", "train.log", "wandb"}
    assert len([*two.folder.glob("run/wandb/offline-run-*/*.wandb")]) == 1
    assert (
        two.log.read_text().count("calibrating") == (two.folder / "run/train.log").read_text().count("calibrating") == 1
    )
    assert checkpoint.load(two.stdout.strip())[1]["training"]["batch"] == 4
    assert {path.name for path in two.folder.iterdir()} == {"log", "out", "run"}


def test_a_signal_to_one_of_them_stops_both_in_good_order(runs: dict[str, Run]):
    stopped = runs["stopped"]
    said = stopped.log.read_text()
    at = checkpoint.load(stopped.last)[1]["training"]["steps"]
    assert stopped.process.returncode == 128 + signal.SIGTERM and 2 <= at < STEPS, said
    assert said.count(f"stopped at step {at}; go on with resume=") == 1 and "Traceback" not in said
    assert stopped.stdout.strip() == str(stopped.folder / "out/great_wave+starry_night.safetensors")


# --- pieces


def test_samples_are_counted_on_where_the_batch_changes():
    """Ten steps of 4, then steps of 6: step 12 begins with sample 40 + 2 * 6."""
    photos = Photos(
        steps=20, seed=0, size=32, batch_size=6, scale=(1, 1), ratio=(1, 1), flip=False, workers=0, val=0, val_size=32
    )
    photos.load_state_dict({"step": 10, "sample": 40})
    assert photos.sample(10) == 40 and photos.sample(12) == 52
    photos.setup()
    assert next(iter(photos.train_dataloader().batch_sampler)) == [*range(40, 46)]  # type: ignore[arg-type]


TASKS = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7"}


def surroundings(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_") or "RANK" in name or "WORLD" in name]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "number", "started"),
    [
        ({}, 0, None),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, 1, None),  # Lightning's
        ({"RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, 5, (4, 2)),  # torchrun's
        (TASKS | {"SLURM_PROCID": "3", "SLURM_STEP_ID": "0"}, 3, (4, 2)),
        (TASKS | {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}, 0, (4, 2)),
        (TASKS | {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "bash"}, 0, None),
        (TASKS | {"SLURM_PROCID": "0"}, 0, None),  # python, not srun python, in a batch script
        (TASKS, 0, None),  # in a shell of salloc
    ],
)
def test_each_process_knows_its_place(
    variables: dict[str, str], number: int, started: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
):
    surroundings(monkeypatch, variables)
    assert (distributed.number(), distributed.started()) == (number, started)


@pytest.mark.parametrize(
    "variables",
    [
        TASKS,
        TASKS | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS_PER_NODE": "4"},
        TASKS | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "4"},
    ],
    ids=["salloc", "batch script", "srun -n 1"],
)
@pytest.mark.parametrize(("trainer", "devices"), [("default", 1), ("ddp", 2)])
def test_one_process_where_slurm_reserved_more_trains_as_anywhere(
    trainer: str,
    devices: int,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    """It starts the others of its machine itself, waits for no task that nobody started, and tells how to have all."""
    surroundings(monkeypatch, variables)
    settings: Any = OmegaConf.to_container(
        OmegaConf.merge(*(OmegaConf.load(ROOT / f"configs/trainer/{name}.yaml") for name in ("default", trainer)))
    )
    settings.pop("defaults", None)
    made = trainer_for(settings | {"accelerator": "cpu", "devices": devices}, 1, tmp_path, False)
    assert (made.world_size, made.global_rank) == (devices, 0)
    environment = getattr(made.strategy, "cluster_environment", None)
    assert environment is None or not environment.creates_processes_externally
    assert ("srun python" in caplog.text) == (trainer == "ddp" and variables["SLURM_NTASKS"] == "8")


def test_several_copies_of_a_training_for_one_process_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/trainer/default.yaml"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were started: say trainer=ddp"):
        trainer_for(settings, 1, tmp_path, False)  # type: ignore[arg-type]
