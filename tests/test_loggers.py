"""Loggers that never ask and never fail a run. What they write in a real run is read back in test_train_script.py."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger

from stylenet.errors import UserError
from stylenet.loggers import Wandb, make_logger

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
    with pytest.raises(UserError, match="nosuch.*wandb, tensorboard, csv, none"):
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


def test_csv_takes_lightnings_options(tmp_path: Path):
    logger = made(tmp_path, "csv", flush_logs_every_n_steps=1)
    assert isinstance(logger, CSVLogger)
    logger.log_metrics({"x": 1.0}, 1)
    assert (tmp_path / "csv/metrics.csv").exists()
