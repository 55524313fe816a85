"""wrap=panorama: a sphere's poles painted in views of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stylenet
from stylenet.stylizing import panoramas
from stylenet.system.errors import UserError

HEIGHT, WIDTH = 128, 256


def directions(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Unit vectors (right, up, forward) of the pixels; the picture's middle is forward."""
    latitude = (0.5 - (np.arange(height) + 0.5) / height)[:, None] * np.pi
    longitude = ((np.arange(width) + 0.5) / width - 0.5)[None] * 2 * np.pi
    parts = np.cos(latitude) * np.sin(longitude), np.sin(latitude) + 0 * longitude, np.cos(latitude) * np.cos(longitude)
    return np.stack(parts, -1)


def colours(towards: np.ndarray) -> np.ndarray:
    """Smooth colours of directions, each another function of all three."""
    return np.rint(127 + 90 * np.sin(towards @ [[2, 0.5, 1], [1, 2, -1], [-1, 1, 1.5]] + [0, 1, 2])).astype(np.uint8)


def load(file: Path, **options: Any) -> Any:
    return stylenet.load(file, device="cpu", **{"backend": "torch", "wrap": "panorama", **options})


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("down", [False, True])
def test_a_view_is_the_stereographic_one_seen_from_inside(down: bool):
    """Of a place (x, y), in radians, right and up from the pole: (4 x, 4 - r^2, -4 y) / (4 + r^2) looking up."""
    layout = panoramas.Layout(HEIGHT, WIDTH)
    x, y = np.meshgrid(*[(np.arange(layout.side) + 0.5 - layout.side / 2) * 2 * np.pi / WIDTH] * 2)
    square = x * x + y * y
    up, forward = (-1 if down else 1), (-y if down else y)  # the front is below for who looks up, and above below
    expected = colours(np.stack([4 * x, up * (4 - square), 4 * forward], -1) / (4 + square)[..., None])
    sheet = panoramas.sheet(colours(directions()))
    found = sheet[layout.belt :, layout.side * down : layout.side * (1 + down)]
    near = square < (2 * np.tan(np.radians(90 - panoramas.CORNERS) / 2)) ** 2
    assert sheet.shape[:2] == layout.sheet and near.mean() > 0.4 and apart(found[near], expected[near]) <= 2
    latitude = np.radians(panoramas.CORNERS)  # a corner has the colour of this latitude in its direction
    right, ahead = np.cos(latitude) / 2**0.5, np.cos(latitude) / 2**0.5 * (1 if down else -1)
    assert apart(found[0, -1], colours(np.array([right, up * np.sin(latitude), ahead]))) <= 2


def test_what_is_not_painted_stays():
    photo = colours(directions())
    assert apart(panoramas.from_sheet(panoramas.sheet(photo), HEIGHT, WIDTH), photo) <= 2
    deep = photo.astype(np.uint16) * 257
    assert apart(panoramas.from_sheet(panoramas.sheet(deep), HEIGHT, WIDTH), deep) <= 2 * 257
    odd = colours(directions(100, 201))
    assert apart(panoramas.from_sheet(panoramas.sheet(odd), 100, 201), odd) <= 2
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    back = panoramas.from_sheet_tensor(panoramas.sheet_tensor(tensor), HEIGHT, WIDTH)
    assert (back - tensor).abs().max() < 2 / 255


def test_a_round_stroke_is_round_on_the_sphere():
    """A disc at 70 degrees of latitude; in the panorama's own pixels it would be three times as high as wide."""
    layout = panoramas.Layout(HEIGHT, WIDTH)
    away = 2 * np.tan(np.radians(20) / 2) * WIDTH / (2 * np.pi)
    rows, columns = np.mgrid[: layout.side, : layout.side] + 0.5 - layout.side / 2
    sheet = np.zeros((*layout.sheet, 3), np.uint8)
    sheet[layout.belt :, : layout.side][np.hypot(columns - away, rows) < 6] = 255
    made = panoramas.from_sheet(sheet, HEIGHT, WIDTH)[..., 0] > 127
    towards, weight = directions()[made], np.cos(np.arcsin(directions()[made][:, 1]))
    middle = np.average(towards, axis=0, weights=weight)
    middle /= np.linalg.norm(middle)
    assert np.degrees(np.arcsin(middle[1])) == pytest.approx(70, abs=0.5)
    assert np.degrees(np.arctan2(middle[0], middle[2])) == pytest.approx(90, abs=0.5)  # to the right
    spread = np.sqrt(np.linalg.eigvalsh(np.cov((towards - middle).T, aweights=weight))[1:])
    assert spread[1] / spread[0] < 1.1


def test_pictures_strips_and_tensors(two_styles: Path):
    photo = colours(directions())
    made = load(two_styles)(photo)
    assert made.shape == photo.shape and apart(made, photo) > 20
    edges = np.abs(made.astype(int) - np.roll(made, 1, 1)).mean((0, 2))
    assert edges[0] < 2 * edges.mean()  # no seam
    belt = slice(HEIGHT * 50 // 180, HEIGHT * 130 // 180)
    poles = [made[: HEIGHT // 6], load(two_styles, wrap="x")(photo)[: HEIGHT // 6]]
    assert apart(*poles) > 10
    assert apart(load(two_styles, wrap="x")(photo)[belt], made[belt]) > 0  # norms of other pixels
    assert apart(load(two_styles, tile=8)(photo), made) <= 1
    tensor = load(two_styles)(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    difference = (tensor[0].permute(1, 2, 0) * 255 - torch.from_numpy(made)).abs()
    assert difference.mean() < 1.5  # the sheet of an array has levels
    assert apart(load(two_styles, strength=0.0)(photo), photo) == 0
    left = Image.new("L", (WIDTH, HEIGHT))
    left.paste(255, (0, 0, WIDTH // 2, HEIGHT))
    masked = load(two_styles, mix=["a", "b"], mask=[left, left.point(lambda level: 255 - level)])(photo)
    assert apart(masked[:, 10:100], load(two_styles, mix="a")(photo)[:, 10:100]) <= 1


def test_with_broader_strokes(two_styles: Path):
    photo = colours(directions())
    made = load(two_styles, stroke=2)(photo)
    edges = np.abs(made.astype(int) - np.roll(made, 1, 1)).mean((0, 2))
    assert made.shape == photo.shape and edges[0] < 2 * edges.mean()


def test_other_pictures_are_refused(two_styles: Path):
    for shape in ((100, 300, 3), (30, 60, 3)):
        with pytest.raises(UserError, match=f"this picture has {shape[1]}x{shape[0]}. For a strip"):
            load(two_styles)(np.zeros(shape, np.uint8))
        with pytest.raises(UserError, match="wrap=panorama is for the whole sphere"):
            load(two_styles)(torch.zeros(1, 3, *shape[:2]))


def test_each_frame_of_a_film_is_painted_as_a_panorama(two_styles: Path, tmp_path: Path):
    frames = [np.roll(colours(directions()), 20 * number, 1) for number in range(3)]
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number:03d}.png")
    options: dict[str, Any] = {"wrap": "panorama", "temporal": 0, "device": "cpu", "backend": "torch"}
    (written,) = stylenet.stylize_files(two_styles, tmp_path / "%03d.png", tmp_path / "out" / "%03d.png", **options)
    assert Path(written).parent == tmp_path / "out"
    style = load(two_styles)
    for frame, painted in zip(frames, sorted((tmp_path / "out").iterdir()), strict=True):
        with Image.open(painted) as made:
            assert apart(np.asarray(made), style(frame)) <= 1
