"""Loggers that never ask and never fail a run. What they write in a real run is read back in test_train_script.py."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image
from pytorch_lightning.loggers import Logger
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from stylenet.system.errors import UserError
from stylenet.training import wandb_files
from stylenet.training.checkpointing import LAST
from stylenet.training.loggers import Wandb, make_logger

PICTURE = Image.new("RGB", (8, 8))


@pytest.fixture(autouse=True)
def no_run_is_left_open() -> Iterator[None]:
    yield
    wandb.finish()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom W&B does not know."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()  # it reads the environment once


def made(folder: Path, kind: str = "wandb", **settings: Any) -> Logger:
    logger = make_logger(kind, folder, "a style", {"steps": 3}, **settings)
    assert isinstance(logger, Logger)
    return logger


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What we said; W&B keeps a diary of its own."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("stylenet")]


def broken(*args: Any, **settings: Any) -> Any:
    raise OSError("no space left\non device")


def test_none_is_no_logger(tmp_path: Path):
    assert make_logger("none", tmp_path, "a style", {}) is False
    assert not [*tmp_path.iterdir()]


def test_an_unknown_kind_is_answered_with_the_known_ones(tmp_path: Path):
    with pytest.raises(UserError, match="nosuch.*wandb, tensorboard, trackio, csv, none"):
        make_logger("nosuch", tmp_path, "a style", {})


@pytest.mark.usefixtures("nobody")
def test_wandb_without_a_login_is_offline_and_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("builtins.input", broken)
    monkeypatch.setattr("getpass.getpass", broken)
    logger = made(tmp_path / "a run", project="p")
    assert isinstance(logger, Wandb) and logger.experiment.settings.mode == "offline"
    (line,) = said(caplog)
    assert "wandb login" in line and f"wandb sync '{tmp_path}/a run/wandb/offline-run-" in line  # a space: quoted


@pytest.mark.usefixtures("nobody")
def test_wandb_with_a_login_is_online_and_offline_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    tried, real = [], wandb.init

    def no_network(**settings: Any) -> Any:
        tried.append(settings["mode"])
        return broken() if settings["mode"] == "online" else real(**settings)

    monkeypatch.setattr(wandb, "init", no_network)
    logger = made(tmp_path)
    assert tried == ["online", "offline"] and isinstance(logger, Wandb)
    first, second = said(caplog)
    assert "does not work online: no space left on device" in first and "wandb sync" in second


def test_a_broken_wandb_gives_way_to_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(wandb, "init", broken)
    logger = made(tmp_path)
    logger.log_metrics({"train/loss": 0.5}, 3)
    logger.save()
    with (tmp_path / "csv/metrics.csv").open() as file:
        assert [*csv.DictReader(file)] == [{"step": "3", "train/loss": "0.5"}]
    assert str(tmp_path / "csv") in said(caplog)[-1] and all("\n" not in line for line in said(caplog))


def test_a_wandb_that_breaks_on_the_way_is_told_of_once_and_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    logger = made(tmp_path)
    assert isinstance(logger, Wandb)
    monkeypatch.setattr(logger.experiment, "log", broken)
    monkeypatch.setattr(wandb, "Artifact", broken)
    caplog.clear()
    logger.log_metrics({"train/loss": 0.5}, 1)
    logger.log_picture("sheet", PICTURE, 1)
    logger.keep_style(tmp_path / "missing.safetensors", {"styles": [], "training": {}})
    assert len(said(caplog)) == 1


def test_wandb_disabled_by_the_user_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = made(tmp_path)
    assert isinstance(logger, Wandb)
    logger.log_metrics({"train/loss": 0.5}, 1)
    logger.log_picture("sheet", PICTURE, 1)
    style = tmp_path / "a style.safetensors"
    style.touch()
    logger.keep_style(style, {"styles": [], "training": {}})
    assert said(caplog) == [] and not [*tmp_path.glob("wandb/*run-*")]


def test_any_file_name_makes_an_artifact(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """W&B allows letters, digits and three signs in the name of an artifact."""
    logger = made(tmp_path)
    assert isinstance(logger, Wandb)
    caplog.clear()
    style = tmp_path / "Mum's garden, (1)é.safetensors"
    style.write_bytes(b"weights")
    logger.keep_style(style, {"styles": [{"name": "a"}], "training": {"steps": 3}})
    assert said(caplog) == [] and wandb.run is None  # the next run of a sweep is one of its own


# --- after a kill


def killed(folder: Path, last: int, kept: int) -> None:
    """A run that logged the steps up to ``last``; W&B has ``kept`` bytes on disk when the kill comes."""
    logger = made(folder)
    logger.log_picture("style/a", Image.new("RGB", (8, 8)), 0)  # type: ignore[attr-defined]
    for step in range(1, last + 1):
        logger.log_metrics({f"train/{i}": step / (i + 3) for i in range(12)}, step)
        if step % 20 == 0:
            logger.log_metrics({"val/loss": 0.5 + step}, step)
    wandb.finish()
    wandb.teardown()
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert file.stat().st_size > kept
    os.truncate(file, kept)


ENDLESS = """
import sys
from pathlib import Path
from stylenet.training.loggers import make_logger
logger = make_logger("wandb", Path(sys.argv[1]), "a style", {}, project="p")
for step in range(1, 100_000):
    logger.log_metrics({f"train/{i}": step / (i + 3) for i in range(12)}, step)
