"""Pictures in strips: the same as in one piece, with bounded memory and work, and nothing left behind."""

import errno
import gc
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.utils.flop_counter import FlopCounterMode

import stylenet
from stylenet import load
from stylenet.images.image_io import Picture, open_rgb, to_tensor
from stylenet.nets import base, checkpoint, registry
from stylenet.nets.base import StyleNet
from stylenet.runtime import scratch, tiling
from stylenet.runtime.lazy_features import Moments
from stylenet.runtime.options import Runtime
from stylenet.runtime.scratch import InFile, InMemory, Scratch
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError

PHOTO = ROOT / "stylenet" / "assets" / "photos" / "val" / "castle.jpg"
VARIANTS: dict[str, dict[str, Any]] = {
    "blur": {},
    "nearest": {"upsample": "nearest"},
    "linear": {"output": "linear"},
    "two styles": {"n_styles": 2},
    "light": {"widths": (3, 5, 7), "blocks": 3},
    "no blocks": {"blocks": 0},
    "noise": {"noise": 1, "n_styles": 2},
    "frame": {"frame": 24, "noise": 1},
}


def net(**args: Any) -> StyleNet:
    """A network as unlike a fresh one as training makes it."""
    torch.manual_seed(0)
    made = registry.build("johnson", **{"widths": (8, 12, 16), "blocks": 2} | args).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return made


def in_strips(
    network: nn.Module, picture: Tensor, rows: int | None, style: Tensor | None = None, memory: int = 0, **options: Any
) -> Tensor:
    out = torch.full_like(picture, torch.nan)

    def read(top: int, bottom: int) -> Tensor:
        assert 0 <= top < bottom <= picture.shape[2]
        return picture[:, :, top:bottom].clone()

    def write(top: int, strip: Tensor) -> None:
        assert out[:, :, top : top + strip.shape[2]].isnan().all()  # each row once
        out[:, :, top : top + strip.shape[2]] = strip

    with Scratch(memory=memory) as room:
        height, width = picture.shape[2:]
        tiling.in_strips(network, (height, width), read, write, room, style, rows, **options)
    return out


def whole(network: nn.Module, picture: Tensor, style: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        return network(picture, style)


def half_dark(height: int, width: int) -> Tensor:
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    picture[:, :, : height // 2] *= 0.02
    return picture


# --- the same picture


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_every_tiling_gives_the_picture_of_the_whole_pass(variant: str, rows: int):
    network, style = net(**VARIANTS[variant]), torch.tensor([[0.3, 0.7]]) if variant == "two styles" else None
    picture = half_dark(67, 41)
    expected = whole(network, picture, style)
    assert expected.std() > 0.05
    assert (in_strips(network, picture, rows, style) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1), (2, 3), (15, 17), (16, 16), (17, 33), (53, 19), (31, 127)])
def test_every_size(size: tuple[int, int]):
    for args in ({"upsample": "blur"}, {"upsample": "nearest"}, {"frame": 24}):
        network, picture = net(**args), half_dark(*size)
        for rows in (1, 8, None):
            assert (in_strips(network, picture, rows) - whole(network, picture)).abs().max() < 1e-5


def test_statistics_of_strips_would_show():
    """What the tests above would see if each strip had its own mean and variance."""
    picture, network = half_dark(64, 40), net()
    apart = torch.cat([whole(network, half) for half in picture.split(32, 2)], 2)
    assert (apart - whole(network, picture)).abs().max() > 0.2


def test_fog_keeps_its_digits():
    """Deviations of a thousandth of the mean, and of another mean in each strip."""
    picture = 0.5 + torch.linspace(0, 0.3, 64)[:, None] + torch.randn(1, 3, 64, 48) * 5e-4
    network = net().double()
    with torch.inference_mode():
        exact = network(picture.double())
    assert (in_strips(network.float(), picture, 8) - exact).abs().max() < 1e-4


