"""A resumed run is the one that was begun: what must not be another is refused, what may be is named and recorded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_training import LOSS, NET, OPTIMIZER, STYLE, TRAINER

from stylenet.data.datamodule import Photos
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError
from stylenet.training.module import StyleTransfer
from stylenet.training.schedule import Schedule
from stylenet.training.trainer import train, trainer_for

pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:You're resuming from a checkpoint")
DATA: dict[str, Any] = {"size": 32, "margin": 0, "val_size": 32, "scale": (0.5, 1.0), "ratio": (0.8, 1.25)}
DATA |= {"flip": True, "batch_size": 2, "workers": 0, "val": 1}


def run(folder: Path, name: str, last: Path | None = None, steps: int = 4, **other: Any) -> Path:
    """A tiny training, of two steps unless it goes on from ``last``, with what is ``other`` than usual."""
    torch.manual_seed(0)
    styles = [STYLE | {"name": name} | more for name, more in other.get("styles", {"starry_night": {}}).items()]
    schedule = Schedule(steps, other.get("minutes"))
    net, loss, optimizer = (
        usual | other.get(key, {}) for key, usual in (("net", NET), ("loss", LOSS), ("optimizer", OPTIMIZER))
    )
    model = StyleTransfer(net, loss, styles, optimizer, schedule.steps, schedule=schedule)
    photos = Photos(steps=schedule.steps, seed=other.get("seed", 0), **(DATA | other.get("data", {})))
    trainer = trainer_for(TRAINER | other.get("trainer", {}), steps if last else 2, folder / name, False)
    return train(model, photos, trainer, folder / f"{name}.safetensors", str(last) if last else None)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of which two steps of four are done."""
    folder = tmp_path_factory.mktemp("begun")
    run(folder, "a")
    return folder / "a/last.ckpt"


def training(style: Path) -> dict[str, Any]:
    return checkpoint.load(style)[1]["training"]


