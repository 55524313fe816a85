"""Style images: a file, a bundled painting by its bare name, and what is said where there is none."""

import struct
import zlib
from pathlib import Path

import pytest
from conftest import RunScript
from PIL import Image

from stylenet.data.paintings import BUNDLED, find_painting, open_painting
from stylenet.system.errors import UserError


def test_a_bare_name_is_a_bundled_painting_unless_such_a_file_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_painting("starry_night.jpg") == BUNDLED / "starry_night.jpg"
    Image.new("RGB", (64, 48), "red").save("starry_night.jpg")
    assert open_painting("starry_night.jpg", 1000).size == (64, 48)


def test_a_path_is_not_looked_for_among_the_bundled_ones():
    with pytest.raises(UserError, match=r"nowhere/starry_night.jpg: there is no such file.*great_wave.jpg"):
        find_painting("nowhere/starry_night.jpg")


def test_the_longer_side_is_what_was_asked_for_and_nothing_is_enlarged():
    assert open_painting("starry_night.jpg", 384).size == (384, 309)  # 1274 x 1024
    assert open_painting("great_wave.jpg", 2000).size == (661, 445)


def test_a_painting_too_thin_for_its_grams_is_refused_with_its_size(tmp_path: Path):
    Image.new("RGB", (1000, 50)).save(tmp_path / "thin.png")
    with pytest.raises(UserError, match="400x20 pixels at this size: give 32 or more"):
        open_painting(tmp_path / "thin.png", 400)


QUICK = {
    "optimize.py": [
        "content=photo.png",
        "style_layers=relu1_1",
        "content_layers=relu1_2",
        "vgg=vgg16",
        "steps=1",
        "scale=gatys",
    ],
    "train.py": [
        *("style.custom.image=scan.png", "net=lite", "steps=1", "data=folder", "data.root=photos", "data.size=32"),
        *("data.batch_size=1", "data.val=0", "data.margin=0", "style_size=64", "logger=none", "out=out"),
        *("hydra.run.dir=run", "trainer.accelerator=cpu"),
    ],
}


@pytest.mark.parametrize("script", QUICK)
def test_a_large_scan_is_a_painting_where_the_advice_is_followed(run_script: RunScript, tmp_path: Path, script: str):
    """What the message names is an option of the script, and reaches the processes that read photos."""
    Image.effect_noise((300, 200), 80).convert("RGB").save(tmp_path / "scan.png")
    Image.effect_noise((60, 40), 80).convert("RGB").save(tmp_path / "photo.png")
    (tmp_path / "photos").mkdir()
    Image.effect_noise((300, 190), 80).convert("RGB").save(tmp_path / "photos" / "a.png")
    words = [("style=scan.png" if script == "optimize.py" else "style=custom"), *QUICK[script]]
    refused = run_script(script, *words, "megapixels=0.05")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert (
        "scan.png: it claims more than 0.05 million pixels; if you trust it, allow more: megapixels=" in refused.stderr
    )
    done = run_script(script, *words, "megapixels=0.06")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["optimize.py", "train.py", "evaluate.py", "stylize.py"])
def test_every_script_that_opens_pictures_has_the_option(run_script: RunScript, script: str):
    given = {"optimize.py": ["content=x.png", "style=y.png"], "train.py": ["style=starry_night", "hydra.run.dir=run"]}
    done = run_script(script, *given.get(script, ["ckpt=a"] + ["input=x"] * (script == "stylize.py")), "megapixels=0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "megapixels=0: give the limit in million pixels" in done.stderr


def test_the_advice_is_enough_for_the_picture(tmp_path: Path):
    row = zlib.compress(bytes(10**6))
    header = struct.pack(">IIBBBBB", 60_000, 40_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(UserError, match=r"allow more: megapixels=2400\.$"):
        open_painting(tmp_path / "x.png", 384)
