"""Which styles are at hand: what their files say, which file a name means, and what hides behind it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stylenet
from stylenet.nets import catalog, checkpoint
from stylenet.nets.registry import build
from stylenet.stylizing.cells import of_known
from stylenet.stylizing.controls import Controls
from stylenet.system.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and a package with styles of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stylenet.system.places.CLONE", tmp_path / "clone")
    monkeypatch.setattr(catalog, "ASSETS", tmp_path / "assets")
    torch.manual_seed(0)
    return tmp_path


def style(path: Path, *titles: str) -> Path:
    net = build("johnson", widths=(4, 6, 8), blocks=1, n_styles=len(titles))
    styles = [{"name": f"s{number}", "title": title} for number, title in enumerate(titles)]
    return checkpoint.save(path, net, {"styles": styles, "training": {"steps": 7}})


def test_styles_are_listed_with_what_their_files_say(folder: Path):
    file = style(folder / "checkpoints" / "two.safetensors", "Sea, A. Painter, 1901", "Mosaic, Roman, 1st century")
    first, second = stylenet.list_styles()
    assert (first["ckpt"], first["title"], first["year"]) == ("two:s0", "Sea, A. Painter", "1901")
    assert (second["ckpt"], second["title"], second["year"]) == ("two:s1", "Mosaic, Roman, 1st century", None)
    assert first["network"] == "johnson 4-6-8" and first["bytes"] == file.stat().st_size
    assert first["training"] == {"steps": 7} and first["hides"] == []
    json.dumps([first, second])


def test_the_nearest_of_a_name_is_meant_and_hides_the_others(folder: Path):
    mine, clones, shipped = (
        style(folder / place / "sea.safetensors", "Sea, A. Painter, 1901")
        for place in ("checkpoints", "clone/checkpoints", "assets/checkpoints")
    )
    (listed,) = stylenet.list_styles()
    assert Path(listed["file"]).resolve() == mine and listed["hides"] == [str(clones), str(shipped)]
    assert checkpoint.resolve("sea").resolve() == mine


@pytest.mark.parametrize("damage", [b"", b"\x05\0\0\0\0\0\0\0{", b"\xff" * 8 + b"{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_damaged_file_is_listed_as_one(folder: Path, damage: bytes):
    style(folder / "checkpoints" / "sea.safetensors", "Sea")
    (folder / "checkpoints" / "bad.safetensors").write_bytes(damage)
    bad, sea = stylenet.list_styles()
    assert bad["ckpt"] == "bad" and "damaged or cut short" in bad["error"] and sea["title"] == "Sea"
    with pytest.raises(UserError, match="bad.safetensors is damaged or cut short. Get it again."):
        catalog.read_info(folder / "checkpoints" / "bad.safetensors")


def test_listing_styles_takes_no_torch():
    code = "import sys, stylenet; assert len(stylenet.list_styles()) > 5; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_network_for_photos_is_listed_as_such_and_holds_no_style(folder: Path):
    checkpoint.save(folder / "checkpoints" / "photo.safetensors", build("photowct"), {}, half=True)
    style(folder / "checkpoints" / "sea.safetensors", "Sea")
    assert [(one["ckpt"], one["title"]) for one in stylenet.list_styles()] == [
        ("photo", "for stylenet photo"),
        ("sea", "Sea"),
    ]
    cells, notes = of_known(Controls())
    assert [cell.caption for cell in cells] == [("Sea", "sea")] and notes == []