"""


def resumed(folder: Path, checkpoint: int, end: int, elsewhere: Path | None = None) -> None:
    """The steps after that of the checkpoint, by another process as far as the logger can tell."""
    logger = make_logger("wandb", elsewhere or folder, "a style", {}, resume=folder / LAST, project="p")
    assert isinstance(logger, Wandb)
    logger.log_picture("style/a", PICTURE, 0)  # as every run begins
    logger.go_on(checkpoint)
    for step in range(checkpoint + 1, end + 1):
        logger.log_metrics({f"train/{i}": step / (i + 3) for i in range(12)}, step)
        if step % 20 == 0:
            logger.log_metrics({"val/loss": 0.5 + step}, step)
    wandb.finish()
    wandb.teardown()  # comes back when all is on disk


def runs(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("wandb/offline-run-*")]


def of_run(name: str) -> str:
    """The run's id in offline-run-<time>-<id>, or <id>-1 for the second folder within one second."""
    return name.removeprefix("offline-").split("-")[2]


def history(folder: Path) -> list[dict[str, Any]]:
    """All rows of all that W&B kept in the folder, in order of time."""
    rows = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        raw, at, data = path.read_bytes(), 7, b""
        while at + 7 <= len(raw):
            left = 32768 - at % 32768
            length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6] if left >= 7 else 0
            data, at = (data, at + left) if kind == 0 else (data + raw[at + 7 : at + 7 + length], at + 7 + length)
            if kind in (1, 4) and at <= len(raw):
                items = Record.FromString(data).history.item
                rows += [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}] if items else []
                data = b""
    return rows


def test_a_killed_run_and_the_resumed_one_are_one_run_to_wandb(tmp_path: Path):
    """W&B holds back up to 32 KiB when a kill comes."""
    killed(tmp_path, 90, kept=55_000)
    assert 40 < len(history(tmp_path)) < 90
    resumed(tmp_path, checkpoint=40, end=100)
    rows = history(tmp_path)
    assert [row["trainer/global_step"] for row in rows] == [*range(101)]
    assert [row["_step"] for row in rows] == [*range(101)]
    assert all(row[f"train/{i}"] == row["_step"] / (i + 3) for row in rows[1:] for i in range(12))
    assert {r["_step"]: r["val/loss"] for r in rows if "val/loss" in r} == {s: 0.5 + s for s in range(20, 101, 20)}
    assert [row["_step"] for row in rows if "style/a/filenames" in row] == [0]
    assert len(runs(tmp_path)) == 2 and len({of_run(name) for name in runs(tmp_path)}) == 1


def test_a_kill_leaves_rows_from_the_first_on_and_the_resumed_run_goes_on(tmp_path: Path):
    """A real kill, once W&B has two of its blocks of 32 KiB on disk."""
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not the tests' W&B process
    with subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path], env=own) as process:
        try:
            until = time.monotonic() + 300
            while sum(file.stat().st_size for file in tmp_path.glob("wandb/offline-run-*/*.wandb")) < 65_536:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.01)
        finally:
            process.kill()
    left = [row["_step"] for row in history(tmp_path)]
    assert left == [*range(1, len(left) + 1)] and len(left) > 20
    resumed(tmp_path, checkpoint=10, end=len(left) + 5)
    rows = [row for row in history(tmp_path) if "train/0" in row]
    assert [row["_step"] for row in rows] == [*range(1, len(left) + 6)]
    assert all(row["train/0"] == row["_step"] / 3 for row in rows)


