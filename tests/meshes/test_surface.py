"""Islands of textures, their scales, and an atlas in which all have the same one."""

from typing import Any

import numpy as np
import pytest

from benchmarks.experiments import shapes
from stylenet.meshes import atlas as atlases
from stylenet.meshes import seams as borders
from stylenet.meshes.pyramid import Pyramid
from stylenet.meshes.surface import Surface, islands, moved_inside, parted, scales, spread


def surface_of(model: shapes.Model) -> Surface:
    places = np.concatenate(model.places) * model.texture.size
    return Surface(np.concatenate(model.corners), places, np.zeros(len(places), int))


def square(corners: list, places: Any) -> Surface:
    """Two triangles of a square from four corners in reading order."""
    chosen = [[0, 2, 3], [0, 3, 1]]
    return Surface(np.array(corners, float)[chosen], np.array(places, float)[chosen], np.zeros(2, int))


def both(one: Surface, two: Surface) -> Surface:
    joined = (np.concatenate([getattr(part, name) for part in (one, two)]) for name in ("corners", "places", "texture"))
    return Surface(*joined)


FLAT = square([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], [[0, 0], [40, 0], [0, 40], [40, 40]])
BESIDE = [[1, 1, 0], [2, 1, 0], [1, 0, 0], [2, 0, 0]]  # goes on to the right of FLAT


def test_the_sides_of_a_box_are_islands_with_the_scales_they_were_given():
    surface = surface_of(shapes.box(100))
    island = islands(surface, [(100, 100)])
    assert len(surface) == 6 * 8 * 8 * 2 and island.max() == 5
    found = scales(surface, island)
    sides = sorted(1 / found[:, 0, 0] / 50 * 100)  # in percent of the texture: 2 units of length each
    assert np.allclose(sides, [8, 12, 20, 34, 36, 58]) and np.allclose(found[:, 0, 1], 0)
    assert spread(surface, island, np.broadcast_to(np.eye(2), found.shape)) == pytest.approx(58 / 8)
    assert spread(surface, island, found) == pytest.approx(1)


def test_an_island_of_uneven_scale_falls_into_even_parts():
    globe = surface_of(shapes.globe(512))
    island = islands(globe, [(512, 256)])
    parts = parted(globe, island, [(512, 256)])
    assert (island.max(), parts.max()) == (0, 6)  # a belt, and three rings around each pole
    heights = [globe.corners[parts == number][..., 1].mean() for number in range(7)]
    assert np.allclose(np.sort(heights), -np.sort(heights)[::-1], atol=0.02)
    before, after = (spread(globe, one, scales(globe, one)) for one in (island, parts))
    assert before > 1.7 and after < 1.4
    box = surface_of(shapes.box(100))
    assert np.array_equal(parted(box, islands(box, [(100, 100)]), [(100, 100)]), islands(box, [(100, 100)]))


def test_an_island_that_would_fall_into_crumbs_stays_whole(monkeypatch):
    globe = surface_of(shapes.globe(512))
    monkeypatch.setattr("stylenet.meshes.surface.PARTS", 5)
    assert parted(globe, np.zeros(len(globe), int), [(512, 256)]).max() == 0


def test_the_map_of_an_island_evens_out_its_two_directions():
    stretched = square([[0, 1, 0], [3, 1, 0], [0, 0, 0], [3, 0, 0]], [[0, 0], [10, 0], [0, 40], [10, 40]])
    assert np.allclose(scales(stretched, np.zeros(2, int)), [[[0.3, 0], [0, 1 / 40]]])


def test_islands_beside_the_texture_move_into_it_and_larger_ones_repeat_it():
    places = np.array([[100, 200], [140, 200], [100, 240], [140, 240]])
    aside = square(BESIDE, places)
    moved, repeats = moved_inside(aside, np.zeros(2, int), [(100, 100)])
    assert np.allclose(moved.places, aside.places - [100, 200]) and not repeats.any()
    large = square(BESIDE, places * [1, 2])
    moved, repeats = moved_inside(both(FLAT, large), np.array([0, 0, 1, 1]), [(100, 60)])
    assert repeats.tolist() == [False, False, True, True] and np.allclose(moved.places[2:], large.places)


def test_halves_that_share_their_pixels_are_painted_once():
    mirrored = square([[0, 1, 0], [-1, 1, 0], [0, 0, 0], [-1, 0, 0]], [[0, 0], [40, 0], [0, 40], [40, 40]])
    surface = both(mirrored, FLAT)
    island = islands(surface, [(64, 64)])
    chosen = atlases.painted_islands(surface, np.array([0, 0, 1, 1]), [(64, 64)])
    assert island.max() == 0  # their common edge joins them
    assert chosen.tolist() == [False, False, True, True]


