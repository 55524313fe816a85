"""net=adain as a user trains and uses it: the scripts, the bundled photos and paintings, and the finished file."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, RunScript
from PIL import Image

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.nets.adain import AdaIN

PAINTINGS = ROOT / "stylenet/assets/styles"
TINY = [
    *("net=adain", "net.widths=[8,8,8]", f"data.paintings={PAINTINGS}", "data.val_paintings=1", "data.workers=0"),
    *("data.size=48", "data.margin=8", "data.batch_size=2", "data.val=1", "data.val_size=48", "logger=csv"),
    *("steps=3", "half=true", "trainer.log_every_n_steps=1", "trainer.val_every=3", "trainer.sheet_every=3"),
    *("trainer.accelerator=cpu", "out=out", "hydra.run.dir=run"),
]


def test_from_two_folders_to_a_painted_photo(tmp_path: Path, run_script: RunScript):
    vgg_weights()
    done = run_script("train.py", "experiment=any", *TINY, "init=null")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "out/any.safetensors"
    assert done.stdout.strip() == "out/any.safetensors" or Path(done.stdout.strip()) == file
    net, info = checkpoint.load(file)
    assert isinstance(net, AdaIN) and info["net"]["args"]["widths"] == [8, 8, 8] and info["styles"] == []
    pretrained = vgg_weights("vgg16").state["conv4_1.weight"]
    torch.testing.assert_close(net.state_dict()["encoder.conv4_1.weight"], pretrained, rtol=1e-3, atol=1e-5)
    with (tmp_path / "run/csv/metrics.csv").open() as table:
        assert sum(1 for row in csv.DictReader(table) if row["train/style/relu4_3"]) == 3
    assert len([*(tmp_path / "run/sheets").glob("*.jpg")]) == 1
    Image.new("RGB", (41, 30), (200, 120, 40)).save(tmp_path / "photo.png")
    for style in ("great_wave", "starry_night"):
        words = (f"style={PAINTINGS / style}.jpg", "input=photo.png", f"output={style}.png", "device=cpu")
        done = run_script("stylize.py", f"ckpt={file}", *words)
        assert done.returncode == 0, done.stderr
    wave, stars = (np.asarray(Image.open(tmp_path / f"{style}.png")) for style in ("great_wave", "starry_night"))
    assert wave.shape == (30, 41, 3) and not np.array_equal(wave, stars)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["style=starry_night"], "net=adain learns any style: give style=any"),
        (["style=any", "init=gallery"], "net=adain begins from another net=adain, or from"),
        (
            ["experiment=any"],
            "net.widths=[8, 8, 8], where its decoder has [64, 128, 256]: give these widths, or init=null.",
        ),
        (["style=any", "net.widths=[4,4]"], "give three whole numbers"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path: Path, run_script: RunScript, words: list[str], told: str):
    done = run_script("train.py", *TINY, *words)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 500
