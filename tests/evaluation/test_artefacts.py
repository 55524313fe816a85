"""Each measure reacts to a planted artefact, and neither to clean photos nor to real brush strokes."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from stylenet.data.paintings import BUNDLED, open_painting
from stylenet.evaluation.artefacts import bands, border, border_ring, dots, flat, grid, out_of_range, saturated, weave
from stylenet.evaluation.metrics import squares
from stylenet.images.image_io import to_tensor

SIDE = 384  # pixels


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    return squares(None, SIDE, 4)


def ring(image: Tensor) -> Tensor:
    """1 in the outer 8 px, 0 inside."""
    mask = torch.ones_like(image)
    mask[..., 8:-8, 8:-8] = 0
    return mask


def lattice(side: int, period: float, angle: float = 0.3) -> Tensor:
    """Round dots of height 1 on a square lattice that stands askew: ``(1, 1, side, side)``."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    u, v = (a - (a / period).round() * period for a in (u, v))
    return torch.exp(-(u.square() + v.square()) / (2 * (period / 5) ** 2))[None, None]


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_faint_grid_is_seen_and_photos_have_none(photos: list[Tensor], period: int, axis: int):
    lines = torch.cos(torch.arange(SIDE) * 2 * torch.pi / period).view([-1 if i == axis else 1 for i in range(4)])
    for photo in photos:
        assert grid(photo) < 3
        assert grid(photo + 0.05 * lines) > 3 * grid(photo)


def test_a_grid_of_another_period_is_not_counted(photos: list[Tensor]):
    wave = 0.02 * torch.cos(torch.arange(SIDE) * 2 * torch.pi / 8).view(1, 1, 1, -1)
    assert grid(photos[0] + wave) == pytest.approx(grid(photos[0]), rel=0.2)


def test_contrast_at_the_border_is_seen():
    torch.manual_seed(0)
    even = torch.rand(1, 3, 96, 96)
    assert border(even) == pytest.approx(1, abs=0.03)
    assert border(even + (even - 0.5) * ring(even)) == pytest.approx(2, abs=0.06)  # twice the contrast in 8 px


def test_a_photo_has_no_ring_against_itself_however_uneven_it_is(photos: list[Tensor]):
    for photo in photos:
        assert border_ring(photo, photo) == 1
        assert border_ring(photo * 0.5 + 0.2, photo) == pytest.approx(1, abs=0.02)  # flatter and lighter all over


def test_a_ring_of_other_colour_or_contrast_is_told_by_how_much():
    torch.manual_seed(0)
    even = torch.rand(1, 3, 128, 128)  # its standard deviation is sqrt(1 / 12)
    darker = even - 0.1 * ring(even)
    assert border_ring(darker, even) == pytest.approx(1 + 0.1 * math.sqrt(12), abs=0.02)
    for factor in (0.5, 2):
        contrast = even + (factor - 1) * (even - 0.5) * ring(even)
        assert border_ring(contrast, even) == pytest.approx(2, abs=0.05)


def test_rings_on_photos_are_seen(photos: list[Tensor]):
    for photo in photos:
        assert border_ring(photo - 0.1 * ring(photo), photo) > 1.15
        assert border_ring(photo * (1 - 0.4 * ring(photo)), photo) > 1.3


def test_the_share_of_pixels_out_of_range():
    image = torch.full((1, 3, 10, 10), 0.5)
    image[0, 0, 0, :3] = 1.01
    image[0, :, 5, 5] = -0.01
    image[0, 1, 9, 9] = torch.nan
    assert out_of_range(image) == pytest.approx(0.05)
    assert out_of_range(image.nan_to_num().clamp(0, 1)) == 0


def test_black_and_blown_pixels_are_counted_and_pure_colours_are_not():
    image = torch.full((1, 3, 10, 10), 0.5)
    image[..., 0, :] = 0.01
    image[..., 1, :5] = 1
    image[0, :, 2] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1)
    assert saturated(image) == pytest.approx(0.15)


