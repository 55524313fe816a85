"""``stylenet photo`` on files: photos, films and tables of colours, with one line for a mistake."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torch import Tensor

import stylenet
from stylenet.nets import checkpoint, registry
from stylenet.stylizing import photorealistic
from stylenet.system.errors import UserError


class Dim:
    """Half as light, with the mean colour of the style."""

    def transfer(self, content: Tensor, style: Tensor, labels: Any = None) -> Tensor:
        made = content / 2
        return made + (style.mean((2, 3)) - made.mean((2, 3)))[..., None, None]


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with day.png and night.png, and that network."""
    ramp = np.linspace(40, 220, 96).astype(np.uint8)
    pixels = np.repeat(np.repeat(ramp[None, :, None], 64, 0), 3, 2)
    Image.fromarray(pixels).save("day.png")
    Image.new("RGB", (30, 30), (60, 70, 110)).save("night.png")
    monkeypatch.setattr(photorealistic, "load", lambda ckpt, device: Dim())
    return place


def colors(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_a_photo_gets_the_look_beside_the_old_one(here: Path, capsys: pytest.CaptureFixture):
    assert stylenet.photo("day.png", "night.png", device="cpu") == Path("day_night.png")
    made, day = colors("day_night.png"), colors("day.png")
    np.testing.assert_allclose(made.mean((0, 1)), [60, 70, 110], atol=1)
    np.testing.assert_allclose(made, day / 2 + [60, 70, 110] - day.mean() / 2, atol=3)
    with pytest.raises(UserError, match="day_night.png exists: give overwrite=true"):
        stylenet.photo("day.png", "night.png")
    assert stylenet.photo("day.png", "night.png", "out", strength=0, device="cpu") == Path("out/day_night.png")
    assert (colors("out/day_night.png") == day).all()
    assert capsys.readouterr().err == ""


def test_a_table_of_colours_is_written_too(here: Path):
    stylenet.photo("day.png", "night.png", "a.jpg", lut="look.cube", device="cpu")
    rows = [line.split() for line in Path("look.cube").read_text().splitlines()[2:]]
    table = np.array(rows, float).reshape(33, 33, 33, 3)
    expected = (np.array([60, 70, 110]) + (127.5 - 130) / 2) / 255  # 130 is the mean of day.png
    np.testing.assert_allclose(table[16, 16, 16], expected, atol=0.02)
    with pytest.raises(UserError, match="look.cube exists"):
        stylenet.photo("day.png", "night.png", "b.jpg", lut="look.cube")
    assert not Path("b.jpg").exists()


def test_masks_of_other_sizes_and_colours_only_one_has(here: Path, capsys: pytest.CaptureFixture):
    mask = Image.new("RGB", (10, 10), "red")
    mask.paste("blue", (0, 0, 5, 10))
    mask.save("regions.png")
    Image.new("RGB", (7, 3), "red").save("all.png")
    stylenet.photo("day.png", "night.png", content_mask="regions.png", style_mask="all.png", device="cpu")
    assert capsys.readouterr().err == "Only content_mask= has #0000ff: matched with the whole style photo.\n"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"content_mask": "regions.png"}, "content_mask= needs style_mask=, too"),
        ({"content_mask": "no.png", "style_mask": "all.png"}, "content_mask=: .*no.png"),
        ({"content_mask": "regions.png", "style_mask": "night.png"}, "they share none"),
    ]
    for masks, said in wrong:
        with pytest.raises(UserError, match=said):
            stylenet.photo("day.png", "night.png", "b.png", **masks)
    assert not Path("b.png").exists()


