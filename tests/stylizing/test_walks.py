"""From style to style: what lies between them, as a film and as a sheet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stylenet
from stylenet.nets import checkpoint, registry
from stylenet.stylizing.walks import Walk, along
from stylenet.system.errors import UserError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network whose styles a, b and c paint all in black, grey and white."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=0, n_styles=3, output="linear")
    with torch.no_grad():
        norm: Any = net.up[1].norm  # type: ignore[index]
        norm.weight.zero_()
        norm.bias.copy_(torch.tensor([0.0, 1, 2])[:, None])
        net.last.weight.zero_()  # type: ignore[union-attr]
        net.last.weight[:, 0, 4, 4] = 0.5  # type: ignore[index,union-attr]
        net.last.bias.zero_()  # type: ignore[union-attr]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save("photo.png")
    return checkpoint.save(tmp_path / "grey.safetensors", net, {"styles": [{"name": name} for name in "abc"]})


def frames(path: Path) -> list[float]:
    """The mean grey of each frame."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as film:
        return [float(frame.to_ndarray(format="rgb24").mean()) for frame in film.decode(video=0)]


def film(file: Path, source: str, **options: Any) -> Path:
    (made,) = stylenet.stylize_files(file, source, device="cpu", backend="torch", **options)
    return Path(made)


def test_half_way_lies_between_two_of_three():
    way = Walk(torch.eye(3), ["a", "b", "c"])
    assert way.at(0).tolist() == [1, 0, 0] and way.at(1).tolist() == [0, 0, 1]
    assert way.at(0.5).tolist() == [0, 1, 0] and way.at(0.625).tolist() == [0, 0.75, 0.25]
    assert [way.caption(part) for part in (0, 0.625, 1)] == [("a",), ("b 75 %", "c 25 %"), ("c",)]


def test_a_photo_becomes_a_film_that_goes_from_style_to_style(file: Path):
    made = film(file, "photo.png", walk=["a", "b", "c"], seconds=1, fps=9)
    assert made.name == "photo_a+b+c.mp4"
    np.testing.assert_allclose(frames(made), np.linspace(0, 255, 9), atol=3)


def test_a_film_goes_from_its_first_frame_to_its_last(file: Path):
    still = Image.open("photo.png")
    still.save("in.webp", save_all=True, append_images=[still.rotate(90 * n) for n in (1, 2)], duration=[100, 50, 200])
    made = film(file, "in.webp", output="out.webp", walk=["c", "a"])
    with Image.open(made) as animation:
        greys, times = [], []
        for number in range(animation.n_frames):  # type: ignore[attr-defined]
            animation.seek(number)
            greys.append(float(np.asarray(animation.convert("RGB")).mean()))
            times.append(animation.info["duration"])
    np.testing.assert_allclose(greys, [255, 127.5, 0], atol=3)
    assert times == [100, 50, 200]


def test_shares_are_places_to_walk_to(file: Path):
    made = film(file, "photo.png", walk=["a:0.5,c:0.5", "b:1,c:1"], seconds=0.2, fps=10)
    np.testing.assert_allclose(frames(made), [127.5, 191], atol=3)


def test_several_photos_become_several_films(file: Path):
    Image.open("photo.png").save("photo.jpg")
    made = stylenet.stylize_files(
        file, ["photo.png", "photo.jpg"], "films", walk=["a", "b"], seconds=0.2, device="cpu", backend="torch"
    )
    assert [Path(one).name for one in made] == ["photo_a+b.mp4", "photo_a+b_2.mp4"]


def test_a_sheet_of_the_way(file: Path):
    """The photo, then a, half-way, b, half-way and c."""
    page = stylenet.sheet("photo.png", file, size=64, walk=["a", "b", "c"], steps=2, columns=6, backend="torch")
    row = np.asarray(page.convert("L"))[40]
    greys = [value for value, count in zip(*np.unique(row, return_counts=True), strict=True) if count >= 40]
    assert len(greys) >= 5 and {0, 64, 128, 191, 255} <= {int(value) for value in greys}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"walk": ["a"]}, "give two styles or more"),
        ({"walk": "a"}, "give two styles or more"),
        ({"walk": ["a", "d"]}, "mix=d: there is no such style in this checkpoint"),
        ({"walk": ["a", "b"], "seconds": 0}, "seconds=0: give the length of a film in seconds"),
        ({"seconds": 2}, "seconds=2 is the length of a walk: give walk=, too"),
        ({"walk": ["a", "b"], "preview": True}, "leave one of them out"),
        ({"walk": ["a", "b"], "output": "-"}, "walk= makes films, which go from file to file"),
        ({"walk": ["a", "b"], "output": "out.jpg"}, "output=out.jpg holds no film"),
        ({"walk": ["a", "b"], "mask": "photo.png"}, "walk= leads through the styles of one network"),
    ],
)
def test_walks_that_cannot_be_gone(file: Path, options: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        film(file, "photo.png", **options)


def test_a_network_with_one_style_has_nowhere_to_go(file: Path):
    with pytest.raises(UserError, match="a has one: give ckpt=gallery"):
        film(Path(f"{file}:a"), "photo.png", walk=["a", "b"])


def test_sheets_of_walks_that_cannot_be_made(file: Path):
    with pytest.raises(UserError, match="steps=0: give the pictures from one style to the next, 1 to 50"):
        stylenet.sheet("photo.png", file, walk=["a", "b"], steps=0)
    with pytest.raises(UserError, match="steps=2 is for a walk"):
        stylenet.sheet("photo.png", file, steps=2)
    with pytest.raises(UserError, match="styles= has 2: give one"):
        stylenet.sheet("photo.png", [file, file], walk=["a", "b"])


def test_pictures_to_walk_through():
    paintings = Path(stylenet.__file__).parent / "assets/styles"
    style = stylenet.load("any", backend="torch", device="cpu")
    way = along(style, [paintings / "great_wave.jpg", paintings / "starry_night.jpg"])
    assert way.name == "great_wave+starry_night"
    torch.testing.assert_close(way.at(0.5), way.weights.mean(0))
