"""One network for any style, as a user gets it: train it on paintings, then paint in the style of another."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, RunScript
from PIL import Image
from safetensors.torch import load_file
from test_train_script import Run, when_under_way

import stylenet
from stylenet.images.image_io import fit, open_rgb, to_tensor
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

PAINTINGS = ROOT / "stylenet/assets/styles"
ANY = ("experiment=any", "init=null", "net.code=4", "net.hidden=8", f"data.paintings={PAINTINGS}")
MORE = ("data.workers=0", "logger=none", "trainer.ema=null")
STEPS = ("steps=12", "trainer.val_every=12", "trainer.sheet_every=12")
PHOTO = ROOT / "stylenet/assets/photos/val/castle.jpg"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("any")
    return Run(folder, *ANY, *MORE, *STEPS).done()


def test_training_writes_one_file_for_any_style(run: Run):
    file = run.out / "any.safetensors"
    assert run.process.returncode == 0, run.stderr
    assert run.stdout.strip() == str(file)
    net, info = checkpoint.load(file)
    assert net.any_style and info["styles"] == []
    data = info["training"]["data"]
    assert data["paintings"] + data["held_out_paintings"] == len([*PAINTINGS.glob("*.jpg")])
    assert {"loss", "style", "content"} <= info["training"]["val"].keys()


def test_the_sheet_shows_paintings_photos_and_pictures(run: Run):
    (sheet,) = (run.run / "sheets").glob("*.jpg")
    with Image.open(sheet) as image:
        assert image.size == (2 * 64, 3 * 64)


def test_a_resumed_run_is_the_run_in_one_piece(run: Run, tmp_path: Path):
    """To the last bit: the paintings of the rest are those that the whole run would have had."""
    stopped = Run(tmp_path, *ANY, *MORE, *STEPS)
    when_under_way(stopped)
    os.killpg(stopped.process.pid, signal.SIGTERM)
    at = checkpoint.load(stopped.done().style)[1]["training"]["steps"]
    assert 0 < at < 12
    rest = Run(tmp_path, *ANY, *MORE, *STEPS, f"resume={stopped.last}").done()
    assert rest.process.returncode == 0, rest.stderr
    one, other = (load_file(each.style) for each in (run, rest))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("experiment=any",), "please give data.paintings=/path/to/paintings"),
        (("style=starry_night", "net=predicted"), "net=predicted learns any style: give style=any"),
        (("style=any",), "style=any needs a network for any style, this is net=johnson: give net=predicted"),
        (("style=starry_night", f"data.paintings={PAINTINGS}"), "is for style=any"),
        ((*ANY, "data.paintings=nowhere"), "nowhere does not exist"),
        (("experiment=any", f"data.paintings={PAINTINGS}", "add=gallery"), "add=gallery adds one style"),
        ((*ANY, "init=udnie_lite"), "init=udnie_lite holds the net"),
    ],
)
def test_what_does_not_go_together_is_told_in_a_line(words: tuple[str, ...], said: str, tmp_path: Path):
    failed = Run(tmp_path, *words, *MORE, "steps=1").done()
    text = failed.err.read_text()
    assert failed.process.returncode == 2 and said in text and "Traceback" not in text


# --- painting


@pytest.fixture(scope="module")
def able(run: Run, tmp_path_factory) -> Path:
    """The file of the run, with a style network that tells paintings apart: four steps do not teach it that."""
    net, info = checkpoint.load(run.out / "any.safetensors")
    torch.manual_seed(0)
    torch.nn.init.normal_(net.predict[-1].weight, std=5.0)  # type: ignore[union-attr,index]
    return checkpoint.save(tmp_path_factory.mktemp("able") / "any.safetensors", net, info)


def test_the_command_paints_in_the_style_of_a_file(able: Path, run_script: RunScript, tmp_path: Path):
    painting = PAINTINGS / "great_wave.jpg"
    done = run_script("stylize.py", f"ckpt={able}", f"input={PHOTO}", "output=out/", "size=96", f"style={painting}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/castle_great_wave.jpg"
    with Image.open(tmp_path / "out/castle_great_wave.jpg") as made:
        expected = stylenet.load(able, style=painting)(Image.open(PHOTO).resize(made.size, Image.Resampling.LANCZOS))
        found = np.asarray(made, np.float32)
    assert np.abs(found - np.asarray(expected)).mean() < 4  # JPEG


def test_two_paintings_with_shares(able: Path):
    wave, night = PAINTINGS / "great_wave.jpg", PAINTINGS / "starry_night.jpg"
    photo = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))

    def painted(style: object) -> torch.Tensor:
        return stylenet.load(able, style=style, backend="torch")(photo)

    one, other = painted(wave), painted(str(night))
    assert (one - other).abs().mean() > 0.005
    torch.testing.assert_close(painted(f"{wave}:1,{night}:0"), one)
    torch.testing.assert_close(painted(f"{wave}:2,{night}:6"), painted({wave: 0.25, night: 0.75}))
    stylizer = stylenet.load(able, backend="torch")
    torch.testing.assert_close(stylizer(photo, style=night), other)
    torch.testing.assert_close(stylizer(photo, style=Image.open(night)), other)


def test_a_painting_for_each_mask(able: Path):
    """Left in the one style, right in the other."""
    wave, night = PAINTINGS / "great_wave.jpg", PAINTINGS / "starry_night.jpg"
    left = Image.new("L", (50, 40))
    left.paste(255, (0, 0, 25, 40))
    right = left.point(lambda level: 255 - level)
    photo = np.asarray(Image.open(PHOTO).convert("RGB").resize((50, 40)))
    both = stylenet.load(able, style=[wave, night], mask=[left, right], backend="torch")
    made = both(photo).astype(int)
    one, other = (stylenet.load(able, style=each, backend="torch")(photo) for each in (wave, night))
    for part, mine, others in ((slice(0, 20), one, other), (slice(30, 50), other, one)):
        apart = [np.abs(made[:, part] - picture[:, part]).mean() for picture in (mine, others)]
        assert apart[0] < apart[1] / 2
    assert both.name == "great_wave+starry_night"


def test_the_photos_own_style_has_a_share(able: Path):
    """Each photo of a batch has its own, also in strips; a large one is looked at as paintings are."""
    wave = PAINTINGS / "great_wave.jpg"
    photos = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    photos[1] *= 0.3
    made = stylenet.load(able, style=f"{wave}:0.25,photo:0.75", backend="torch")(photos)
    net, _ = checkpoint.load(able)
    with torch.inference_mode():
        painting = net.style_of(to_tensor(fit(open_rgb(wave), 512)))
        wanted = [net(photo, 0.25 * painting + 0.75 * net.style_of(photo)) for photo in photos.split(1)]
    torch.testing.assert_close(made, torch.cat(wanted), atol=1e-4, rtol=0)
    style = stylenet.load(able, style=wave, backend="torch", tile=8)
    torch.testing.assert_close(style(photos, style={wave: 1, "photo": 3}), made, atol=1e-4, rtol=0)
    assert (style(photos) - made).abs().max() > 0.01
    large = torch.rand(1, 3, 32, 1024, generator=torch.Generator().manual_seed(0))
    halves = torch.nn.functional.interpolate(large, (16, 512), mode="bilinear", antialias=True)
    with torch.inference_mode():
        wanted = [net(large, net.style_of(halves))]
    torch.testing.assert_close(style(large, style="photo"), wanted[0], atol=1e-4, rtol=0)


def test_strips_paint_what_the_whole_gives(able: Path):
    photo = torch.rand(1, 3, 71, 64, generator=torch.Generator().manual_seed(0))
    style = PAINTINGS / "great_wave.jpg"
    whole, strips = (stylenet.load(able, style=style, backend="torch", tile=tile)(photo) for tile in ("off", 16))
    torch.testing.assert_close(strips, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style": "nowhere.jpg"}, "style=nowhere.jpg: there is no such file"),
        ({"style": "a.jpg:0.5,b.jpg"}, "'b.jpg' has no share"),
        ({"style": "a.jpg:0,b.jpg:0"}, "one share must be above 0"),
        ({"style": 3}, "style=3: give a picture"),
        ({"mix": "udnie"}, "mix='udnie' is for a network with several styles"),
        ({"style": ["a.jpg", "b.jpg"]}, "style= has 2 and mask= 0"),
        ({"style": ["photo"] * 2, "mask": [Image.new("L", (1, 1), 255)] * 2}, "not that of the photo"),
    ],
)
def test_styles_that_cannot_be_used(able: Path, options: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        stylenet.load(able, **options)


def test_no_style_at_all(able: Path, run_script: RunScript):
    done = run_script("stylize.py", f"ckpt={able}", f"input={PHOTO}", "output=out.png")
    assert done.returncode == 2
    assert done.stderr.strip() == "any paints in the style of any picture: give one, such as style=painting.jpg."


def test_a_style_for_a_network_that_has_its_own(run_script: RunScript):
    painting = PAINTINGS / "great_wave.jpg"
    done = run_script("stylize.py", "ckpt=udnie_lite", f"input={PHOTO}", "output=out.png", f"style={painting}")
    assert done.returncode == 2
    assert "ckpt=udnie_lite has its own: leave style= out" in done.stderr


def test_awkward_paintings_get_a_picture(able: Path, tmp_path: Path):
    """Tiny, of one colour, transparent, animated: the style of what there is to see."""
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    Image.new("RGB", (1, 1), "green").save(tmp_path / "tiny.png")
    Image.new("RGB", (300, 20), "green").save(tmp_path / "flat.png")
    Image.new("RGBA", (60, 60), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    for name in ("tiny.png", "flat.png", "clear.png", "moving.gif"):
        made = stylenet.load(able, style=tmp_path / name, backend="torch")(torch.rand(1, 3, 20, 20))
        assert made.isfinite().all()


def test_shares_of_styles_by_name(run_script: RunScript):
    """mix= of a network with several styles takes shares, which are made to sum to 1."""
    stylizer = stylenet.load("gallery", mix="udnie:3,starry_night:1", backend="torch")
    names = [style["name"] for style in stylizer.info["styles"]]  # type: ignore[union-attr]
    weights = [0.75 * (name == "udnie") + 0.25 * (name == "starry_night") for name in names]
    photo = torch.rand(1, 3, 30, 30)
    torch.testing.assert_close(stylizer(photo), stylenet.load("gallery", mix=weights, backend="torch")(photo))
    done = run_script(
        "stylize.py", "ckpt=gallery", f"input={PHOTO}", "output=o.png", "size=40", "mix=udnie:3,starry_night:1"
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(UserError, match="there is no such style in this checkpoint"):
        stylenet.load("gallery", mix="udnie:3,starry_nigt:1")
