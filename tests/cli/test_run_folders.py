"""Every run has a folder of its own, however many begin in the same second."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import OmegaConf
from test_train_again import SHORT, names
from test_train_script import Run

from stylenet.cli import hydra_app as cli


@pytest.fixture
def one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's runs go to a folder, and the clock stands still."""
    monkeypatch.setattr(cli, "_claimed", {})
    OmegaConf.register_new_resolver("project", lambda path: str(tmp_path / path), replace=True)
    before = HydraConfig.instance().cfg
    yield tmp_path
    HydraConfig.instance().cfg = before
    setup_globals()
    OmegaConf.register_new_resolver("project", cli.RESOLVERS["project"], replace=True)


def folder(which: str, *words: str) -> str:
    """Where Hydra puts what a process writes that was started with these words, asked for as often as Hydra does."""
    cli._claimed.clear()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("train", ["style=great_wave", *words], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    OmegaConf.register_new_resolver("now", lambda form: "now", replace=True)  # composing brought the clock back
    copies: list[Any] = [config, config, HydraConfig.instance().cfg]
    asked = {str(OmegaConf.select(one, which)) for one in copies}
    assert len(asked) == 1
    return asked.pop()


def test_runs_of_the_same_second_have_folders_of_their_own(one_second: Path):
    runs = [folder("hydra.run.dir") for _ in range(3)]
    assert [Path(run).name for run in runs] == ["now", "now_2", "now_3"]
    assert names(one_second / "runs/great_wave") == ["now", "now_2", "now_3"]
    assert [Path(folder("hydra.sweep.dir")).name for _ in range(2)] == ["now", "now_2"]


def test_a_resumed_run_goes_on_in_its_folder_and_makes_no_other(one_second: Path):
    (one_second / "a/.hydra").mkdir(parents=True)
    last = one_second / "a/last.ckpt"
    last.touch()
    assert folder("hydra.run.dir", f"resume='{last}'") == str(one_second / "a")
    assert not (one_second / "runs").exists()


def test_only_the_first_process_of_a_training_makes_a_folder(one_second: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    folder("hydra.run.dir")
    assert not (one_second / "runs").exists()
    monkeypatch.setenv("SLURM_PROCID", "0")  # as every task of an array of jobs has
    assert Path(folder("hydra.run.dir")).is_dir()


def test_who_asks_for_the_config_makes_no_folder(one_second: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "style=great_wave", "--cfg", "hydra", "--resolve"])
    folder("hydra.run.dir")
    assert not (one_second / "runs").exists()


AT_ONCE = """
import sys, time
sys.path[:0] = sys.argv[2:]
from stylenet.cli import hydra_app as cli
print("ready", flush=True)
sys.stdin.readline()
print(cli.claimed(sys.argv[1]), flush=True)
"""


def test_processes_at_the_same_moment_have_folders_of_their_own(tmp_path: Path):
    command = [sys.executable, "-c", AT_ONCE, str(tmp_path / "runs/x"), str(ROOT)]
    pipe = subprocess.PIPE
    several = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for process in several:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in several:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [process.communicate(timeout=60)[0].strip() for process in several]
    assert sorted(Path(one).name for one in claimed) == ["x", "x_2", "x_3", "x_4"]
    assert names(tmp_path / "runs") == ["x", "x_2", "x_3", "x_4"]


def test_two_trainings_of_one_second_keep_their_checkpoints_apart(tmp_path: Path):
    """The second one on two processes, which share its folder."""
    wanted = f"hydra.run.dir='${{run_of:${{resume}},{tmp_path}/x}}'"
    first = Run(tmp_path / "1", "style=great_wave", *SHORT, wanted).done()
    ddp = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    second = Run(tmp_path / "2", "style=great_wave", *SHORT, *ddp, wanted).done()
    assert first.process.returncode == second.process.returncode == 0, second.stderr
    assert (tmp_path / "x/last.ckpt").is_file() and (tmp_path / "x_2/last.ckpt").is_file()
    assert [name for name in names(tmp_path) if name.startswith("x")] == ["x", "x_2"]