def test_what_a_kill_took_from_wandb_is_given_again(tmp_path: Path):
    """Of a short run, as the kill leaves it, W&B has the head of a file, which it could not upload."""
    first = made(tmp_path)
    for step in range(1, 31):
        first.log_metrics({"train/loss": step / 2}, step)
    (tmp_path / "sheets").mkdir()
    PICTURE.save(tmp_path / "sheets" / "000020.jpg")
    (tmp_path / "sheets" / "000010.jpg").write_text("no picture")  # costs nothing but itself
    wandb.finish()
    wandb.teardown()
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    os.truncate(file, 7)
    resumed(tmp_path, checkpoint=25, end=30)
    rows = history(tmp_path)
    assert [row["_step"] for row in rows] == [*range(31)]
    assert [row["train/loss"] for row in rows[1:26]] == [step / 2 for step in range(1, 26)]
    assert [row["_step"] for row in rows if "style/a/filenames" in row] == [0]
    assert [row["_step"] for row in rows if "sheet/filenames" in row] == [20]
    assert len(runs(tmp_path)) == 1 and file.stem.removeprefix("run-") in runs(tmp_path)[0]


def test_what_a_kill_took_from_wandb_is_given_again_where_nothing_is_left_to_train(tmp_path: Path):
    """Killed after its last step: the resumed run is but the end of it, and nobody calls go_on."""
    first = made(tmp_path)
    for step in range(1, 11):
        first.log_metrics({"train/loss": step / 2}, step)
    wandb.finish()
    wandb.teardown()
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    os.truncate(file, 7)
    made(tmp_path, resume=tmp_path / LAST).log_metrics({"val/loss": 0.25}, 10)
    wandb.finish()
    wandb.teardown()
    rows = history(tmp_path)
    assert [row["train/loss"] for row in rows if "train/loss" in row] == [step / 2 for step in range(1, 11)]
    assert [row["_step"] for row in rows if "val/loss" in row] == [10]


def test_a_run_resumed_in_another_folder_is_the_same_run_to_wandb(tmp_path: Path):
    first = made(tmp_path / "a")
    for step in range(1, 9):
        first.log_metrics({"train/loss": step / 2}, step)
    wandb.finish()
    wandb.teardown()
    resumed(tmp_path / "a", checkpoint=8, end=12, elsewhere=tmp_path / "b")
    assert [row["_step"] for row in history(tmp_path / "b")] == [9, 10, 11, 12]
    assert {of_run(name) for name in runs(tmp_path / "a")} == {of_run(runs(tmp_path / "b")[0])}


def test_tensorboard_shows_no_step_twice(tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    first = made(tmp_path, "tensorboard")
    for step in range(1, 6):
        first.log_metrics({"train/loss": step / 2}, step)
    second = made(tmp_path, "tensorboard", resume=tmp_path / LAST)
    second.go_on(3)  # type: ignore[attr-defined]
    for step in range(4, 8):
        second.log_metrics({"train/loss": step / 2}, step)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(s, s / 2) for s in range(1, 8)]


# --- trackio


@pytest.fixture
def trackio_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trackio keeps runs, in this test alone."""
    trackio = pytest.importorskip("trackio")
    for module in [one for name, one in sys.modules.items() if name.startswith("trackio")]:
        if hasattr(module, "TRACKIO_DIR"):  # read from the environment when it was imported
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
        if hasattr(module, "MEDIA_DIR"):
            monkeypatch.setattr(module, "MEDIA_DIR", tmp_path / "trackio" / "media")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    assert trackio.TRACKIO_DIR == tmp_path / "trackio"
    return tmp_path / "trackio"


def charted(run: str, metric: str) -> list[tuple[int, float]]:
    """Steps and values of a run, as trackio's dashboard reads them."""
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    return [(row["step"], row[metric]) for row in storage.get_logs("stylenet", run) if metric in row]


