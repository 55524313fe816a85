"""Look-up tables: what they are fitted to, what they promise, and that FFmpeg reads them as we do."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylenet.images import lut

LUMA = torch.tensor(lut.LUMA)


@pytest.fixture(scope="module")
def colors() -> Tensor:
    """Colours of a photo without saturated ones."""
    torch.manual_seed(0)
    grey = torch.rand(4000, 1)
    return (grey + 0.15 * (torch.rand(4000, 3) - 0.5)).clamp(0, 1)


def dimmed(colors: Tensor) -> Tensor:
    """A dark blue look."""
    return colors**1.5 * torch.tensor([0.5, 0.6, 0.9]) + torch.tensor([0.0, 0.02, 0.05])


@pytest.fixture(scope="module")
def cube(colors: Tensor) -> lut.Cube:
    return lut.fitted(colors, dimmed(colors))


def test_the_change_of_colours_is_met_and_goes_on_to_others(cube: lut.Cube, colors: Tensor):
    assert (cube(colors) - dimmed(colors)).abs().mean() < 2 / 255
    red = torch.tensor([[0.9, 0.1, 0.1]])
    assert -0.4 < (cube(red) - red)[0, 0] < -0.2  # never seen: about as the nearest, greys and light reds
    assert cube.table.shape == (33, 33, 33, 3) and 0 <= cube.table.min() and cube.table.max() <= 1


def test_nothing_changes_where_nothing_did(colors: Tensor):
    torch.testing.assert_close(lut.fitted(colors, colors).table.double(), lut.identity(), atol=1e-4, rtol=0)


def test_colours_between_entries_are_interpolated_in_tetrahedra():
    """Worked out by hand: 2 entries to a side, (r, g, b) = (0.6, 0.2, 0.5) is 0.4, 0.1, 0.3 and 0.2 of black, red,
    magenta and white.
    """
    table = torch.zeros(2, 2, 2, 3)
    table[0, 0, 0], table[1, 0, 0] = torch.tensor([0.1, 0.0, 0.2]), torch.tensor([0.9, 0.1, 0.0])
    table[1, 0, 1], table[1, 1, 1] = torch.tensor([0.5, 0.2, 0.7]), torch.tensor([1.0, 1.0, 0.8])
    found = lut.Cube(table)(torch.tensor([[0.6, 0.2, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[0.48, 0.27, 0.45]]))


def test_what_is_lighter_never_becomes_darker(colors: Tensor):
    """Fitted to a look that turns lightness over: it cannot be followed, and the order stays."""
    table = lut.fitted(colors, 1 - colors)
    torch.manual_seed(1)
    below = torch.rand(20_000, 3)
    above = (below + 0.3 * torch.rand(20_000, 1)).clamp(max=1)
    same = (above - below).std(1) < 1e-7  # not clamped: lighter by the same amount in all channels
    assert same.sum() > 10_000
    assert (table(above[same]) @ LUMA - table(below[same]) @ LUMA).min() > -1e-5
    fine = torch.linspace(0, 1, 1001)[:, None].repeat(1, 3)
    assert (table(fine) @ LUMA).diff().min() > -1e-5


def test_pooling_of_what_falls():
    line = np.array([[0.1] * 3, [0.5] * 3, [0.3] * 3, [0.2] * 3, [0.9] * 3])
    np.testing.assert_allclose(lut._pooled(line)[:, 0], [0.1, 1 / 3, 1 / 3, 1 / 3, 0.9])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_8_and_16_bits(cube: lut.Cube, dtype: type):
    top = np.iinfo(dtype).max
    picture = (np.random.default_rng(0).random((300, 4, 3)) * top).astype(dtype)
    made = cube.applied(picture)
    expected = cube(torch.from_numpy(picture.reshape(-1, 3).astype(np.float32)) / float(top))
    assert made.dtype == dtype and made.shape == picture.shape
    np.testing.assert_allclose(made.reshape(-1, 3) / top, expected.numpy(), atol=0.51 / top)


def test_the_file_is_a_cube_of_33_with_red_fastest(cube: lut.Cube, tmp_path: Path):
    cube.write(tmp_path / "look.cube", 'a "look"')
    lines = (tmp_path / "look.cube").read_text().splitlines()
    assert lines[:2] == ["TITLE \"a 'look'\"", "LUT_3D_SIZE 33"] and len(lines) == 2 + 33**3
    rows = np.array([line.split() for line in lines[2:]], float)
    np.testing.assert_allclose(rows[1 + 2 * 33 + 3 * 33**2], cube.table[1, 2, 3], atol=1e-6)


def test_ffmpeg_makes_the_same_picture_of_it(cube: lut.Cube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("av")
    from av.filter import Graph
    from av.video.frame import VideoFrame

    monkeypatch.chdir(tmp_path)  # no colon of a path in the filter's options
    cube.write("look.cube", "look")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frame = VideoFrame.from_ndarray(picture, "rgb24")
    graph = Graph()
    source = graph.add_buffer(width=64, height=64, format=frame.format, time_base=Fraction(1, 25))
    table, sink = graph.add("lut3d", "look.cube"), graph.add("buffersink")
    source.link_to(table)
    table.link_to(sink)
    graph.configure()
    graph.push(frame)
    made = graph.pull()
    assert isinstance(made, VideoFrame)
    theirs = made.to_ndarray(format="rgb24")
    assert np.abs(theirs.astype(int) - cube.applied(picture)).max() <= 1
