"""Photorealistic transfer around a network: sizes, smoothing, strength, regions and the look-up table. The network
here maps means and deviations of colours, so that results are known.
"""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import region_masks
from stylenet.images.image_io import Picture
from stylenet.stylizing import photorealistic
from stylenet.stylizing.photorealistic import Photorealism
from stylenet.system.errors import UserError


class Means:
    """Moves the mean colour to the style's, in each region, and adds noise. ``sizes``: of the last pictures."""

    def __init__(self, noise: float = 0.0):
        self.noise = noise

    def transfer(self, content: Tensor, style: Tensor, labels: tuple[Tensor, Tensor] | None = None) -> Tensor:
        self.sizes = tuple(content.shape[2:]), tuple(style.shape[2:])
        made = content.clone()
        first, second = labels or (torch.zeros(self.sizes[0]), torch.zeros(self.sizes[1]))
        for number in first.unique():
            here, there = made[..., first == number], style[..., second == number]
            made[..., first == number] = here + (there.mean(2) - here.mean(2))[..., None]
        torch.manual_seed(0)
        return made + self.noise * torch.randn_like(made)


@pytest.fixture
def photo() -> np.ndarray:
    """A dark and a light half with fine texture, (120, 200, 3)."""
    pixels = np.full((120, 200, 3), 60.0)
    pixels[:, 100:] = 150
    return (pixels + np.random.default_rng(0).uniform(-8, 8, (120, 200, 1))).astype(np.uint8)


STYLE = Image.new("RGB", (90, 300), (140, 100, 120))


def made(photo: np.ndarray, net: Means | None = None, **options) -> np.ndarray:
    return photorealistic.transfer(net or Means(), photo, STYLE, Photorealism(**options)).applied(photo)


@pytest.mark.parametrize("smoothing", photorealistic.SMOOTHINGS)
def test_the_look_of_the_style_with_the_texture_of_the_photo(photo: np.ndarray, smoothing: str):
    """The same shift everywhere, and the network's own noise away, but for smoothing=none."""
    found = made(photo, Means(noise=0.05), smoothing=smoothing).astype(float)
    expected = photo + np.array([140, 100, 120]) - photo.mean((0, 1))
    np.testing.assert_allclose(found.mean((0, 1)), [140, 100, 120], atol=1)
    apart = np.abs(found - np.clip(expected, 0, 255))
    assert apart.mean() > 8 if smoothing == "none" else apart.mean() < 3


def test_a_large_photo_is_as_sharp_as_it_was(photo: np.ndarray):
    """The network sees a quarter of it; its texture is that of single pixels."""
    net, large = Means(), np.repeat(np.repeat(photo, 2, 0), 2, 1)
    large = (large + np.random.default_rng(1).uniform(-20, 20, large.shape)).clip(0, 255).astype(np.uint8)
    found = made(large, net, size=100).astype(float)
    assert net.sizes == ((60, 100), (100, 30)) and found.shape == large.shape
    texture = [np.diff(picture[:, :190].astype(float), axis=1)[20:-20] for picture in (large, found)]
    assert np.corrcoef(texture[0].reshape(-1), texture[1].reshape(-1))[0, 1] > 0.98
    assert texture[1].std() > 0.9 * texture[0].std()
    blurred = made(large, size=100, smoothing="none").astype(float)
    assert np.diff(blurred[:, :190], axis=1).std() < 0.5 * texture[0].std()


def test_strength_goes_from_the_photo_to_the_transfer(photo: np.ndarray):
    whole, half = made(photo), made(photo, strength=0.5)
    assert (made(photo, strength=0) == photo).all()
    assert np.abs(half - (photo.astype(float) + whole) / 2).max() <= 1


def test_regions_are_matched_by_their_colour(photo: np.ndarray):
    halves = np.zeros((12, 20, 3), np.uint8)
    halves[:, 10:] = 255  # another size than the photo's
    style = Image.new("RGB", (40, 40), (200, 60, 60))
    style.paste((60, 60, 200), (0, 0, 40, 20))
    style_mask = Image.new("RGB", (80, 80))
    style_mask.paste("white", (0, 0, 80, 40))
    masks, note = region_masks.labels(Image.fromarray(halves), style_mask)
    options = Photorealism(smoothing="none")
    found = photorealistic.transfer(Means(), photo, style, options, masks).applied(photo)
    assert note == ""
    np.testing.assert_allclose(found[:, :100].mean((0, 1)), [200, 60, 60], atol=1)
    np.testing.assert_allclose(found[:, 100:].mean((0, 1)), [60, 60, 200], atol=1)


