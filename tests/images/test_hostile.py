"""Files made to do harm: each gives a picture or a message of one line, and nothing dies, waits or grows."""

import math
import os
import sys

import pytest
from PIL import Image

from benchmarks.stress import hostile, hostile_files
from stylenet.files import planning
from stylenet.images import safe_open
from stylenet.images.image_io import open_rgb, read
from stylenet.system.errors import UserError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in Linux's /proc")
CHOSEN = {"ckpt": "the_scream_lite", "size": 24, "seconds": 60}


def test_each_file_gives_a_picture_or_one_line(tmp_path):
    """A sixth of them, of every kind but the one that takes seconds."""
    kinds = hostile_files.make(tmp_path / "in", kinds={*hostile_files.KINDS, "special"} - {"bombs"})
    some = [path for number, path in enumerate(kinds) if number % 6 == 0 or kinds[path] in ("special", "huge")]
    first, second = hostile.each(some, tmp_path / "out", CHOSEN)
    for found in (first, second):
        assert {path.name: outcome for path, outcome in found.items() if outcome.end not in hostile.GOOD} == {}
    assert {kinds[path] for path in some} >= {*hostile_files.KINDS} - {"bombs"}
    assert {kinds[path] for path, outcome in first.items() if outcome.end == "written"} > {"modes", "icc", "thin"}
    before, after = first[some[-1]], second[some[-1]]
    assert after.files == before.files and after.memory < before.memory + hostile.GROWTH


def test_the_script_does_a_folder_of_them(tmp_path):
    kinds = hostile_files.make(tmp_path / "in", kinds=["special", "names", "nothing"])
    count = sum(map(hostile.taken_up, kinds))
    found = hostile.together(tmp_path / "in", tmp_path / "out", count, CHOSEN)
    assert found["end"] == "good", found
    good = [path for path in kinds if kinds[path] == "names" and hostile.taken_up(path)]
    assert (
        len(os.listdir(tmp_path / "out" / "names")) == len(good) > 9
    )  # also where the name has no room for the style's


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    for path in hostile_files.make(tmp_path / "in", kinds=["bombs"]):
        if path.name in ("pixels.png", "iCCP.png", "zTXt.png"):
            with pytest.raises(UserError, match="Cannot read"):
                read(path)


def test_the_same_seed_makes_the_same_files(tmp_path):
    first, second, other = (
        {path.name: path.read_bytes() for path in hostile_files.make(tmp_path / name, seed, ["nothing", "flipped"])}
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second != other and first.keys() == other.keys()


# --- huge pictures


def test_larger_pictures_are_read_where_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    Image.new("L", (200, 60)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"claims more than 0.01 million pixels; if you trust it, .* megapixels=1000"):
        read(tmp_path / "x.png")
    with safe_open.allowed(0.012):
        assert read(tmp_path / "x.png").rgb.shape == (60, 200, 3)
    with safe_open.allowed(0.0119), pytest.raises(UserError, match="claims more than 0.0119 million pixels"):
        open_rgb(tmp_path / "x.png")
    with safe_open.allowed(0.0119), safe_open.allowed(0.012), safe_open.allowed(None):  # of several at work the largest
        assert read(tmp_path / "x.png").rgb.shape == (60, 200, 3)
    assert Image.MAX_IMAGE_PIXELS == 5000


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, True, "many", None])
def test_megapixels_that_are_none(value, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    with pytest.raises(UserError, match=f"megapixels={value}: give the limit in million pixels"):
        safe_open.check(value)
    assert Image.MAX_IMAGE_PIXELS == 5000


def test_what_the_memory_cannot_hold_is_told_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_open, "free_memory", lambda: 10**6)
    Image.new("RGB", (300, 250)).save(tmp_path / "fits.png")
    Image.new("RGB", (400, 250)).save(tmp_path / "not.png")
    assert read(tmp_path / "fits.png").rgb.shape == (250, 300, 3)
    with pytest.raises(UserError, match="not.png: its 0.1 million pixels take 0.0013 GB of memory, 0.001 GB are free"):
        read(tmp_path / "not.png")


# --- names, and what is no file


@pytest.mark.parametrize("name", ["two\nlines.png", "\x1b[2Jgone.png", "\u202egnp.png"])
def test_a_name_stays_in_its_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert str(error.value).isprintable() and "it is not a picture" in str(error.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in {tmp_path / "pipe.png": "it is a pipe", tmp_path: "it is a folder"}.items():
        with pytest.raises(UserError, match=reason):
            open_rgb(path)


@pytest.mark.parametrize(("target", "reason"), [("absent", "a link that leads nowhere"), ("x.png", "leads nowhere")])
def test_a_link_to_nowhere_is_called_that(tmp_path, target, reason):
    (tmp_path / "x.png").symlink_to(target)
    with pytest.raises(UserError, match=reason):
        planning.plan([tmp_path / "x.png"], None, "style")


def test_a_damaged_file_is_called_that(tmp_path):
    Image.new("RGB", (90, 90)).save(tmp_path / "x.tif", compression="tiff_lzw")
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(data[:8] + b"\xff" * 60 + data[68:])
    with pytest.raises(UserError, match=r"x.tif: it is damaged \(.+\)\.$"):
        read(tmp_path / "x.tif")
