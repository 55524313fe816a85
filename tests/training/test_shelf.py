"""Finished styles are not lost: they are replaced on demand only, and no two runs write one file."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from stylenet.nets import checkpoint, registry
from stylenet.nets.base import StyleNet
from stylenet.system.atomic import Taken, replacing
from stylenet.system.errors import UserError
from stylenet.training.shelf import UNFINISHED, Shelf


def net(seed: int = 0) -> StyleNet:
    torch.manual_seed(seed)
    return registry.build("johnson", widths=(4, 4, 4), blocks=0)


def info(steps: int = 4, reference: float = 1.0, **training: Any) -> dict[str, Any]:
    styles = [{"name": "a", "sha256": "0", "size": 64}]
    calibration = {"content_reference_relu2_2": reference}
    return {"styles": styles, "loss": {}, "calibration": calibration, "training": {"steps": steps} | training}


def steps(path: Path) -> int:
    return checkpoint.load(path)[1]["training"]["steps"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*"))


def test_a_finished_style_stays_and_the_next_ones_are_numbered(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "a.safetensors"
    written = [Shelf(path).keep(net(), info(number)) for number in (1, 2, 3)]
    assert [file.name for file in written] == ["a.safetensors", "a_2.safetensors", "a_3.safetensors"]
    assert [steps(file) for file in written] == [1, 2, 3]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and str(path) in said[0] and str(written[1]) in said[0] and "overwrite=true" in said[0]


def test_it_is_replaced_where_that_was_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "a.safetensors"
    Shelf(path).keep(net(), info(1))
    assert Shelf(path, overwrite=True).keep(net(), info(2)) == path
    assert steps(path) == 2 and names(tmp_path) == ["a.safetensors"] and not caplog.records
    with pytest.raises(UserError, match="overwrite=maybe: give true or false"):
        Shelf(path, overwrite="maybe")  # type: ignore[arg-type]


def test_what_one_run_writes_twice_is_one_file(tmp_path: Path):
    """Before its last validation and after it."""
    shelf = Shelf(tmp_path / "a.safetensors")
    shelf.keep(net(), info(4, **{UNFINISHED: True}))
    shelf.keep(net(), info(4, val={"loss": 1.0}))
    assert names(tmp_path) == ["a.safetensors"]
    assert checkpoint.load(shelf.path)[1]["training"] == {"steps": 4, "val": {"loss": 1.0}}


def test_a_resumed_run_finishes_its_own_style_under_its_name(tmp_path: Path):
    """Another's stays, be it unfinished too; what was finished already and comes out the same is one file."""
    path = tmp_path / "a.safetensors"
    Shelf(path).keep(net(), info(2, reference=7.0, **{UNFINISHED: True}))  # another's
    own = Shelf(path).keep(net(), info(2, **{UNFINISHED: True}))
    assert own.name == "a_2.safetensors"
    assert Shelf(path, resumed=True).keep(net(), info(4)) == own
    again = Shelf(path, resumed=True)
    again.keep(net(), info(4, **{UNFINISHED: True}))
    assert UNFINISHED not in checkpoint.load(own)[1]["training"]  # the finished one is whole at every moment
    assert again.keep(net(), info(4)) == own
    assert Shelf(path, resumed=True).keep(net(), info(9)).name == "a_3.safetensors"  # gone on with after its end
    assert [steps(tmp_path / name) for name in names(tmp_path)] == [2, 4, 9]


def test_a_stopped_run_keeps_away_from_names_that_there_are(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    assert Shelf(path).keep(net(), info(2), stopped_at=2) == path
    assert Shelf(path).keep(net(), info(3), stopped_at=3).name == "a_at_3.safetensors"
    assert Shelf(path).keep(net(), info(3), stopped_at=3).name == "a_at_3_2.safetensors"
    shipped = Shelf(tmp_path / "starry_night.safetensors").keep(net(), info(3), stopped_at=3)
    assert shipped.name == "starry_night_at_3.safetensors"


@pytest.mark.parametrize("overwrite", [False, True])
def test_runs_of_a_sweep_never_share_a_file(overwrite: bool, tmp_path: Path):
    """All at once; overwriting, they replace what was there before them, and not each other's."""
    path, claims = tmp_path / "out/a.safetensors", tmp_path / "sweep/.styles"
    Shelf(path).keep(net(), info(99))
    written: list[Path] = []

    def one(number: int) -> None:
        written.append(Shelf(path, overwrite, claims=claims).keep(net(number), info(number)))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*written}) == 6
    assert sorted(steps(file) for file in written) == [*range(1, 7)]
    assert (path in written) == overwrite and len(names(path.parent)) == (6 if overwrite else 7)


def test_a_name_is_taken_at_the_last_moment_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also where a file system has no links."""
    path = tmp_path / "a.txt"

    def no_links(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    for _ in range(2):
        with replacing(path, new=True) as temp:
            temp.write_text("mine")
        with pytest.raises(Taken), replacing(path, new=True) as temp:
            temp.write_text("late")
        assert path.read_text() == "mine" and names(tmp_path) == ["a.txt"]
        path.unlink()
        monkeypatch.setattr(os, "link", no_links)


def test_it_is_said_which_file_a_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    shipped = checkpoint.known()["udnie"]
    for folder, told in (
        ("elsewhere", "ckpt=udnie still means"),
        ("checkpoints", "ckpt=udnie now means checkpoints/udnie"),
    ):
        caplog.clear()
        shelf = Shelf(Path(folder) / "udnie.safetensors")
        shelf.keep(net(), info())
        shelf.tell()
        (line,) = [record.getMessage() for record in caplog.records]
        assert told in line and str(shipped) in line and f"{folder}/udnie.safetensors" in line
    caplog.clear()
    for name in ("udnie", "new"):  # udnie_2 and new meant nothing before
        shelf = Shelf(Path("checkpoints") / f"{name}.safetensors")
        shelf.keep(net(), info())
        shelf.tell()
    assert len(caplog.records) == 1 and "is there already" in caplog.text
