"""The experiments under benchmarks/: tiny trainings, nothing done twice, figures that mean what they say."""

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from stylenet.nets import checkpoint
from stylenet.nets.cost import multiply_adds
from stylenet.nets.registry import NETS, build

ROOT = Path(__file__).resolve().parents[2]
TINY = "extra=[data.workers=0,data.size=32,data.batch_size=1,data.val_size=32,optimizer.warmup=1]"

Experiment = Callable[..., int]


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Experiment]:
    """``experiment("designs", "out=...")``: as on the command line, in this process; returns the exit code."""

    def run(script: str, *arguments: str) -> int:
        module = importlib.import_module(f"benchmarks.experiments.{script}")
        monkeypatch.setattr("sys.argv", [script, *arguments])
        try:
            module.answering(module.main)
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    with patch.dict(NETS):  # the light networks are registered in this process too
        yield run


def test_designs_are_trained_once_measured_and_drawn(
    experiment: Experiment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    arguments = [f"out={tmp_path}", "only=[eighth]", "style=great_wave", "steps=2", "size=32", "batch=1", TINY]
    arguments += ["photos=2", "photo_size=64", "rounds=1", "side=32"]
    assert experiment("designs", *arguments) == 0
    row = json.loads((tmp_path / "designs.json").read_text())["designs"]["eighth"]
    style = tmp_path / "eighth" / "style.safetensors"
    _, info = checkpoint.load(style)
    assert info["net"] == row["net"] and info["training"]["steps"] == 2
    assert row["val"] == {name: info["training"]["val"][name] for name in ("loss", "style", "content")}
    assert row["multiply_adds"] == multiply_adds(build(row["net"]["name"], **row["net"]["args"]))
    assert str(tmp_path) not in (tmp_path / "designs.json").read_text()
    assert (tmp_path / "designs.png").stat().st_size > 1000 and (tmp_path / "designs.jpg").stat().st_size > 1000
    assert f"| eighth | {row['val']['loss']:.4f} |" in capfd.readouterr().out
    before = style.stat().st_mtime_ns
    assert experiment("designs", *arguments) == 0
    assert "train.py" not in capfd.readouterr().err
    assert experiment("designs", *arguments, "batch=2") == 2
    assert "other arguments" in capfd.readouterr().err
    assert style.stat().st_mtime_ns == before


def test_warm_and_cold_starts_are_measured_by_one_loss(
    experiment: Experiment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """What is given as the full training is the end of the cold run, so both must have the same loss."""
    full = tmp_path / "great_wave" / "cold" / "style.safetensors"
    arguments = [f"out={tmp_path}", "paintings=[great_wave]", "steps=2", "every=1", "photos=2", "photo_size=64"]
    arguments += [TINY, f"full=[{full}]"]
    assert experiment("warm_start", *arguments) == 0
    row = json.loads((tmp_path / "warm_start.json").read_text())["paintings"]["great_wave"]
    for start in ("warm", "cold"):
        assert [moment["step"] for moment in row[start]] == [1, 2]
        assert 0 < row[start][0]["seconds"] <= row[start][1]["seconds"] < 600
    assert row["cold"][1]["loss"] == pytest.approx(row["full"]["loss"], rel=1e-3)  # the moments are kept in 16 bits
    assert row["warm"][1]["loss"] < row["cold"][1]["loss"]
    assert row["warm_over_full"] == pytest.approx(row["warm"][1]["loss"] / row["full"]["loss"], abs=1e-3)
    assert row["seconds_to_115_percent"] == row["warm"][0]["seconds"]
    capfd.readouterr()
    assert experiment("warm_start", *arguments) == 0
    assert "train.py" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("designs", ["only=[tenth]"], "There are: johnson"),
        ("designs", ["stepps=3"], "steps="),
        ("warm_start", [], "paintings="),
        ("warm_start", ["paintings=[great_wave]", "full=[a,b]"], "full= lists 2 styles for 1 paintings"),
        ("warm_start", ["paintings=[great_wave]", "bases=[]"], "bases= lists 0 styles for 1 paintings"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    experiment: Experiment,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    script: str,
    arguments: list[str],
    told: str,
):
    assert experiment(script, f"out={tmp_path}", *arguments) == 2
    said = capfd.readouterr().err
    assert told in said and len(said.splitlines()) == 1


def test_networks_for_any_style_are_measured_once_and_shown(
    experiment: Experiment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    net = build("predicted", widths=(4, 4, 4), blocks=1, code=3, hidden=4)
    ckpt = checkpoint.save(tmp_path / "small.safetensors", net, {"styles": []})
    assets = ROOT / "stylenet/assets"
    paintings = [assets / "styles/great_wave.jpg", assets / "styles/starry_night.jpg"]
    unseen = tmp_path / "unseen.txt"
    unseen.write_text("".join(f"{one}\n" for one in paintings))
    arguments = [f"ckpts=[{ckpt}]", f"paintings={unseen}", f"photos={assets / 'photos/val'}", "count=2", "size=64"]
    assert experiment("any_style", *arguments, f"out={tmp_path / 'any.json'}") == 0
    found = json.loads((tmp_path / "any.json").read_text())["small"]
    figures = found["paintings"]
    assert figures.keys() == {"great_wave", "starry_night"}
    assert found["mean"]["style"] == pytest.approx(sum(one["style"] for one in figures.values()) / 2, abs=1e-3)
    assert found["megabytes"] > 5 and found["seconds_at_512"] > 0
    before = (tmp_path / "any.json").stat().st_mtime_ns
    assert experiment("any_style", *arguments, f"out={tmp_path / 'any.json'}") == 0
    assert (tmp_path / "any.json").stat().st_mtime_ns == before
    shown = [f"shown=[{assets / 'photos/val/castle.jpg'}]", f"page={tmp_path / 'any.png'}", "side=40", "painted=48"]
    assert experiment("any_style", arguments[0], arguments[1], *shown) == 0
    with Image.open(tmp_path / "any.png") as page:
        assert page.size == (3 * 40 + 2 * 8 + 16, 2 * 40 + 8 + 16)  # two paintings and the photo's column, 8 px apart
    assert experiment("any_style", arguments[0]) == 2
    assert "paintings= and photos= are missing" in capfd.readouterr().err
