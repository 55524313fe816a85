"""scripts/train.py a second time: no finished style, no folder and no setting of an earlier run is lost in silence."""

from pathlib import Path

import pytest
from test_train_script import Run, metadata

from stylenet.losses.vgg_weights import vgg_weights

SHORT = ("steps=1", "data.workers=0", "logger=none", "data.val=1", "trainer.val_every=1", "trainer.checkpoint_every=1")


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    vgg_weights()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*"))


# --- finished styles


def test_each_run_of_a_sweep_has_a_style_of_its_own_and_earlier_ones_stay(tmp_path: Path):
    first = Run(tmp_path, "style=great_wave", *SHORT).done()
    before = first.style.read_bytes()
    sweep = Run(tmp_path, "-m", "style=great_wave", *SHORT, "seed=1,2", f"hydra.sweep.dir={tmp_path / 'sweep'}").done()
    assert sweep.process.returncode == 0, sweep.stderr
    written = [Path(line) for line in sweep.stdout.splitlines()]
    assert [path.name for path in written] == ["great_wave_2.safetensors", "great_wave_3.safetensors"]
    assert [metadata(path)["training"]["data"]["seed"] for path in written] == [1, 2]
    assert first.style.read_bytes() == before
    assert sweep.stderr.count("great_wave.safetensors is there already and stays") == 2


def test_overwrite_replaces_and_a_sweep_its_own_runs_never(tmp_path: Path):
    first = Run(tmp_path, "style=great_wave", *SHORT).done()
    words = ("-m", "style=great_wave", *SHORT, "loss.style_weight=5,6", "overwrite=true")
    sweep = Run(tmp_path, *words, f"hydra.sweep.dir={tmp_path / 'sweep'}").done()
    assert names(first.out) == ["great_wave.safetensors", "great_wave_2.safetensors"]
    written = [Path(line) for line in sweep.stdout.splitlines()]
    assert [metadata(path)["loss"]["style_weight"] for path in written] == [5, 6] and written[0] == first.style


# --- going on


def test_going_on_with_other_options_is_told_on_stderr_and_another_painting_refused(tmp_path: Path):
    first = Run(tmp_path, "style=great_wave", *SHORT).done()
    same = Run(tmp_path / "same", "style=great_wave", *SHORT, f"out={first.out}", f"resume={first.last}").done()
    assert same.stdout == first.stdout and "other settings" not in same.stderr  # nothing was left to do
    words = (*SHORT[1:], f"resume={first.last}", f"hydra.run.dir={tmp_path / 'b'}")
    longer = Run(tmp_path, "style=great_wave", "steps=2", "optimizer.lr=0.01", *words).done()
    assert "other settings from step 1 on: steps=2 (before: 1); optimizer.lr=0.01 (before: 0.001)" in longer.stderr
    assert longer.style.name == "great_wave_2.safetensors"  # the one of one step was finished
    changes = [{"step": 1, "steps": [1, 2], "optimizer.lr": [0.001, 0.01]}]
    assert metadata(longer.style)["training"]["changes"] == changes
    other = Run(tmp_path, "style=starry_night", "++style.starry_night.size=128", *SHORT, *words).done()
    assert other.process.returncode == 2 and other.stdout == ""
    line = other.stderr.splitlines()[-1]
    assert "great_wave.jpg" in line and "starry_night.jpg" in line and "Traceback" not in other.stderr
