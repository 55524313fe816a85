"""The common recipe computes what ours does, neither leaves anything to the other, and the script as a user runs it."""

import ctypes
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, RunScript
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from benchmarks.speed.common_recipe import CommonNet, CommonTraining, CommonVGG, Folder, gram, losses, normalised
from benchmarks.speed.measuring import Switches, Times, as_at_home, enough
from benchmarks.speed.operations import operations
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets.pytorch_examples import from_pytorch_examples
from stylenet.nets.registry import build
from stylenet.system.memory import keep_freed_memory, restore_defaults

SIDE = 64


def picture(name: str) -> Tensor:
    found = next((ROOT / "stylenet" / "assets").rglob(f"{name}.jpg"))
    return to_tensor(open_rgb(found).resize((SIDE, SIDE)))


@pytest.fixture(scope="module")
def photos() -> Tensor:
    return torch.cat([picture(name) for name in ("astronaut", "castle", "coffee", "cat")])


# --- the same work


def test_both_compute_the_same_losses(photos: Tensor):
    with initialize_config_dir(str(ROOT / "configs" / "loss"), version_base=None):
        config: Any = OmegaConf.to_container(compose("pytorch_examples"))
    painting, output = picture("starry_night"), photos.flip(0)
    terms = PerceptualLoss([painting], **config)(output, photos)
    vgg = CommonVGG()
    grams = [gram(features) for features in vgg(normalised(255 * painting))]
    theirs = losses(vgg, 255 * output, 255 * photos, grams)
    for kind, loss in zip(("content", "style"), theirs, strict=True):
        ours = torch.stack([term for name, term in terms.items() if name.startswith(kind)]).sum()
        assert loss > 1
        torch.testing.assert_close(ours, loss, rtol=1e-4, atol=0)


def test_both_networks_paint_the_same_picture(photos: Tensor):
    torch.manual_seed(0)
    common = CommonNet()
    with torch.no_grad():
        for parameter in common.parameters():
            parameter += 0.1 * torch.randn_like(parameter)  # norms that do nothing would hide a mistake
    spec, state = from_pytorch_examples(common.state_dict())
    ours = build(spec["name"], **spec["args"])
    ours.load_state_dict(state)
    with torch.no_grad():
        theirs, mine = common(255 * photos), 255 * ours.train()(photos)
    assert (spec["args"]["upsample"], spec["args"]["output"]) == ("nearest", "linear")
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_its_photos_are_centre_squares_in_one_order_over_and_over(tmp_path: Path):
    wide = Image.new("RGB", (80, 40), (255, 0, 0))
    wide.paste((0, 128, 0), (20, 0, 60, 40))  # the square in the middle
    wide.save(tmp_path / "a.png")
    Image.new("L", (30, 60), 64).save(tmp_path / "b.png")
    folder = Folder([tmp_path / "a.png", tmp_path / "b.png"], 20)
    assert folder[0].shape == folder[1].shape == (3, 20, 20)
    assert folder[0][:, 2:-2, 2:-2].amax((1, 2)).tolist() == [0, 128, 0]
    assert folder[1].unique().tolist() == [64]
    assert len(folder) > 10**6 and torch.equal(folder[2], folder[0]) and torch.equal(folder[3], folder[1])


def test_its_step_trains_and_reads_the_losses_back():
    torch.manual_seed(0)
    names = sorted((ROOT / "stylenet" / "assets" / "photos" / "train").glob("*.jpg"))[:2]
    training = CommonTraining(names, 255 * picture("starry_night"), 32, 2, torch.device("cpu"))
    before = [parameter.clone() for parameter in training.net.parameters()]
    seen = [training.step() for _ in range(4)]
    assert all(isinstance(loss, float) for pair in seen for loss in pair)
    assert sum(seen[-1]) < sum(seen[0])
    moved = [bool((old != new).any()) for old, new in zip(before, training.net.parameters(), strict=True)]
    assert (
        sum(moved) >= len(moved) - 15
    )  # a bias just before an instance norm has no effect, and so next to no gradient


# --- measuring


def test_figures_by_hand():
    assert Times(3, [4.0, 1.0, 2.0]).figures() == {"median": 2, "min": 1, "max": 4, "measurements": 3, "in_a_row": 3}
    assert [enough(*pair) for pair in ((2, 0.5), (2, 5), (0, 1))] == [4, 1, 1]


def test_what_ours_sets_does_not_reach_the_common_recipe():
    home = Switches()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = not home.benchmark
        ours = Switches()
        with as_at_home(home):
            assert Switches() == home
        assert Switches() == ours != home
    finally:
        home.set()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only there can it be told what freed memory does")