def test_a_film_gets_one_table_for_all_frames(here: Path):
    """Frames of growing light; equal colours stay equal ones in all of them."""
    pytest.importorskip("av")
    Path("in").mkdir()
    for number in range(1, 24):
        frame = np.full((32, 48, 3), 60 + 4 * number, np.uint8)
        frame[:16] = 100
        Image.fromarray(frame).save(f"in/{number:02}.png")
    assert stylenet.photo("in/%02d.png", "night.png", "out/%02d.png", lut="a.cube", device="cpu") == Path(
        "out/%02d.png"
    )
    made = np.stack([colors(f"out/{number:02}.png") for number in range(1, 24)])
    assert len(made) == 23 and np.ptp(made[:, :16], axis=0).max() == 0
    light = made[:, 20, 20].mean(-1)
    assert (np.diff(light) >= 0).all() and 35 < light[-1] - light[0] < 55  # half of 88
    assert Path("a.cube").exists()
    with pytest.raises(UserError, match="content_mask= is for a photo"):
        stylenet.photo("in/%02d.png", "night.png", "new/%02d.png", content_mask="day.png", style_mask="day.png")
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content": "absent.png"}, "content=absent.png: there is no such file"),
        ({"content": "."}, "content=.: give one file"),
        ({"content": "checkpoints"}, "content=checkpoints: "),
        ({"content": "-"}, "content=-: give one photo or film"),
        ({"style": "absent.png"}, "absent.png"),
        ({"style": ""}, "style=: give one file"),
        ({"lut": "look.txt"}, "lut=look.txt: the name of a look-up table ends in .cube"),
        ({"output": "a.txt"}, "Cannot write a.txt"),
        ({"output": ""}, "output= is empty"),
        ({"smoothing": "soft"}, "smoothing=soft"),
        ({"quality": 0}, "quality=0"),
        ({"device": "cuda:9"}, "device=cuda:9"),
        ({"megapixels": 0.001}, "day.png"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(here: Path, options: dict, said: str):
    before = sorted(os.listdir())
    with pytest.raises(UserError, match=said):
        stylenet.photo(**{"content": "day.png", "style": "night.png", **options})
    assert sorted(os.listdir()) == before
    with pytest.raises(TypeError, match="no option 'smooth'"):
        stylenet.photo("day.png", "night.png", smooth="guided")


def test_style_photos_of_one_colour_grey_and_clear(here: Path):
    Image.new("L", (3, 3), 90).save("grey.png")
    Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save("clear.png")
    Image.open("day.png").convert("RGBA").save("day_clear.png")
    for content, style, level in (("day.png", "grey.png", 90), ("day_clear.png", "clear.png", 255 - 22)):
        result = stylenet.photo(content, style, device="cpu")
        assert abs(colors(result).mean() - level) < 25
        with Image.open(result) as image:
            assert image.mode == ("RGB" if content == "day.png" else "RGBA")


def test_the_command_as_a_user_runs_it(place: Path):
    """With a network of random weights, which makes some picture."""
    Image.effect_mandelbrot((90, 64), (-2, -1, 1, 1), 50).convert("RGB").save("my day, (1).png")
    Image.new("RGB", (30, 30), (60, 70, 110)).save("night.png")
    torch.manual_seed(0)
    checkpoint.save("mine.safetensors", registry.build("photowct"), {}, half=True)

    def run(*words: str) -> subprocess.CompletedProcess:
        variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "error"}
        line = [sys.executable, "-m", "stylenet", "photo", "content=my day, (1).png", "style=night.png", *words]
        return subprocess.run(line, capture_output=True, text=True, env=variables, timeout=300)

    done = run("ckpt=mine.safetensors", "lut=look.cube", "device=cpu")
    assert (done.returncode, done.stdout) == (0, "my day, (1)_night.png\n"), done.stderr
    with Image.open("my day, (1)_night.png") as image:
        assert image.size == (90, 64)
    assert Path("look.cube").exists()
    for words, said in (
        (["ckpt=tiny", "output=b.png"], "ckpt=tiny is a network that paints. Use it with stylenet stylize;"),
        (["smooth=guided"], "There is no option 'smooth'. Did you mean smoothing=?"),
    ):
        done = run(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and said in done.stderr
    assert not Path("b.png").exists()
    with pytest.raises(UserError, match="holds no style: it is for stylenet photo content=photo.jpg"):
        stylenet.load("mine.safetensors")
