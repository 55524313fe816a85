"""Triangles to pixels, holes filled, textures sampled: on values worked out by hand."""

import numpy as np
import torch

from stylenet.meshes import pyramid, raster
from stylenet.meshes.pyramid import Pyramid


def test_a_pixel_is_covered_if_its_centre_is():
    triangle = np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]])
    found = raster.covering(triangle, (4, 5))
    inside = np.add.outer(np.arange(4) + 0.5, np.arange(5) + 0.5) <= 4
    assert np.array_equal(found >= 0, inside)
    assert np.array_equal(raster.covering(triangle, (2, 5), top=2), found[2:])  # a window of the same
    assert (raster.covering(triangle + 100, (4, 5)) == raster.NONE).all()


def test_two_halves_of_a_square_leave_no_hole_in_any_position():
    generator = np.random.default_rng(0)
    for _ in range(20):
        a, b, c, d = np.array([[2, 2], [13, 3], [14, 14], [3, 12]]) + generator.uniform(-1, 1, (4, 2))
        whole = raster.covering(np.stack([np.stack([a, b, c]), np.stack([a, c, d])]), (16, 16)) >= 0
        assert whole[5:11, 5:11].all() and not whole[[0, -1]].any()


def test_the_nearest_triangle_is_seen_also_where_they_cross():
    square = np.array([[[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]], [[8.0, 0.0], [8.0, 8.0], [0.0, 8.0]]])
    even = np.full((2, 3), 0.5)
    slope = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])  # x / 8
    found = raster.nearest(np.concatenate([square, square]), np.concatenate([even, slope]), (8, 8))
    assert np.array_equal(found >= 2, np.tile(np.arange(8) < 4, (8, 1)))


def test_many_pixels_in_pieces_are_the_same(monkeypatch):
    points = np.random.default_rng(1).uniform(0, 64, (50, 3, 2))
    whole = raster.covering(points, (64, 64))
    monkeypatch.setattr(raster, "AT_ONCE", 100)
    assert np.array_equal(raster.covering(points, (64, 64)), whole)


def test_holes_and_mipmaps_know_nothing_of_what_was_in_the_holes():
    picture = np.full((37, 50, 3), (255, 0, 255), np.uint8)
    known = np.zeros((37, 50), bool)
    known[10:20, 5:9], known[3:5, 40:44] = True, True
    picture[known] = (10, 200, 30)
    filled = Pyramid(picture, known)
    assert (filled.filled() == (10, 200, 30)).all()
    assert all(torch.allclose(level, level[:, :, :1, :1].expand_as(level)) for level in filled.levels)
    assert (Pyramid(picture, np.zeros_like(known)).filled() == 128).all()


def test_between_two_pixels_is_their_mean_and_between_two_levels_too():
    image = torch.tensor([[0.0, 100.0], [0.0, 100.0]])[None, None]
    assert pyramid.sample(image, np.array([[0.5, 1.0, 1.5, 9.0]]), np.full((1, 4), 1.0)).tolist() == [
        [[0, 50, 100, 100]]
    ]
    levels = [image, torch.tensor([[[[20.0]]]])]
    half = pyramid.sample_scaled(levels, np.array([[1.5]]), np.array([[1.0]]), np.array([[2**0.5]]))
    assert np.allclose(half, (100 + 20) / 2)
    assert np.allclose(pyramid.mipmaps(np.array([[[0, 4, 8]], [[2, 4, 10]]], np.uint8))[1], [[[1, 4, 9]]])