@pytest.mark.parametrize("smoothing", ["guided", "matting"])
def test_contrast_comes_back_to_that_of_the_style_but_not_too_far(photo: np.ndarray, smoothing: str):
    """The network halves it. A style with little of it leaves half, one with much gives at most 1.5 times that."""

    class Fading(Means):
        def transfer(self, content: Tensor, style: Tensor, labels: Any = None) -> Tensor:
            return 0.5 + (content - content.mean()) / 2

    style = Image.new("L", (64, 64), 0)
    style.paste(255, (0, 0, 64, 32))
    for look, part in ((style.convert("RGB"), 0.75), (Image.new("RGB", (8, 8), (128, 128, 128)), 0.5)):
        done = photorealistic.transfer(Fading(), photo, look, Photorealism(smoothing)).applied(photo)
        assert abs(done.std() / photo.std() - part) < 0.03 and abs(done.mean() - 127.5) < 2


def test_the_colours_of_regions_count_as_much_as_in_the_photo():
    """A quarter of the photo is sky, half of the style photo is; a third region has no colours of its own."""
    style = torch.zeros(1, 3, 4, 4)
    style[:, :, :2], style[:, :, 2:] = 0.8, 0.4
    mine, theirs = torch.ones(8, 8, dtype=torch.long), torch.ones(4, 4, dtype=torch.long)
    mine[:2], mine[6:], theirs[:2] = 0, 2, 0
    wanted = photorealistic._colors(style, (mine, theirs))
    assert wanted.mean.sub(0.25 * 0.8 + 0.5 * 0.4 + 0.25 * 0.6).abs().max() < 1e-3


def test_alpha_and_16_bits_stay(photo: np.ndarray):
    deep = photo.astype(np.uint16) * 257 + np.random.default_rng(0).integers(0, 99, photo.shape, np.uint16)
    alpha = np.full(photo.shape[:2], 7, np.uint16)
    done = photorealistic.picture(
        Picture(deep, alpha, exif=b"e"), photorealistic.transfer(Means(), deep, STYLE, Photorealism())
    )
    assert done.rgb.dtype == np.uint16 and done.alpha is alpha and done.exif == b"e"
    assert len(np.unique(done.rgb % 257)) > 50  # no 8 bits in between
    np.testing.assert_allclose(done.rgb / 257, made(photo), atol=2)


def test_the_table_does_the_same(photo: np.ndarray):
    done = photorealistic.transfer(Means(), photo, STYLE, Photorealism(strength=0.5))
    apart = done.cube().applied(photo).astype(float) - done.applied(photo)
    assert np.abs(apart).mean() < 1


@pytest.mark.parametrize("smoothing", photorealistic.SMOOTHINGS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 400, 3), (40, 3, 3)])
def test_photos_of_any_shape_and_of_one_colour(smoothing: str, shape: tuple[int, int, int]):
    flat = np.full(shape, 90, np.uint8)
    found = made(flat, smoothing=smoothing, size=64)
    assert found.shape == shape
    np.testing.assert_allclose(found.reshape(-1, 3).mean(0), [140, 100, 120], atol=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"smoothing": "soft"}, "smoothing=soft: give guided, matting or none."),
        ({"strength": 2}, "strength=2: give a number from 0"),
        ({"strength": True}, "strength=True"),
        ({"size": 10}, "size=10: give the longer side at which the network works, 64 or more."),
        ({"size": 100.5}, "size=100.5"),
    ],
)
def test_values_that_are_not_allowed(options: dict, said: str):
    with pytest.raises(UserError, match=said):
        Photorealism(**options)


def test_results_that_are_no_numbers_are_told_of(photo: np.ndarray):
    with pytest.raises(UserError, match="values that are no numbers"):
        made(photo, Means(noise=float("nan")))


def test_another_kind_of_network_is_refused(place):
    with pytest.raises(UserError, match="ckpt=tiny is a network that paints. Use it with stylenet stylize"):
        photorealistic.load("tiny", torch.device("cpu"))