def test_trackio_shows_no_step_twice_and_pictures(
    trackio_kept: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """The first run lost its steps after 2 in a kill, but for those that its CSV file had."""
    first = made(tmp_path, "trackio")
    for step in (1, 2):
        first.log_metrics({"train/loss": step / 2}, step)
    first.log_picture("sheet", PICTURE, 2)  # type: ignore[attr-defined]
    first.keep_style(tmp_path / "style", {})  # type: ignore[attr-defined]
    first.figures.log_metrics({"train/loss": 1.5}, 3)  # type: ignore[attr-defined]
    second = made(tmp_path, "trackio", resume=tmp_path / LAST)
    second.go_on(3)  # type: ignore[attr-defined]
    for step in (4, 5):
        second.log_metrics({"train/loss": step / 2}, step)
    second.keep_style(tmp_path / "style", {})  # type: ignore[attr-defined]
    assert charted("a style", "train/loss") == [(s, s / 2) for s in range(1, 6)]
    (picture,) = trackio_kept.rglob("*.png")
    with Image.open(picture) as shown:
        assert shown.size == PICTURE.size
    assert capfd.readouterr().out == ""  # which is for the path of the style


def test_a_second_run_of_a_name_has_charts_of_its_own(trackio_kept: Path, tmp_path: Path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        logger = made(tmp_path / str(number), "trackio")
        logger.log_metrics({"train/loss": float(number)}, 7)
        logger.keep_style(tmp_path / "style", {})  # type: ignore[attr-defined]
    assert charted("a style", "train/loss") == [(7, 1.0)] and charted("a style 2", "train/loss") == [(7, 2.0)]


def test_without_trackio_the_way_to_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match=r"logger=trackio needs the trackio package: pip install 'stylenet\[trackio\]'"):
        made(tmp_path, "trackio")


# --- W&B's environment


def sent(folder: Path) -> Any:
    """What W&B was told of the run itself, by the one run in ``folder``."""
    wandb.finish()
    wandb.teardown()  # comes back when all is on disk
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return next(
        record.run for record in wandb_files.records(path.read_bytes()) if record.WhichOneof("record_type") == "run"
    )


OUTSIDE = {"WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team", "WANDB_RUN_GROUP": "group", "WANDB_NAME": "called"}


def test_the_environment_of_wandb_comes_before_our_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_NOTES", "a note")
    wandb.teardown()
    made(tmp_path)
    run = sent(tmp_path)
    assert (run.project, run.entity, run.run_group, run.display_name) == ("theirs", "team", "group", "called")
    assert run.notes == "a note"


def test_what_is_typed_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "theirs"))
    wandb.teardown()
    mine = {"project": "p", "entity": "e", "group": "g", "called": "n", "dir": str(tmp_path / "mine")}
    for folder in ("theirs", "mine", "run"):
        (tmp_path / folder).mkdir()
    made(tmp_path / "run", **mine)
    run = sent(tmp_path / "mine")
    assert (run.project, run.entity, run.run_group, run.display_name) == ("p", "e", "g", "n")


def test_without_either_our_defaults_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in (*OUTSIDE, "WANDB_DIR"):
        monkeypatch.setenv(name, "")  # as a shell leaves what it was told to forget
    made(tmp_path, project=None, dir=None)
    run = sent(tmp_path)
    assert (run.project, run.display_name, run.entity) == ("stylenet", "a style", "")


def test_a_run_whose_files_wandb_has_elsewhere_goes_on_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In the folder that all projects share there are other runs, and later ones."""
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "all"))
    for folder in ("all", "a", "b"):
        (tmp_path / folder).mkdir()
    wandb.teardown()
    began = []
    for folder in ("a", "b"):
        logger = made(tmp_path / folder)
        began.append(logger.version)
        for step in range(1, 5):
            logger.log_metrics({"train/loss": step / 2}, step)
        wandb.finish()
        wandb.teardown()
    assert not [*tmp_path.glob("[ab]/wandb/*run-*")] and len(runs(tmp_path / "all")) == 2
    resumed(tmp_path / "a", checkpoint=4, end=6)
    ids = [of_run(name) for name in runs(tmp_path / "all")]
    rows = [row["_step"] for row in history(tmp_path / "all")]
    assert ids.count(began[0]) == 2 and len({*ids}) == 2 and sorted(rows) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 6]


def test_a_run_of_the_same_second_goes_on_as_one(tmp_path: Path):
    """W&B adds a number to the second folder within one second; it is still the run that it was."""
    logger = made(tmp_path)
    for step in range(1, 9):
        logger.log_metrics({"train/loss": step / 2}, step)
    wandb.finish()
    wandb.teardown()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    folder.rename(f"{folder}-1")
    resumed(tmp_path, checkpoint=5, end=10)
    assert sorted(row["_step"] for row in history(tmp_path)) == [*range(1, 11)]
    assert {of_run(name) for name in runs(tmp_path)} == {logger.version}


@pytest.mark.parametrize("word", ["true", "1", "YES"])
def test_wandb_disabled_in_its_old_way_is_disabled(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_DISABLED", word)
    logger = made(tmp_path)
    assert isinstance(logger, Wandb)
    logger.log_metrics({"train/loss": 0.5}, 1)
    assert not [*tmp_path.glob("wandb/*run-*")] and (tmp_path / "csv/metrics.csv").is_file()