def test_the_atlas_has_one_scale_and_gives_the_texture_back():
    model = shapes.box(128)
    rgb = np.array(model.texture)
    surface = surface_of(model)
    island = islands(surface, [(128, 128)])
    atlas = atlases.packed(surface, island, density=60.0)
    assert np.allclose(np.linalg.det(atlas.maps) ** 0.5 / np.linalg.det(scales(surface, island)) ** 0.5, 60)
    owner = atlas.owner()
    counts = np.bincount(owner[owner >= 0])
    assert np.allclose(counts, 120**2, rtol=0.02)  # of 2 units of length at 60 pixels each, without overlap
    own = atlases.owners(surface, island, 0, (128, 128))
    picture = atlases.gathered(atlas, owner, {0: Pyramid(rgb, own >= 0)})
    image = Pyramid(picture, owner >= 0)
    back = atlases.scattered(atlas, own, _tensor(image.filled()), 0, 128)
    difference = np.abs(back.transpose(1, 2, 0) - rgb)[own >= 0]
    assert difference.mean() < 6  # sampled twice


def _tensor(rgb: np.ndarray):
    import torch

    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float()


def test_too_many_pixels_make_the_scale_coarser():
    surface = surface_of(shapes.box(64))
    atlas = atlases.packed(surface, islands(surface, [(64, 64)]), density=500.0, most=1e5)
    assert atlas.size[0] * atlas.size[1] <= 1.3e5 and atlas.reduced > 3
    assert np.allclose(
        np.linalg.det(atlas.maps) ** 0.5, np.linalg.det(scales(surface, atlas.island)) ** 0.5 * 500 / atlas.reduced
    )


TURNED = [[60, 80], [60, 40], [100, 80], [100, 40]]  # a quarter turn in the texture, with its left side below


def folded() -> tuple[atlases.Atlas, np.ndarray, np.ndarray]:
    """Two squares that are one surface, the second turned in the texture; and a picture of x on the surface."""
    surface = both(FLAT, square(BESIDE, TURNED))
    island = np.array([0, 0, 1, 1])
    atlas = atlases.packed(surface, island, density=40.0)
    owner = atlas.owner()
    y, x = np.mgrid[: owner.shape[0], : owner.shape[1]] + 0.5
    points = atlas.points()
    picture = np.zeros((*owner.shape, 3), np.uint8)
    for number in (0, 1):
        # From a place in the atlas to x on the surface: a plane through three corners.
        own = points[island == number][0]
        plane = np.linalg.solve(np.column_stack([own, np.ones(3)]), surface.corners[island == number][0][:, 0])
        value = 100 * (plane[0] * x + plane[1] * y + plane[2])
        picture[owner == number] = value[owner == number].round()[:, None]
    return atlas, owner, picture


def test_beyond_its_border_an_island_goes_on_with_its_neighbour():
    atlas, owner, picture = folded()
    made = borders.seams(atlas)
    assert len(made) == 2  # one edge, from both sides
    more, known = borders.continued(picture, owner >= 0, made, margin=10)
    left, top = np.floor(atlas.shifts[0] + [40, 0]).astype(int)  # of FLAT: the texture's scale is that of the atlas
    strip = more[top + 5 : top + 35, left - 10 : left + 10, 0].astype(float)
    assert known[top + 5 : top + 35, left : left + 10].all()
    expected = 100 + (np.arange(-10, 10) + 0.5) / 40 * 100
    assert np.abs(strip - expected).max() <= 2
    assert np.array_equal(more[owner >= 0], picture[owner >= 0])


def test_two_paintings_of_a_border_become_one():
    atlas, owner, picture = folded()
    painted = np.where((owner == 0)[..., None], 40, np.where((owner == 1)[..., None], 200, 0)).astype(np.uint8)
    # The network painted the strips beyond the borders as it did the islands that they belong to.
    for number, value in ((0, 40), (1, 200)):
        grown = atlases.with_gutter(np.where(owner == number, number, -1).astype(np.int32), 14) == number
        painted[grown & (owner < 0)] = value
    made = borders.blended(painted, owner >= 0, borders.seams(atlas), width=12)
    left, top = np.floor(atlas.shifts[0] + [40, 0]).astype(int)
    row = made[top + 20, left - 14 : left + 12, 0].astype(float)
    share = (0.5 + (np.arange(-14, 12) + 0.5) / 24).clip(0, 1)
    assert np.abs(row - (40 + 160 * share)).max() <= 1
    inside = made[owner == 0][:, 0]
    assert inside.min() == 40 and inside.max() <= 120