def test_broken_outputs_give_numbers(photos: list[Tensor]):
    black = torch.zeros(1, 3, SIDE, SIDE)
    assert (grid(black), dots(black), saturated(black), out_of_range(black)) == (0, 0, 1, 0)
    assert math.isfinite(border_ring(black, photos[0])) and math.isfinite(bands(black, photos[0]))
    assert (weave(black), flat(black, photos[0]), flat(photos[0], black)) == (0, 1, 0)


def test_photos_and_brush_strokes_have_no_dots(photos: list[Tensor]):
    paintings = [to_tensor(open_painting(str(path), SIDE)) for path in BUNDLED.glob("*.jpg")]
    assert max(dots(picture) for picture in [*photos, *paintings]) < 0.06


@pytest.mark.parametrize("period", [5, 8, 12.5, 20])
def test_faint_dots_are_seen_at_every_period(photos: list[Tensor], period: float):
    for photo in photos:
        assert dots(photo + 0.1 * lattice(SIDE, period)) > 0.1


def test_dots_on_an_even_sky_are_told_in_full_and_noise_is_not():
    torch.manual_seed(0)
    sky = torch.linspace(0.5, 0.7, 256).view(1, 1, -1, 1).expand(1, 3, 256, 256)
    assert dots(sky) == pytest.approx(0, abs=0.01)
    assert dots(sky + 0.05 * torch.randn(1, 1, 256, 256)) < 0.05
    assert dots(sky + 0.05 * lattice(256, 8)) > 0.8
    assert dots(sky + 0.004 * lattice(256, 8)) < 0.2  # one level of 255: not seen


def test_dots_of_which_half_is_noise_score_half():
    torch.manual_seed(0)
    pattern = lattice(256, 10, angle=0)
    noise = pattern.std() * torch.randn(1, 1, 256, 256)
    assert dots(0.5 + 0.1 * (pattern + noise).expand(1, 3, -1, -1)) == pytest.approx(0.5, abs=0.08)


def test_stripes_of_one_width_are_seen_and_a_single_line_is_not():
    stripes = 0.5 + 0.05 * torch.sin(torch.arange(256) * 2 * torch.pi / 11).expand(1, 3, 256, 256)
    line = torch.full((1, 3, 256, 256), 0.5)
    line[..., 130:134] = 0.6
    assert dots(stripes) > 0.8
    assert dots(line) < 0.05


def test_what_repeats_further_away_than_24_px_is_not_counted():
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    for period, least, most in ((22, 0.5, 1), (34, 0, 0.1)):
        waves = 0.5 + 0.05 * torch.cos((x + y) / math.sqrt(2) * 2 * torch.pi / period)
        assert least <= dots(waves.expand(1, 3, 256, 256)) <= most


def turned(image: Tensor, edge: int) -> Tensor:
    """What is at the right edge, at the top, left or bottom instead."""
    return image.rot90(edge, (2, 3))


def right_band(image: Tensor, width: int) -> Tensor:
    """1 in the last ``width`` columns, 0 elsewhere."""
    return (torch.arange(image.shape[-1]) >= image.shape[-1] - width).expand_as(image).float()


@pytest.mark.parametrize("edge", range(4))
def test_a_band_along_one_edge_is_told_by_how_much(edge: int):
    torch.manual_seed(0)
    even = torch.rand(1, 3, 512, 512)  # its standard deviation is sqrt(1 / 12)
    for width in (8, 16, 32):
        bluer = even + 0.1 * right_band(even, width) * torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
        assert bands(turned(bluer, edge), turned(even, edge)) == pytest.approx(1 + 0.1 * math.sqrt(12), abs=0.02)
        for factor in (0.5, 2):
            contrast = even + (factor - 1) * (even - 0.5) * right_band(even, width)
            assert bands(turned(contrast, edge), turned(even, edge)) == pytest.approx(2, abs=0.1)


