"""wrap=: a picture that goes on at its other side, and so does the result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stylenet
from stylenet.stylizing import wraps
from stylenet.system.errors import UserError


def tile(height: int, width: int) -> np.ndarray:
    """A smooth texture that goes on at both other sides."""
    down, across = np.mgrid[:height, :width] * 2 * np.pi / np.array([height, width])[:, None, None]
    waves = [np.sin(2 * across + 1), np.cos(3 * down), np.sin(across) * np.cos(down)]
    return np.rint(127 + 110 * np.stack(waves, -1)).astype(np.uint8)


def load(file: Any, **options: Any) -> Any:
    return stylenet.load(file, device="cpu", **{"backend": "torch", **options})


def rolled(picture: np.ndarray, axes: str) -> np.ndarray:
    height, width = picture.shape[:2]
    return np.roll(picture, ((height // 2) * ("y" in axes), (width // 2) * ("x" in axes)), (0, 1))


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize(("wrap", "axes"), [("x", "x"), ("y", "y"), ("both", "xy")])
def test_the_rolled_picture_gives_the_rolled_result(two_styles: Path, wrap: str, axes: str):
    photo, style = tile(48, 64), load(two_styles, wrap=wrap)
    assert apart(style(rolled(photo, axes)), rolled(style(photo), axes)) <= 1
    plain = load(two_styles)
    assert apart(plain(rolled(photo, axes)), rolled(plain(photo), axes)) > 10
    assert apart(load(two_styles, wrap=wrap, tile=8)(photo), style(photo)) <= 1


def test_sides_that_the_network_cannot_halve_are_scaled_a_little(two_styles: Path):
    photo, style = tile(50, 70), load(two_styles, wrap="both")
    made = style(photo)
    assert made.shape == photo.shape
    assert apart(style(rolled(photo, "xy")), rolled(made, "xy")) <= 3
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    difference = (style(tensor)[0].permute(1, 2, 0) * 255 - torch.from_numpy(made)).abs()
    assert difference.mean() < 6, difference.mean()  # scaled by other filters


def test_a_scaled_tile_is_a_tile():
    """Scaled as if it went on, a tile is the same as scaled after it was rolled."""
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    scaled = wraps.resized(photo, (48, 64), "xy")
    assert apart(wraps.resized(rolled(photo, "xy"), (48, 64), "xy"), rolled(scaled, "xy")) <= 1
    assert apart(wraps.resized(photo, (48, 64), ""), scaled) > 3
    assert wraps.sides((50, 71), "x", 4) == (50, 72) and wraps.sides((5, 9), "xy", 8) == (32, 32)


def test_controls_masks_and_settings_with_wrap(two_styles: Path):
    photo = tile(48, 64)
    assert (load(two_styles, wrap="x", strength=0.0)(photo) == photo).all()
    left = Image.new("L", (64, 48))
    left.paste(255, (16, 0, 48, 48))
    masks = [left, left.point(lambda level: 255 - level)]
    both = load(two_styles, mix=["a", "b"], mask=masks, wrap="x")
    assert both.net.wrap == "x" and both(photo).shape == photo.shape
    page = stylenet.compare(Image.fromarray(photo), two_styles, ["", "wrap=x"], size=64, device="cpu", backend="torch")
    assert page.width > 3 * 64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wrap": "z"}, "wrap=z: give x, y or both, where the picture goes on"),
    ],
)
def test_what_cannot_wrap(two_styles: Path, options: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        load(two_styles, **options)


def test_broader_strokes_wrap_too(two_styles: Path):
    photo = tile(64, 96)
    style, plain = load(two_styles, wrap="both", stroke=1.5), load(two_styles, stroke=1.5)
    assert apart(style(rolled(photo, "xy")), rolled(style(photo), "xy")) <= 2
    even = load(two_styles, wrap="both", stroke=2)
    assert apart(even(rolled(photo, "xy")), rolled(even(photo), "xy")) <= 2
    assert apart(plain(rolled(photo, "xy")), rolled(plain(photo), "xy")) > 20
    tensor = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    difference = (even(tensor)[0].permute(1, 2, 0) * 255 - torch.from_numpy(even(photo))).abs()
    assert difference.mean() < 2, difference.mean()  # arrays have levels at each step
