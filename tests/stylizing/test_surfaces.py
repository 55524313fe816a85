"""Textures of models, painted at one scale: gutters, repeating textures, palettes and controls."""

import numpy as np
import pytest

from benchmarks.experiments import shapes
from benchmarks.experiments.models import steps
from stylenet.meshes import pyramid
from stylenet.meshes.surface import Surface
from stylenet.stylizing import surfaces
from stylenet.stylizing.controls import Controls
from stylenet.stylizing.surfaces import Texture
from stylenet.system.errors import UserError


def box(side: int = 160) -> tuple[Surface, np.ndarray]:
    model = shapes.box(side)
    places = np.concatenate(model.places) * side
    return Surface(np.concatenate(model.corners), places, np.zeros(len(places), int)), np.array(model.texture)


def same(picture: np.ndarray, axes: str) -> np.ndarray:
    """A network that changes nothing."""
    return picture.copy()


def test_no_gutter_is_seen_at_mip_level_3():
    surface, rgb = box()
    rgb[(rgb != shapes.GUTTER).any(-1)] = (20, 160, 20)
    made = surfaces.paint(surface, [Texture(rgb)], same, Controls()).textures[0]
    assert pyramid.mipmaps(rgb)[3][..., 0].max() > 100  # before, the loud gutter is there
    third = pyramid.mipmaps(made)[3]
    assert np.abs(third - (20, 160, 20)).max() <= 1


def test_strokes_have_one_size_on_the_surface():
    """A network that paints stripes of 4 pixels: on each side of the box they are as wide in units of length."""
    surface, rgb = box(400)
    seen = []

    def stripes(picture: np.ndarray, axes: str) -> np.ndarray:
        seen.append(picture.shape)
        made = np.zeros_like(picture)
        made[:, np.arange(picture.shape[1]) % 8 < 4] = 255
        return made

    result = surfaces.paint(surface, [Texture(rgb)], stripes, Controls(stroke=4))
    assert result.islands == 6 and result.before == pytest.approx(58 / 8) and result.after == pytest.approx(1)
    density = 512 / (2 * 3**0.5) / 4  # pixels of the atlas per unit of length: the box is 2 wide
    assert seen[0][0] * seen[0][1] > 6 * (2 * density) ** 2
    for cell in ((0.02, 0.02, 0.6, 0.6), (0.64, 0.02, 0.98, 0.36), (0.2, 0.64, 0.56, 0.98)):
        left, top, right, bottom = (round(400 * one) for one in cell)
        row = result.textures[0][(top + bottom) // 2, left + 30 : right - 30, 0] > 127  # without the blended border
        period = 2 * len(row) / np.count_nonzero(np.diff(row.astype(int)))
        assert period * 2 / (right - left) == pytest.approx(8 / density, rel=0.15)


def test_the_ends_of_an_island_meet_without_a_step():
    """A network that paints the left of its picture black and the right white: the ends of a vase are far apart."""
    model = shapes.vase(200)
    places = np.concatenate(model.places) * 200
    surface = Surface(np.concatenate(model.corners), places, np.zeros(len(places), int))
    rgb = np.array(model.texture)

    def slope(picture: np.ndarray, axes: str) -> np.ndarray:
        return np.broadcast_to(np.linspace(0, 255, picture.shape[1])[:, None], picture.shape).astype(np.uint8)

    made = surfaces.paint(surface, [Texture(rgb)], slope, Controls(stroke=4)).textures[0]
    middle = made[60, 4:-4, 0]
    assert steps(surface, slope(rgb, ""), 0) > 60
    assert steps(surface, made, 0) < 5 and np.ptp(middle.astype(int)) > 80


def test_a_texture_that_repeats_is_painted_as_a_tile():
    corners = np.array([[[0, 0, 0], [4, 0, 0], [0, 4, 0]]], float)
    surface = Surface(corners, np.array([[[0, 0], [256, 0], [0, 256]]], float), np.zeros(1, int))
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    seen = []

    def painted(picture: np.ndarray, axes: str) -> np.ndarray:
        seen.append((picture.shape[:2], axes))
        return picture

    for axes in ("xy", "x", ""):
        made = surfaces.paint(surface, [Texture(rgb, axes)], painted, Controls(stroke=0.5))
        assert made.textures[0].shape == rgb.shape
    side = int(512 / 32**0.5 / 0.5)  # one texture is one unit of length, and the diagonal has 32**0.5
    assert seen == [((side, side), "xy"), ((side, side), "x"), ((side, side), "")]


def test_colours_that_are_looked_up_stay_and_a_palette_is_painted_flat():
    surface, rgb = box()
    speck = Surface(np.array([[[3, 0, 0], [4, 0, 0], [3, 1, 0.0]]]), np.full((1, 3, 2), 155.0), np.zeros(1, int))
    rgb[155, 155] = (1, 2, 250)
    joined = Surface(
        *(np.concatenate([getattr(one, name) for one in (surface, speck)]) for name in ("corners", "places", "texture"))
    )
    black = surfaces.paint(joined, [Texture(rgb)], lambda picture, axes: np.zeros_like(picture), Controls())
    assert black.textures[0][155, 155].tolist() == [1, 2, 250] and not black.notes
    flat = surfaces.paint(speck, [Texture(rgb)], same, Controls())
    assert np.array_equal(flat.textures[0], rgb) and "no triangle covers a pixel" in flat.notes[0]


def test_strength_and_colours_mean_what_they_do_for_photos():
    surface, rgb = box()
    none = surfaces.paint(surface, [Texture(rgb)], lambda picture, axes: 255 - picture, Controls(strength=0)).textures[
        0
    ]
    loud = (rgb == shapes.GUTTER).all(-1)
    assert np.array_equal(none[~loud], rgb[~loud])
    grey = surfaces.paint(
        surface, [Texture(rgb)], lambda picture, axes: np.full_like(picture, 128), Controls(color="luminance")
    ).textures[0]
    inside = grey[10:80, 10:80].astype(float)
    assert np.ptp(inside, axis=-1).mean() > 10  # the colours are those of the texture


def test_a_model_without_extent_or_memory_is_refused(monkeypatch):
    surface, rgb = box()
    with pytest.raises(UserError, match="no extent"):
        surfaces.paint(Surface(surface.corners * 0, surface.places, surface.texture), [Texture(rgb)], same, Controls())
    monkeypatch.setattr(surfaces, "free_memory", lambda: 1000)
    with pytest.raises(UserError, match="texture of 0.0256 million pixels takes .* give a smaller size="):
        surfaces.paint(surface, [Texture(rgb)], same, Controls())