def test_a_photo_has_no_band_against_itself_and_a_planted_one_is_seen(photos: list[Tensor]):
    yellow = torch.tensor([0.95, 0.85, 0.1]).view(1, 3, 1, 1)
    for photo in photos:
        assert bands(photo, photo) == 1
        assert bands(photo * 0.5 + 0.2, photo) == pytest.approx(1, abs=0.05)  # flatter and lighter all over
        planted = right_band(photo, 10)
        assert bands(torch.lerp(photo, yellow, planted), photo) > 1.5
        assert bands(torch.lerp(photo, yellow, planted), photo) > bands(torch.lerp(photo, yellow, planted / 4), photo)


def test_a_smoother_or_rougher_band_is_seen_though_its_colour_is_the_same(photos: list[Tensor]):
    torch.manual_seed(0)
    for photo in photos:
        strokes = photo + 0.1 * torch.randn(1, 1, SIDE, SIDE)
        detail = strokes - avg_pool2d(strokes, 9, stride=1, padding=4, count_include_pad=False)
        assert bands(strokes, photo) < 1.1
        for change in (-0.7, 1):
            assert bands(strokes + change * detail * right_band(photo, 10), photo) > 1.4


def test_what_departs_along_half_an_edge_only_is_no_band():
    torch.manual_seed(0)
    even = torch.rand(1, 3, 256, 256)
    half = even.clone()
    half[..., :128, -16:] = 0
    assert bands(half, even) < 1.1
    half[..., -16:] = 0
    assert bands(half, even) > 2


def weaving(side: int, period: float, region: int) -> Tensor:
    """Crossing stripes of contrast 1, from -0.5 to 0.5; the direction and the phase of each region are its own."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    regions = -(-side // region)
    phases = (6.28 * torch.rand(3, regions, regions)).repeat_interleave(region, 1).repeat_interleave(region, 2)
    angle, one, other = phases[:, :side, :side]
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    across, along = ((2 * torch.pi * a / period + phase).cos() / 4 for a, phase in ((u, one), (v, other)))
    return (across + along)[None, None]


def test_photos_paintings_and_noise_have_no_weave(photos: list[Tensor]):
    paintings = [to_tensor(open_painting(str(path), SIDE)) for path in BUNDLED.glob("*.jpg")]
    assert max(weave(picture) for picture in [*photos, *paintings]) < 0.15
    torch.manual_seed(1)
    assert weave(0.5 + 0.05 * torch.randn(1, 1, 256, 256).expand(1, 3, -1, -1)) < 0.01


@pytest.mark.parametrize("period", [4, 8, 16, 22])
def test_a_weave_is_seen_whatever_its_phase_and_direction_are_from_place_to_place(period: float):
    torch.manual_seed(1)
    sky = torch.linspace(0.5, 0.7, SIDE).view(1, 1, -1, 1) + 0.005 * torch.randn(1, 1, SIDE, SIDE)
    woven = (sky + 0.03 * weaving(SIDE, period, 64)).expand(1, 3, -1, -1)
    assert weave(woven) > 0.3
    assert weave(woven) > dots(woven) + 0.15  # which averages the directions away


def test_a_weave_in_flat_places_only_is_seen(photos: list[Tensor]):
    half = (torch.arange(SIDE) < SIDE // 2).view(1, 1, 1, -1)
    for photo in photos:
        sky = torch.where(half, 0.6 + 0.002 * torch.randn(1, 1, SIDE, SIDE), photo)
        assert weave(torch.where(half, sky + 0.03 * weaving(SIDE, 8, 64), sky)) > weave(sky) + 0.3


def test_the_share_of_flat_places_is_told():
    torch.manual_seed(0)
    painting = 0.5 + 0.1 * torch.randn(1, 1, 256, 256).expand(1, 3, -1, -1)
    picture = painting.clone()
    assert flat(picture, painting) == 0
    picture[..., :128] = 0.5
    assert flat(picture, painting) == 0.5
    for share, answer in ((0.09, 1), (0.11, 0)):
        assert flat(0.5 + share * (painting - 0.5), painting) == answer
    checks = 0.5 + 0.05 * ((torch.arange(256) // 32) % 2).expand(1, 3, 256, 256)
    assert flat(checks, painting) == 1  # contrast between windows is not within
