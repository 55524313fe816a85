"""Many runs: side by side, on a cluster, chosen by Optuna. As a user runs them, on the plugins as they are released."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, RunScript
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.errors import MissingConfigException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from stylenet.cli.hydra_app import explain, together_first
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.system.places import home

TINY = [
    *("style_size=64", "++net.widths=[4,8,16]", "net.blocks=1", "~loss.style_layers.relu3_3", "logger=none"),
    *("~loss.style_layers.relu4_3", "data.size=32", "data.val_size=32", "data.val=1", "data.batch_size=1"),
    *("data.workers=0", "trainer.accelerator=cpu", "trainer.checkpoint_every=1"),
]


def start(folder: Path, *words: str) -> subprocess.Popen:
    """``train.py -m`` with these words, in ``folder``: its sweep there, its styles in "out"."""
    given = os.environ | {"STYLENET_HOME": str(home()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts/train.py"), "-m", *words, *TINY, f"hydra.sweep.dir={folder}/sweep"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str, str]]:
    """All three at once, for most of their time is start-up: folder, exit code, stdout and stderr of each."""
    vgg_weights()
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    started = {}
    for name, words in {
        "optuna": ("style=great_wave", "experiment=optuna", "init=null", "steps=2", "hydra.sweeper.n_trials=2")
        + ("hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2"),
        "many": ("style=great_wave,starry_night,custom", *joblib, "steps=2", "out=out"),
        "interrupted": ("style=great_wave,summertime,street_in_auvers", *joblib, "steps=100000", "out=out"),
    }.items():
        folder = tmp_path_factory.mktemp(name)
        started[name] = folder, start(folder, *words)
    try:
        interrupt_when_under_way(*started["interrupted"])
        ended = {}
        for name, (folder, process) in started.items():
            stdout = process.communicate(timeout=300)[0]
            ended[name] = folder, process.returncode, stdout, (folder / "log").read_text()
        return ended
    finally:
        for _, process in started.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def interrupt_when_under_way(folder: Path, process: subprocess.Popen) -> None:
    """Ctrl-C, as a terminal sends it to all, when two runs have their first checkpoint."""
    end = time.monotonic() + 300
    while len([*folder.glob("sweep/*/last.ckpt")]) < 2:
        assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)


def test_styles_side_by_side_and_the_mistake_of_one_is_told_when_the_others_are_through(
    runs: dict[str, tuple[Path, int, str, str]],
):
    folder, code, stdout, stderr = runs["many"]
    assert code == 2, stderr
    assert sorted(stdout.split()) == ["out/great_wave.safetensors", "out/starry_night.safetensors"]
    for path in stdout.split():
        _, info = checkpoint.load(folder / path)
        assert [style["name"] for style in info["styles"]] == [Path(path).stem] and info["training"]["steps"] == 2
    lines = stderr.splitlines()
    assert lines[-1] == "Please give style.custom.image=... (--help explains)." and "Traceback" not in stderr
    assert "style=custom" in lines[-2]


def test_ctrl_c_lets_the_runs_under_way_save_and_begins_no_other(runs: dict[str, tuple[Path, int, str, str]]):
    folder, code, stdout, stderr = runs["interrupted"]
    assert code == 130 and "Traceback" not in stderr, stderr
    assert len(stdout.split()) == 2 and all((folder / path).is_file() for path in stdout.split())
    assert len([*folder.glob("sweep/*/last.ckpt")]) == 2


def test_optuna_is_told_style_and_content_of_each_run_on_submitit(runs: dict[str, tuple[Path, int, str, str]]):
    folder, code, _, stderr = runs["optuna"]
    assert code == 0, stderr
    found = OmegaConf.load(folder / "sweep/optimization_results.yaml")
    measured = {}
    for number in range(2):
        (path,) = (folder / f"sweep/{number}").glob("*.safetensors")
        _, info = checkpoint.load(path)
        assert 1 <= info["loss"]["style_weight"] <= 16
        measured[info["loss"]["style_weight"]] = info["training"]["val"]
    assert len(measured) == 2 and len(found.solutions) >= 1
    for solution in found.solutions:
        val = measured[solution.params["loss.style_weight"]]
        assert list(solution["values"]) == pytest.approx([val["style"], val["content"]], abs=1e-5)


def test_a_job_on_slurm_asks_for_what_a_training_needs():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        words = ["style=great_wave", "hydra/launcher=slurm", "hydra.launcher.partition=gpu"]
        config = compose("train", words, return_hydra_config=True)
    assert config.hydra.launcher._target_.endswith("SlurmLauncher")
    launcher = OmegaConf.masked_copy(
        config.hydra.launcher, [k for k in config.hydra.launcher if k != "submitit_folder"]
    )
    asked = instantiate(launcher).params
    assert (asked["partition"], asked["gpus_per_node"], asked["tasks_per_node"]) == ("gpu", 1, 1)
    assert asked["timeout_min"] > 60 and asked["max_num_timeout"] == 0


@pytest.mark.parametrize("name", ["hydra/launcher/joblib", "hydra/launcher/submitit_slurm", "hydra/sweeper/optuna"])
def test_a_plugin_that_is_not_installed_is_named_with_what_brings_it(name: str):
    line = explain(MissingConfigException("", missing_cfg_file=name, options=["basic"]), "train")
    assert name.rpartition("/")[2] in line and "pip install 'stylenet[sweep]'" in line and "\n" not in line


# --- words in any order


@pytest.mark.parametrize(
    "words",
    [
        ["style=great_wave,udnie", "-m", "steps=2", "out=null"],
        ["--multirun", "style=great_wave", "steps=2"],
        ["a=1", "--cfg", "job", "b=2", "--resolve", "~c", "+d=-1"],
        ["a=1", "-cn", "train", "-m", "b=2"],
        ["a=1", "--info", "plugins", "b=2", "--cfg=job", "c=3"],
        ["a=1", "--info", "b=2"],
        ["a=1", "-", "b=2"],
        [],
    ],
)
def test_what_is_written_on_both_sides_of_an_option_of_hydra_is_understood(words: list[str]):
    parsed = get_args_parser().parse_args(together_first(words))
    assert parsed.overrides == [word for word in words if "=" in word and word[:2] != "--" or word in ("~c", "-")]
    assert parsed.multirun == ("-m" in words or "--multirun" in words)
    assert parsed.cfg == ("job" if {"--cfg", "--cfg=job"} & {*words} else None)
    assert parsed.info == ("plugins" if "plugins" in words else "all" if "--info" in words else None)


def test_options_on_both_sides_of_m_begin_the_runs(tmp_path: Path):
    process = start(tmp_path, "style=great_wave,custom", "-m", "steps=1", "out=out")
    stdout = process.communicate(timeout=300)[0]
    said = (tmp_path / "log").read_text()
    assert stdout == "out/great_wave.safetensors\n" and "usage:" not in said, said
    assert "style.custom.image=" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["-q"], "There is no option -q."), (["--nosuch"], "--nosuch"), (["--cfg", "what"], "invalid choice: 'what'")],
)
def test_an_option_that_hydra_does_not_know_is_answered_in_a_line(words: list[str], told: str, run_script: RunScript):
    done = run_script("train.py", "style=great_wave", *words)
    assert done.returncode == 2 and done.stdout == "" and told in done.stderr
    assert len(done.stderr.splitlines()) == 1 and "--help" in done.stderr
