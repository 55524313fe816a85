"""The experiments with networks for any style: what LPIPS on AlexNet sees, and what sharing a network costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import Tensor

from benchmarks.experiments.styleid import AlexLPIPS
from stylenet.images.image_io import open_rgb, to_tensor


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return to_tensor(open_rgb(ROOT / "stylenet/assets/photos/val/castle.jpg").resize((192, 160)))


def test_lpips_on_alexnet_sees_what_people_see(photo: Tensor):
    """The same picture is at 0. Of equal errors in the pixels a shift of all colours is the least visible, and a blur
    is more visible than noise (Zhang et al. 2018, figure 1).
    """
    lpips = AlexLPIPS()
    assert lpips(photo, photo) == 0
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    error = F.avg_pool2d(photo, 3, 1, 1, count_include_pad=False) - photo
    size = error.square().mean().sqrt()
    found = [lpips(photo + one, photo) for one in (size * torch.ones_like(photo), size * noise, error)]
    assert 0 < found[0] < found[1] < found[2] < 1
    assert lpips(photo, photo + error) == pytest.approx(found[2], rel=1e-5)


def test_styles_that_share_a_network_are_measured_beside_those_alone(tmp_path: Path):
    tiny = "data.size=32,data.margin=8,'net.widths=[4,4,4]',net.blocks=0,data.workers=0,trainer.accelerator=cpu"
    command = [sys.executable, "-m", "benchmarks.experiments.many_styles", "styles=[starry_night,great_wave]"]
    command += ["crops=4", "photos=2", "photo_size=64", f"out={tmp_path / 'many'}", f"report={tmp_path / 'many.json'}"]
    command.append(f"extra=[{tiny}]")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "many.json").read_text())
    assert [*found["styles"]] == ["starry_night", "great_wave"]
    for each in found["styles"].values():
        assert each["together_over_alone"] == pytest.approx(each["together"]["loss"] / each["alone"]["loss"], abs=1e-3)
    ratios = [each["together_over_alone"] for each in found["styles"].values()]
    assert found["mean_ratio"] == pytest.approx(sum(ratios) / 2, abs=1e-3)
    wrong = subprocess.run([*command[:3], "styles=[starry_night]"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.startswith("styles=['starry_night'] crops=600: give two or more")