def test_the_common_recipe_finds_no_memory_that_ours_has_freed():
    """A block of 64 MB lies in the heap that ours keeps, but comes from the system as it does at home."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]

    def from_the_system() -> bool:
        block = libc.malloc(64 * 2**20)
        try:
            return bool(ctypes.c_size_t.from_address(block - 8).value & 2)
        finally:
            libc.free(block)

    try:
        keep_freed_memory()
        assert not from_the_system()
        with as_at_home(Switches()):
            assert from_the_system()
        assert not from_the_system()
        with as_at_home(Switches(), keep_freed=True):
            assert not from_the_system()
    finally:
        restore_defaults()


def test_operations_by_hand():
    """A network of one width w and no blocks, on a picture of s x s, judged at relu1_1 alone."""
    s, w = 32, 2
    with initialize_config_dir(str(ROOT / "configs"), version_base=None):
        words = ["style=starry_night", "style.starry_night.size=64", f"net.widths=[{w},{w},{w}]", "net.blocks=0"]
        words += ["net.upsample=nearest", f"data.size={s}", "~loss.style_layers", "~loss.content_layers"]
        words += ["+loss.style_layers.relu1_1=1", "+loss.content_layers.relu1_1=1"]
        settings: Any = OmegaConf.to_container(compose("train", words), resolve=False)
    styles = [{"name": "starry_night", **settings["style"]["starry_night"]}]
    first, last = (2 * s * s * 3 * w * 81 for _ in range(2))
    down = 2 * 9 * w * w * ((s // 2) ** 2 + (s // 4) ** 2)
    up = 2 * 9 * w * w * ((s // 2) ** 2 + s**2)
    vgg, of_gram = 2 * s * s * 3 * 64 * 9, 2 * 64 * 64 * s * s
    net = 3 * (down + up + last) + 2 * first  # nobody asks for the photo's gradient
    assert operations(settings, styles) == net + 3 * vgg + 2 * of_gram  # VGG: both pictures, one of them back
    assert operations(settings, styles, 32) == 4 * net + 3 * vgg + 2 * of_gram  # the loss sees a quarter of it


# --- the script


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str, str]:
    """The script at tiny settings: its JSON, Markdown, profile, and what it printed."""
    folder = tmp_path_factory.mktemp("benchmark")
    tiny = ["size=32", "sizes=[32,48]", "repeats=1", "seconds=0", "device=cpu", "batch=2", "common_batch=3"]
    tiny += ["ours=net.blocks=1 style.starry_night.size=64"]
    files = ["output=a b/speed.json", "markdown=speed.md", "profile=profile.txt"]
    command = [
        sys.executable,
        str(ROOT / "scripts" / "benchmark.py"),
        *tiny,
        *files,
        "ours=net.blocks=1 style.starry_night.size=64",
    ]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    texts = [(folder / name).read_text() for name in ("a b/speed.json", "speed.md", "profile.txt")]
    assert sorted(path.name for path in folder.iterdir()) == ["a b", "profile.txt", "speed.md"]
    return json.loads(texts[0]), texts[1], texts[2], done.stdout


def test_ratios_are_our_speed_over_theirs(figures: tuple[dict[str, Any], str, str, str]):
    train, stylize = figures[0]["train"], figures[0]["stylize"]
    common, ours, kept = (train[who] for who in ("common", "ours", "common_same_allocator"))
    for who, batch in ((common, 3), (kept, 3), (ours, 2)):
        assert who["images_per_s"] == pytest.approx(batch / who["step_s"]["median"], rel=1e-3)
    assert train["ratio"] == pytest.approx(ours["images_per_s"] / common["images_per_s"], rel=1e-2)
    assert train["ratio_same_allocator"] == pytest.approx(ours["images_per_s"] / kept["images_per_s"], rel=1e-2)
    same = train["same_work"]
    assert same["ratio"] == pytest.approx(same["ours"]["images_per_s"] / same["common"]["images_per_s"], rel=1e-2)
    assert sorted(stylize) == ["32", "48"]
    for found in stylize.values():
        spans = [found[who]["picture_s"]["median"] for who in ("common", "ours")]
        assert found["ratio"] == pytest.approx(spans[0] / spans[1], rel=1e-2)
    assert train["arithmetic"]["share"] == pytest.approx(
        train["arithmetic"]["operations_per_image_g"] * ours["images_per_s"] / train["arithmetic"]["matrix_rate_g"],
        rel=1e-2,
    )
    assert all(500 < train[who]["peak_memory"]["process_mb"] < 8000 for who in ("common", "ours"))


def test_the_table_names_the_machine_and_holds_the_figures(figures: tuple[dict[str, Any], str, str, str]):
    found, table, profile, printed = figures
    assert printed == table
    assert found["hardware"]["cpu"] in table and found["versions"]["torch"] in table and "(1 threads)" in table
    rows = {row.split("|")[1].split(",")[0].strip(): row.split("|") for row in table.splitlines() if row[:2] == "| "}
    assert rows["training (32 px"][4].strip() == f"{found['train']['ratio']:.2f}"
    for size in ("32", "48"):
        assert rows[f"stylizing {size}x{size}"][4].strip() == f"{found['stylize'][size]['ratio']:.2f}"
    for whose in ("One step of the common recipe", "One step of ours"):
        assert "aten::convolution_backward" in profile.partition(whose)[2]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("repeats=0", "repeats=0: give whole numbers of 1 or more."),
        ("ours=net.width=[1,1,1]", "ours=net.width=[1,1,1]: There is no option 'net.width'."),
    ],
)
def test_a_wrong_option_is_answered_in_a_line(wrong: str, told: str, run_script: RunScript):
    done = run_script("benchmark.py", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told) and done.stderr.count("\n") == 1