def test_moments_of_strips_far_from_zero():
    """A mean of 1000 deviations: of squares in float32 no digit would be left."""
    x = torch.randn(1, 2, 70, 50, generator=torch.Generator().manual_seed(0)) + torch.linspace(1000, 1001, 70)[:, None]
    moments = Moments(2, torch.device("cpu"))
    for strip in x.split((1, 30, 30, 9), 2):
        moments.add(strip)
    var, mean = torch.var_mean(x.double(), dim=(2, 3), correction=0)
    torch.testing.assert_close(moments.mean, mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(moments.squares / moments.count, var, atol=0, rtol=1e-5)


@pytest.mark.parametrize("style", ["the_scream", "the_scream_lite"])
def test_real_styles(style: str):
    network, _ = checkpoint.load(style, "cpu")
    picture = to_tensor(open_rgb(PHOTO).resize((211, 157)))
    assert (in_strips(network.eval(), picture, 24) - whole(network, picture)).abs().max() < 1e-4


def test_a_network_that_cannot_work_in_strips_says_why():
    for pooling in (lambda x: avg_pool2d(x, 2), lambda x: x.mean(), lambda x: x[:, :1], lambda x: x * torch.ones(8, 8)):
        network = nn.Module()
        network.forward = lambda content, style, pooling=pooling: pooling(content)  # type: ignore[method-assign]
        with pytest.raises(UserError, match="cannot work in strips .*give tile=off"):
            in_strips(network, torch.rand(1, 3, 8, 8), 4)


# --- what it costs


def test_the_work_is_a_fifth_more_than_that_of_the_whole_pass():
    """Of Johnson's network, 154 thousand multiply-adds a pixel, what is done twice is the first convolution (7.8
    thousand) and the last but one (18.4): 17 %; strips of 8 rows add nothing.
    """
    network, picture = registry.build("johnson", blocks=5).eval(), torch.rand(1, 3, 64, 32)
    counts = []
    for run in (lambda: whole(network, picture), lambda: in_strips(network, picture, 8)):
        with FlopCounterMode(display=False) as counter:
            run()
        counts.append(counter.get_total_flops())
    assert 1.1 < counts[1] / counts[0] < 1.2


def test_only_a_few_rows_are_asked_for_at_a_time():
    network, picture, asked = net(), torch.rand(1, 3, 200, 20), []

    def read(top: int, bottom: int) -> Tensor:
        asked.append(bottom - top)
        return picture[:, :, top:bottom]

    with Scratch() as room:
        tiling.in_strips(network, (200, 20), read, lambda *_: None, room, rows=8)
    assert max(asked) <= 32  # 8 rows, what the convolutions reach, and a whole row more at a quarter of the size


PEAK = """
import re, sys
from pathlib import Path
import numpy as np
from stylenet.nets.registry import build
from stylenet.runtime.options import Runtime
from stylenet.stylizing.stylizer import Stylizer

def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

net = build("johnson", widths=(4, 4, 4), blocks=1)
stylize = Stylizer(net, {}, runtime=Runtime(tile=16 if sys.argv[1] == "strips" else "off", scratch=sys.argv[2]))
stylize(np.zeros((64, 64, 3), np.uint8))
picture = np.zeros((1500, 2000, 3), np.uint8)
Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held now
before = memory("VmHWM")
stylize(picture)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process can be had on Linux only")
def test_the_peak_of_memory_is_that_of_the_strips(tmp_path: Path):
    """3 megapixels: 9 MB of result and a few of 16 rows each, against 48 MB for each full-size map of four channels."""
    taken = {}
    for way in ("strips", "whole"):
        done = subprocess.run([sys.executable, "-c", PEAK, way, tmp_path], capture_output=True, text=True, check=True)
        taken[way] = float(done.stdout)
    assert taken["whole"] > 150 and taken["strips"] < 80


def test_progress_goes_from_nothing_to_all():
    told: list[float] = []
    in_strips(net(), torch.rand(1, 3, 64, 16), 8, progress=told.append)
    assert told == sorted(told) and 0 < told[0] < 0.1 and told[-1] == pytest.approx(1)


# --- scratch space


def block_of(kind: type, size: int, folder: Path) -> InFile | InMemory:
    return InFile(size, folder) if kind is InFile else InMemory(size)


@pytest.mark.parametrize("kind", [InFile, InMemory])
def test_blocks_hold_what_was_written(kind: type, tmp_path: Path):
    block, data = block_of(kind, 4000, tmp_path), np.arange(500, dtype=np.float32)
    block.write(2000, data)
    block.write(0, data[::-1].copy())
    assert (block.read(2000, 2000).view(np.float32) == data).all()
    assert (block.read(1996, 8).view(np.float32) == [0, 0]).all()
    block.close()


def test_blocks_are_used_again_and_memory_is_limited(tmp_path: Path):
    with Scratch(tmp_path, memory=1000) as room:
        first, second = room.take(800), room.take(800)
        assert isinstance(first, InMemory) and isinstance(second, InFile)
        room.give_back(second)
        assert room.take(700) is second
        room.give_back(first)
        assert isinstance(room.take(900), InMemory)  # the first was too small: its room is free for another


def open_files(folder: Path) -> list[str]:
    """Those of the folder that this process has open, removed ones too."""
    links = (os.path.realpath(f"/proc/self/fd/{number}", strict=False) for number in os.listdir("/proc/self/fd"))
    return [link for link in links if link.startswith(str(folder))]


def broken(*_: Any) -> None:
    raise OSError("the result cannot be written")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_no_file_is_left_and_none_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stylenet.stylizing.stylizer.MOST_KEPT", 0)
    stylizer = Stylizer(net(), {}, runtime=Runtime(tile=8, scratch=tmp_path))
    seen: list[tuple[list[str], list[str]]] = []
    look = lambda _: seen.append((os.listdir(tmp_path), open_files(tmp_path)))  # noqa: E731
    stylizer.picture(Picture(np.zeros((40, 40, 3), np.uint8)), progress=look)
    named, opened = zip(*seen, strict=True)
    assert any(opened) and not any(named)  # a kill in the middle leaves nothing either
    gc.collect()
    assert open_files(tmp_path) == []
    with pytest.raises(OSError, match="the result"), Scratch(tmp_path) as room:
        tiling.in_strips(net(), (40, 40), lambda top, bottom: torch.rand(1, 3, bottom - top, 40), broken, room)
    gc.collect()
    assert open_files(tmp_path) == [] and os.listdir(tmp_path) == []


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stylenet.stylizing.stylizer.MOST_KEPT", 0)
    stylizer, picture = (
        Stylizer(net(), {}, runtime=Runtime(tile=64, scratch=tmp_path)),
        np.zeros((512, 512, 3), np.uint8),
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(UserError, match=f"No room in {tmp_path} .* GB more are needed.*Give scratch=") as caught:
            stylizer(picture)
        assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(UserError, match="No room in"), Scratch(tmp_path) as room:
        room.take(2**60)  # told before anything is written
    with pytest.raises(UserError, match=r"Cannot write temporary files to .*nowhere: No such file"):
        Stylizer(net(), {}, runtime=Runtime(tile=64, scratch=tmp_path / "nowhere"))(picture)
    assert os.listdir(tmp_path) == []


def test_large_files_do_not_go_to_memory_by_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert scratch.place() == tmp_path
    monkeypatch.delenv("TMPDIR")
    if os.access("/var/tmp", os.W_OK):
        assert scratch.place() == Path("/var/tmp")


# --- in use


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    styles = [{"name": "one"}, {"name": "two"}]
    return checkpoint.save(tmp_path / "tiny.safetensors", net(n_styles=2), {"styles": styles})


def test_everything_that_holds_an_image(tiny: Path):
    by_tiles, plain = (stylenet.load(tiny, "cpu", tile=tile) for tile in (16, "off"))
    batch, weights = torch.rand(2, 3, 40, 30), torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    assert (by_tiles(batch, weights) - plain(batch, weights)).abs().max() < 1e-5
    for dtype, off in ((np.uint8, 1), (np.uint16, 3)):
        pixels = (batch[0].permute(1, 2, 0).numpy() * np.iinfo(dtype).max).astype(dtype)
        picture = Picture(pixels, alpha=pixels[..., 0], exif=b"x", dpi=(3, 4))
        ours, theirs = by_tiles.picture(picture), plain.picture(picture)
        assert ours.rgb.dtype == dtype and ours.rgb.flags.c_contiguous
        assert np.abs(ours.rgb.astype(int) - theirs.rgb.astype(int)).max() <= off
        assert (ours.alpha is picture.alpha, ours.exif, ours.dpi) == (True, b"x", (3, 4))


def test_auto_goes_by_the_free_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    stylizer: Any = load(tiny, "cpu")
    plain, picture = load(tiny, "cpu", tile="off"), half_dark(100, 80)
    ways: list[str] = []
    strips, passed = tiling.in_strips, stylizer._whole
    monkeypatch.setattr(tiling, "in_strips", lambda *args: (ways.append("strips"), strips(*args)))
    monkeypatch.setattr(stylizer, "_whole", lambda *args: (ways.append("whole"), passed(*args))[1])
    results = []
    for free in (10**10, 10**5, None):
        monkeypatch.setattr("stylenet.stylizing.stylizer.free_memory", lambda free=free: free)
        results.append(stylizer(picture))
    assert ways == ["whole", "strips", "whole"]
    assert all((result - plain(picture)).abs().max() < 1e-5 for result in results)


def test_each_picture_in_strips_gets_its_own_weights_and_room(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    photos = [Picture((half_dark(40, 30)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)) for _ in range(2)]
    weights = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    whole = load(tiny, "cpu", tile="off").pictures(photos, weights)
    strips = load(tiny, "cpu", tile=16).pictures(photos, weights)
    assert np.abs(whole[0].rgb.astype(int) - whole[1].rgb).max() > 2
    for one, other in zip(whole, strips, strict=True):
        assert np.abs(one.rgb.astype(int) - other.rgb).max() <= 1
    stylizer: Any = load(tiny, "cpu")
    width: Any = stylizer.net.config
    needed = 40 * 30 * (width["widths"][0] * base.MAPS_PER_CHANNEL + base.MORE_MAPS) * 4
    monkeypatch.setattr("stylenet.stylizing.stylizer.free_memory", lambda: round(3 * needed))  # half of it for a pass
    assert (stylizer._tiled(40, 30, 1), stylizer._tiled(40, 30, 2)) == (False, True)


def test_auto_goes_in_strips_where_the_device_turns_out_too_small(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    stylizer: Any = load(tiny, "cpu")
    picture = half_dark(60, 40)
    expected = stylizer(picture)

    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stylizer, "_whole", full)
    assert (stylizer(picture) - expected).abs().max() < 1e-5
    stylizer.tile = "off"
    with pytest.raises(UserError, match="Not enough memory on cpu for 40x60 pixels"):
        stylizer(picture)


@pytest.mark.parametrize("tile", [0, -1, 1.5, True, "many", None])
def test_other_tiles_are_refused(tiny: Path, tile: Any):
    with pytest.raises(UserError, match=f"tile={tile}: give auto, off, or"):
        stylenet.load(tiny, "cpu", tile=tile)


def test_the_script_gives_the_same_file_with_and_without(run_script, tmp_path: Path):
    results = []
    for tile in ("64", "off"):
        output = tmp_path / f"{tile}.png"
        words = [f"input={PHOTO}", "ckpt=the_scream_lite", "size=300", "device=cpu", f"scratch={tmp_path}"]
        done = run_script("stylize.py", *words, f"tile={tile}", f"output={output}")
        assert (done.returncode, done.stderr) == (0, "")
        results.append(np.asarray(open_rgb(output)).astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1
    assert sorted(os.listdir(tmp_path)) == ["64.png", "off.png"]
