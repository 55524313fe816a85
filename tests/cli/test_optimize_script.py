"""The script as a user runs it: real files, real weights (VGG16, few steps), Ctrl-C, and mistakes in a line."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, RunScript
from PIL import Image
from torch import Tensor

from stylenet.files import paint_file
from stylenet.images.image_io import open_rgb, read, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.optimizing import gatys
from stylenet.system.errors import UserError

CASTLE = ROOT / "stylenet" / "assets" / "photos" / "val" / "castle.jpg"
QUICK = ["style_layers=[relu1_1,relu2_1]", "content_layers=relu2_2", "vgg=vgg16", "device=cpu", "steps=4"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = open_rgb(CASTLE).resize((72, 48))
    image.putalpha(Image.linear_gradient("L").resize((72, 48)))
    image.save(tmp_path / "my photo (1).png")
    return tmp_path / "my photo (1).png"


def test_a_photo_becomes_a_picture_beside_it(run_script: RunScript, photo: Path):
    words = ["content=my photo (1).png", "style=starry_night", "size=64", *QUICK]
    done = run_script("optimize.py", *words, "save_every=2")
    assert (done.returncode, done.stdout) == (0, "my photo (1)_starry_night.png\n"), done.stderr
    assert "loss=" in done.stderr and "4/4" in done.stderr
    made = photo.with_name("my photo (1)_starry_night.png")
    assert sorted(file.name for file in photo.parent.iterdir()) == [
        photo.name,
        made.name,
        "my photo (1)_starry_night_0002.png",
    ]
    with Image.open(made) as image:
        assert (image.size, image.mode) == ((64, 43), "RGBA")
    before, half, after = (
        to_tensor(open_rgb(file).resize((64, 43))) for file in (photo, made.with_stem(made.stem + "_0002"), made)
    )
    assert 0 < (half - before).abs().mean() < (after - before).abs().mean()

    again = run_script("optimize.py", *words)
    assert again.returncode == 2 and "exists: give overwrite=true" in again.stderr and again.stderr.count("\n") == 1


def test_two_paintings_another_start_another_optimizer_and_sizes(run_script: RunScript, photo: Path):
    done = run_script(
        "optimize.py",
        f"content={photo}",
        "style=[starry_night,great_wave]",
        "style_weights=[0.7,0.3]",
        "output=out",
        "size=64",
        "coarse_to_fine=[32]",
        "init=noise",
        "optimizer=adam",
        "scale=gatys",
        "alpha=1",
        "beta=1e6",
        "pooling=max",
        "content_layers={relu1_1: 1, relu2_2: 3}",
        "style_layers=relu2_1",
        *QUICK[2:],
    )
    assert (done.returncode, done.stdout) == (0, "out/my photo (1)_starry_night+great_wave.png\n"), done.stderr
    assert "8/8" in done.stderr  # 4 steps at each of two sizes
    assert open_rgb(photo.parent / done.stdout.strip()).size == (64, 43)


def test_layers_weights_and_scale_are_those_asked_for():
    style = to_tensor(open_rgb(CASTLE).resize((48, 48)))
    default = gatys.objective([style], "gatys", vgg="vgg16")
    assert list(default.style_layers) == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    assert list(default.content_layers) == ["relu4_2"] and default.vgg.pool is torch.nn.functional.avg_pool2d
    layers = {"style_layers": {"relu1_1": 3, "relu2_1": 1}, "content_layers": "relu1_2"}
    made = gatys.objective([style], style_weight=8, content_weight=0.5, vgg="vgg16", pooling="max", **layers)
    photo = style.flip(0).flip(3)
    terms = made(photo.roll(5, 3), photo)
    readings = made.readings(terms)
    assert {name: float(term / readings[name]) for name, term in terms.items()} == pytest.approx(
        {"content/relu1_2": 0.5, "style/relu1_1": 6, "style/relu2_1": 2}
    )
    assert 0.2 < float(readings["content"]) < 5 and float(made(style, style)["style/relu1_1"]) < 1e-6


def test_ctrl_c_keeps_the_last_whole_picture(photo: Path):
    words = [f"content={photo}", "style=great_wave", "size=48", *QUICK, "steps=100000", "save_every=1", "output=a.png"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "optimize.py", *words],
        cwd=photo.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (photo.parent / "a_0002.png").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "a.png\n"), err
    assert re.fullmatch(r"stopped after step \d+; the picture so far is in a.png", err.splitlines()[-1])
    assert "Traceback" not in err
    assert read(photo.parent / "a.png").rgb.shape == (32, 48, 3)


def options(**changes: Any) -> dict[str, Any]:
    quick = {"vgg": "vgg16", "style_layers": ["relu1_1"], "content_layers": "relu1_1", "size": 48, "steps": 2}
    return {"style": "great_wave", **quick, **changes}


def test_when_numbers_end_the_last_good_picture_is_written(photo: Path, monkeypatch: pytest.MonkeyPatch):
    real, evaluations = gatys.objective, []

    def breaking(*args: Any, **kwargs: Any) -> PerceptualLoss:
        loss = real(*args, **kwargs)
        against = loss.against

        def terms_at(image: Tensor, at: Any) -> dict[str, Tensor]:
            evaluations.append(image.detach())
            return {name: term * (torch.nan if len(evaluations) > 3 else 1) for name, term in at(image).items()}

        monkeypatch.setattr(loss, "against", lambda *a: partial(terms_at, at=against(*a)), raising=False)
        return loss

    monkeypatch.setattr(gatys, "objective", breaking)
    out = photo.with_name("a.png")
    with pytest.raises(UserError, match=r"after step 2 is not a number: .* The picture after step 2 is in .*a\.png\.$"):
        paint_file.paint_file(photo, output=out, **options(optimizer="adam", steps=10))
    torch.testing.assert_close(to_tensor(read(out).rgb), evaluations[2], atol=0.003, rtol=0)
    out.unlink()
    with pytest.raises(UserError, match="The objective of the picture to start from is not a number"):
        paint_file.paint_file(photo, output=out, **options(optimizer="adam", steps=10))
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content": "absent.jpg"}, "content=absent.jpg: there is no such file"),
        ({"style": "starry_nite"}, "style image starry_nite: there is no such file. Give a picture, or one of: compos"),
        ({"scale": "johnson"}, "scale=johnson: no such scale. Allowed: calibrated, gatys."),
        ({"content_layers": "relu3_4"}, "layer 'relu3_4' is not in vgg16. Allowed: relu1_1"),
        ({"style_layers": {"relu1_1": -1}}, "style_layers.relu1_1=-1: give a number of 0 or more."),
        ({"style_layers": {"relu1_1": 0}}, "style_layers: every layer has weight 0."),
        ({"content_weight": "much"}, "content_weight=much: give a number of 0 or more."),
        ({"pooling": "mean"}, "pooling=mean: no such pooling. Allowed: max, average."),
        ({"optimizer": "sgd"}, "optimizer=sgd: no such optimizer. Allowed: lbfgs, torch_lbfgs, adam."),
        ({"lr": -1}, "lr=-1: give a number of"),
        ({"init": "black"}, "init=black: no such start. Allowed: content, style, noise."),
        ({"seed": 0.5}, "seed=0.5: give a whole number of 0 or more."),
        ({"steps": 0}, "steps=0: give a whole number of 1 or more."),
        ({"size": 16}, "size=16: give a whole number of 32 or more."),
        ({"style_size": 8}, "style_size=8: give a whole number of 32 or more."),
        ({"style_weights": [1, 2]}, "style_weights=[1, 2]: give 1, one for each painting, not all 0."),
        ({"coarse_to_fine": [64, 32]}, "coarse_to_fine=[64, 32]: give sizes that rise, none above size=48."),
        ({"style_weights": 0}, "style_weights=[0]: give 1, one for each painting, not all 0."),
        ({"style_layers": 3}, "style_layers=3: give names such as [relu1_1,relu2_1], or weights by name."),
        ({"quality": 101}, "quality=101: give a whole number from 1 to 100."),
        ({"save_every": 0}, "save_every=0: give a whole number of 1 or more."),
        ({"overwrite": "yes"}, "overwrite=yes: give true or false."),
        ({"coarse_to_fine": [8]}, "content is 8x5 pixels at size=8: give 16 or more a side."),
        ({"coarse_to_fine": 3}, "coarse_to_fine=3: give true, false or a list of sizes."),
        ({"output": "a.doc"}, "Cannot write a.doc: the name must end in"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    photo: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(photo.parent)
    with pytest.raises(UserError) as error:
        paint_file.paint_file(**options(**{"content": photo.name, **changes}))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert [file.name for file in photo.parent.iterdir()] == [photo.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Please give style=..."),
        (["style=great_wave", "alpha=1", "content_weight=2"], "alpha=1 and content_weight=2 are the same option"),
        (["style=great_wave", "stile=a"], "There is no option 'stile'. Did you mean style=?"),
        (["style=great_wave", "device=tpu"], "device=tpu: there is no such device here."),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(run_script: RunScript, photo: Path, words: list[str], message: str):
    done = run_script("optimize.py", f"content={photo}", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and message in done.stderr