def test_an_unchanged_run_goes_on_in_silence(begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    style = run(tmp_path, "rest", begun, data={"workers": 1, "root": None})
    assert "other settings" not in caplog.text and "changes" not in training(style)


CHANGES: list[tuple[dict[str, Any], str, list[Any]]] = [
    ({"optimizer": {"lr": 3e-3}}, "optimizer.lr=0.003 (before: 0.01)", ["optimizer.lr", 0.01, 0.003]),
    ({"optimizer": {"warmup": 7}}, "optimizer.warmup=7 (before: 2)", ["optimizer.warmup", 2, 7]),
    ({"seed": 5}, "seed=5 (before: 0)", ["seed", 0, 5]),
    ({"steps": 5}, "steps=5 (before: 4)", ["steps", 4, 5]),
    ({"minutes": 0.2}, "minutes=0.2 (before: null)", ["minutes", None, 0.2]),
    ({"styles": {"starry_night": {"size": 64}}}, "style.starry_night.size=64 (before: 48)", ["style.0.size", 48, 64]),
    ({"loss": {"style_weight": 8.0}}, "loss.style_weight=8.0 (before: 4.0)", ["loss.style_weight", 4.0, 8.0]),
    ({"loss": {"repeat_weight": 0.5}}, "loss.repeat_weight=0.5 (before: 0.0)", ["loss.repeat_weight", 0.0, 0.5]),
    ({"data": {"size": 48}}, "data.size=48 (before: 32)", ["data.size", 32, 48]),
    ({"data": {"batch_size": 1}}, "data.batch_size=1 (before: 2)", ["data.batch_size", 2, 1]),
    ({"data": {"flip": False}}, "data.flip=false (before: true)", ["data.flip", True, False]),
    ({"trainer": {"ema": 0.9}}, "trainer.ema=0.9 (before: null)", ["trainer.ema", None, 0.9]),
    (
        {"trainer": {"precision": "bf16-mixed"}},
        "bf16-mixed (before: 32-true)",
        ["trainer.precision", "32-true", "bf16-mixed"],
    ),
    ({"trainer": {"gradient_clip_val": 1.0}}, "clip_val=1.0 (before: 10.0)", ["trainer.gradient_clip_val", 10.0, 1.0]),
]


@pytest.mark.filterwarnings("ignore:The checkpoint was not created with")
@pytest.mark.parametrize(("other", "told", "kept"), CHANGES)
def test_what_is_other_than_before_is_named_with_both_values_and_recorded(
    other: dict[str, Any], told: str, kept: list[Any], begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    style = run(tmp_path, "rest", begun, **other)
    (line,) = [record.getMessage() for record in caplog.records if "other settings" in record.getMessage()]
    assert told in line and "from step 2 on" in line and "\n" not in line
    name, *both = kept
    (change,) = training(style)["changes"]
    assert change["step"] == 2 and change[name] == both


def test_the_learning_rate_that_was_given_is_the_one_that_is_used(begun: Path, tmp_path: Path):
    """With next to none the weights stay as they were; and the change is remembered by the next run that goes on."""
    still = load_file(run(tmp_path, "still", begun, optimizer={"lr": 1e-9}))
    saved = torch.load(begun, weights_only=True)["state_dict"]
    assert all((value - saved[f"net.{key}"]).abs().max() < 1e-6 for key, value in still.items())
    again = run(tmp_path, "again", tmp_path / "still/last.ckpt", steps=5, optimizer={"lr": 1e-9})
    first, second = training(again)["changes"]
    assert first["optimizer.lr"] == [0.01, 1e-9] and second == {"step": 4, "steps": [4, 5]}


@pytest.mark.parametrize("steps", [4, 3])
def test_a_run_that_is_through_says_so_and_stays_as_it_is(
    steps: int, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    whole = run(tmp_path, "whole", begun)
    assert "nothing is left" not in caplog.text
    style = run(tmp_path, "again", tmp_path / "whole/last.ckpt", steps=steps)
    assert f"whole/last.ckpt has done 4 steps, and steps={steps} asks for no more" in caplog.text
    before, after = load_file(whole), load_file(style)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert training(style)["steps"] == 4
    caplog.clear()
    run(tmp_path, "more", tmp_path / "whole/last.ckpt", steps=5)
    assert "nothing is left" not in caplog.text


def test_a_folder_of_photos_is_one_wherever_it_is_looked_at_from(
    begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Another one is named; the style file tells its name, and not where it lay."""
    (tmp_path / "photos").mkdir()
    for number in range(5):
        noise = torch.randint(256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        Image.fromarray(noise.numpy()).save(tmp_path / f"photos/{number}.png")
    style = run(tmp_path, "other", begun, data={"root": tmp_path / "photos"})
    assert f"data.root={tmp_path}/photos (before: null)" in caplog.text
    assert training(style)["changes"] == [{"step": 2, "data.root": [None, "photos"]}]
    caplog.clear()
    monkeypatch.chdir(tmp_path)
    run(tmp_path, "same", tmp_path / "other/last.ckpt", data={"root": "photos"})
    assert "other settings" not in caplog.text


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"styles": {"starry_night": {"image": "great_wave.jpg"}}},
        "another painting: starry_night.jpg, and here it is great_wave.jpg",
    ),
    ({"net": {"upsample": "nearest"}}, "net.upsample was blur and is nearest here"),
    ({"net": {"output": "linear"}}, "net.output was sigmoid and is linear here"),
    ({"net": {"noise": 1}}, "net.noise was 0 and is 1 here"),
    ({"loss": {"scale": "johnson"}}, "loss.scale was calibrated and is johnson here"),
    ({"loss": {"content_layers": {"relu1_2": 1.0}}}, r'content_layers was \["relu2_2"\] and is \["relu1_2"\] here'),
    (
        {"styles": {"starry_night": {}, "great_wave": {"image": "great_wave.jpg"}}},
        "number of styles was 1 and is 2 here",
    ),
    ({"optimizer": {"norms": 3}}, "optimizer.norms .* was false and is true here"),
]


@pytest.mark.parametrize(("other", "told"), REFUSED)
def test_another_painting_network_or_loss_is_refused_in_a_line(
    other: dict[str, Any], told: str, begun: Path, tmp_path: Path
):
    with pytest.raises(UserError, match=told) as refused:
        run(tmp_path, "rest", begun, **other)
    assert f"resume={begun}" in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "rest.safetensors").exists()


def test_another_picture_of_the_same_name_is_another_painting(tmp_path: Path):
    file = tmp_path / "mine.png"
    for number in range(2):
        noise = torch.randint(256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        Image.fromarray(noise.numpy()).save(file)
        styles = {"mine": {"image": str(file)}}
        if number == 0:
            run(tmp_path, "a", styles=styles)
            moved = file.rename(tmp_path / "moved.png")
            run(tmp_path, "b", tmp_path / "a/last.ckpt", styles={"mine": {"image": str(moved)}})  # the same picture
        else:
            with pytest.raises(UserError, match=r"mine.png \(sha256 .*another of that name \(sha256"):
                run(tmp_path, "c", tmp_path / "a/last.ckpt", styles=styles)


@pytest.mark.parametrize("without", ["settings", "stylenet"])
def test_a_checkpoint_of_before_these_were_recorded_still_resumes(
    without: str, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """What its style tells is compared all the same."""
    saved = torch.load(begun, weights_only=True)
    del saved["settings"]
    if without == "stylenet":
        del saved["stylenet"]
    old = tmp_path / "last.ckpt"
    torch.save(saved, old)
    whole = load_file(run(tmp_path, "new", begun))
    other = load_file(run(tmp_path, "old", old))
    assert all(torch.equal(whole[key], other[key]) for key in whole) and "other settings" not in caplog.text
    run(tmp_path, "changed", old, optimizer={"lr": 0.02})
    assert ("optimizer.lr=0.02 (before: 0.01)" in caplog.text) == (without == "settings")
