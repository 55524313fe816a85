"""What is done to stylized pictures: how much, in which colours, where, and how broad."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

import stylenet
from stylenet import stylize_files
from stylenet.images import color
from stylenet.images.color import Colors, Match
from stylenet.images.image_io import Picture, open_rgb, to_array, to_tensor
from stylenet.nets import checkpoint, registry
from stylenet.stylizing import brush
from stylenet.stylizing.controls import Controls, MaskedStylizer
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError


def noise(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


@pytest.fixture
def style(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 6, 8), blocks=1)
    return checkpoint.save(tmp_path / "tiny.safetensors", net, {"styles": [{"name": "tiny"}]})


# --- colours


def test_lab_of_known_colours():
    """White, middle grey, and red and blue as Lindbloom's calculator gives them for sRGB under D65."""
    rgb = torch.tensor([[1.0, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]).T[None, :, :, None]
    expected = [[100, 0, 0], [53.389, 0, 0], [53.241, 80.092, 67.203], [32.297, 79.188, -107.860]]
    torch.testing.assert_close(color.lab(rgb)[0, :, :, 0].T, torch.tensor(expected), atol=0.02, rtol=0)


def test_lab_there_and_back():
    picture = noise(2, 3, 40, 40)
    torch.testing.assert_close(color.rgb(color.lab(picture)), picture, atol=2e-4, rtol=0)


def test_luminance_takes_light_from_one_and_colours_from_the_other():
    photo, stylized = noise(1, 3, 20, 20, low=0.4, high=0.6), noise(1, 3, 20, 20, seed=1, low=0.4, high=0.6)
    made = color.lab(color.luminance(photo, stylized))
    torch.testing.assert_close(made[:, :1], color.lab(stylized)[:, :1], atol=0.05, rtol=0)
    torch.testing.assert_close(made[:, 1:], color.lab(photo)[:, 1:], atol=0.05, rtol=0)


def test_colours_gathered_in_parts_are_those_of_the_whole():
    picture = noise(1, 3, 50, 30) * torch.tensor([1, 0.5, 0.2])[:, None, None]
    colors, pixels = Colors(picture.split(7, 2)), picture[0].flatten(1)
    torch.testing.assert_close(colors.mean.float(), pixels.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(colors.covariance.float(), torch.cov(pixels, correction=0), atol=1e-5, rtol=0)


def test_histogram_gives_the_mean_and_covariance_of_the_photo():
    photo = 0.5 + 0.1 * (noise(1, 3, 40, 40) - 0.5) @ torch.eye(40)
    photo[:, 1] = 0.7 * photo[:, 0] + 0.3 * photo[:, 1]  # colours that go together
    stylized = noise(1, 3, 40, 40, seed=1, low=0.3, high=0.8)
    made = Colors([Match(Colors([stylized]), Colors([photo]))(stylized)])
    torch.testing.assert_close(made.mean, Colors([photo]).mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(made.covariance, Colors([photo]).covariance, atol=3e-5, rtol=0)


def test_of_the_maps_that_match_it_is_the_one_that_moves_colours_least():
    """Two colours with their spreads exchanged: each is stretched where it is. (Whitening would do as well, turned.)"""
    spread = torch.diag(torch.tensor([0.01, 0.04, 0.02]).double())
    from_, to = Colors(), Colors()
    from_.count = to.count = 1
    from_._products, to._products = spread, spread[[1, 0, 2]][:, [1, 0, 2]]
    for most, stretched in ((None, 2.0), (1.5, 1.5)):
        expected = torch.diag(torch.tensor([stretched, 0.5, 1.0]).double())
        torch.testing.assert_close(Match(from_, to, most).matrix, expected, atol=2e-3, rtol=0)


def test_colours_are_not_stretched_without_bounds(style: Path):
    """A photo with much contrast, a result with hardly any: twice its contrast, and the photo's mean."""
    photo, pale = noise(1, 3, 40, 40), noise(1, 3, 40, 40, seed=1, low=0.48, high=0.52)
    made = Controls(color="histogram").after_tensor(photo, photo, pale)
    torch.testing.assert_close(made.std((0, 2, 3)), 2 * pale.std((0, 2, 3)), atol=1e-3, rtol=0)
    torch.testing.assert_close(made.mean((0, 2, 3)), photo.mean((0, 2, 3)), atol=1e-3, rtol=0)


def test_grey_pictures_have_colours_too():
    grey = noise(1, 1, 20, 20).expand(1, 3, 20, 20)
    assert Match(Colors([grey]), Colors([noise(1, 3, 20, 20, seed=1)]))(grey).isfinite().all()


# --- strength, and all of them on everything that holds an image


def test_strength_goes_from_the_photo_to_the_style(style: Path):
    photo = (noise(40, 30, 3) * 255).byte().numpy()
    full = stylenet.load(style, "cpu")(photo)
    assert np.abs(full.astype(int) - photo).mean() > 5
    assert (stylenet.load(style, "cpu", strength=0)(photo) == photo).all()
    half = stylenet.load(style, "cpu", strength=0.5)(photo)
    assert np.abs(half - (full.astype(float) + photo) / 2).max() <= 1


@pytest.mark.parametrize(
    "options", [{}, {"strength": 0.5}, {"color": "luminance"}, {"color": "histogram"}, {"stroke": 2}]
)
def test_a_photo_that_takes_part_in_training_gives_a_picture_that_does_not(style: Path, options: dict):
    photo = noise(1, 3, 20, 20).requires_grad_()
    made = stylenet.load(style, "cpu", **options)(photo)
    assert not made.requires_grad and (made * torch.ones(1, requires_grad=True)).sum().requires_grad


def test_numbers_of_numpy_are_numbers(style: Path):
    photo = (noise(20, 30, 3) * 255).byte().numpy()
    plain = stylenet.load(style, "cpu", tile=16, strength=0.5)(photo)
    numbers: Any = {"tile": np.int64(16), "strength": np.float32(0.5)}
    assert (stylenet.load(style, "cpu", **numbers)(photo) == plain).all()


@pytest.mark.parametrize("options", [{"strength": 0.3}, {"color": "luminance"}, {"color": "histogram"}, {"stroke": 2}])
def test_arrays_and_tensors_get_the_same(style: Path, options: dict):
    stylize = stylenet.load(style, "cpu", **options)
    batch = (interpolate(noise(2, 3, 6, 5), (48, 36), mode="bilinear") * 255).round() / 255
    together = stylize(batch)
    for photo, made in zip(batch, together, strict=True):
        alone = stylize((photo * 255).round().byte().movedim(0, -1).numpy())
        assert np.abs(alone - made.movedim(0, -1).numpy() * 255).mean() < 1.5
    assert 0 <= together.min() and together.max() <= 1
    assert (together - stylenet.load(style, "cpu")(batch)).abs().mean() > 0.01


@pytest.mark.parametrize("size", [(160, 120), (61, 47)])
@pytest.mark.parametrize("stroke", [0.5, 1.5, 2, 3, 8])
def test_a_broad_brush_is_the_same_for_arrays_tensors_and_batches(stroke: float, size: tuple[int, int]):
    """Of a photo with fine detail, painted by a network that only inverts: one resampling for all."""
    photo = (noise(*size[::-1], 3) * 255).byte().numpy()
    photo[::2, ::3] = (250, 20, 90)
    finish = Controls(stroke=stroke)
    seen = finish.before(photo)
    expected = finish.after(photo, seen, 255 - seen).astype(int)
    batch = torch.cat([to_tensor(photo), to_tensor(photo[::-1].copy())])
    small = finish.before_tensor(batch)
    made = finish.after_tensor(batch, small, 1 - small)
    assert np.abs(to_array(made[0]).astype(int) - expected).max() <= 4  # levels are rounded on the way
    assert np.abs(to_array(made[1]).astype(int)[::-1] - expected).max() <= 4


def test_strips_are_one_picture():
    """More rows than a strip has, and 16 bits."""
    photo = (noise(600, 10, 3) * 65535).to(torch.int32).numpy().astype(np.uint16)
    stylized = np.roll(photo, 50, 0)
    for finish in (Controls(strength=0.5), Controls(color="luminance"), Controls(color="histogram")):
        before, after = (torch.from_numpy(x / 65535).float().movedim(-1, 0)[None] for x in (photo, stylized))
        whole, made = finish.after_tensor(before, before, after), finish.after(photo, photo, stylized.copy())
        assert made.dtype == np.uint16
        assert np.abs(made / 65535 - whole[0].movedim(0, -1).numpy()).max() < 1e-4


# --- the brush


def painted(photo: np.ndarray, stroke: float, paint) -> np.ndarray:
    finish = Controls(stroke=stroke)
    seen = finish.before(photo)
    return finish.after(photo, seen, paint(seen))


def test_the_network_sees_the_photo_at_another_scale():
    photo = (noise(40, 60, 3) * 255).byte().numpy()
    for stroke, shape in ((0.5, (80, 120, 3)), (1, (40, 60, 3)), (2, (20, 30, 3)), (3, (13, 20, 3))):
        assert Controls(stroke=stroke).before(photo).shape == shape
        assert painted(photo, stroke, lambda small: small).shape == photo.shape


def edge(low: int, high: int, at: int = 17) -> np.ndarray:
    """Dark to the left, light to the right; not on a border of the small picture's pixels."""
    photo = np.full((48, 48, 3), low, np.uint8)
    photo[:, at:] = high
    return photo


def step(picture: np.ndarray, at: int = 17) -> np.ndarray:
    return picture[24, at].astype(int) - picture[24, at - 1]


def test_an_edge_that_the_network_painted_is_as_sharp_as_in_the_photo():
    photo = edge(20, 220)
    blurred = painted(photo, 0.25, lambda large: large)  # a fine brush adds nothing
    assert np.abs(blurred.astype(int) - photo).max() <= 12
    sharp = painted(photo, 4, lambda small: small)
    assert step(sharp).min() > 150 and np.abs(sharp.astype(int) - photo).mean() < 3


def test_an_edge_keeps_the_contrast_that_was_painted():
    """Light and dark exchanged, and half the contrast: so is what comes back of the edge."""
    photo = edge(20, 220)
    turned = painted(photo, 4, lambda small: (170 - small / 2).astype(np.uint8))
    assert -110 < step(turned).min() and step(turned).max() < -60


def test_what_the_network_did_not_paint_does_not_come_back():
    photo = edge(20, 220)
    assert np.abs(painted(photo, 4, lambda small: np.full_like(small, 100)).astype(int) - 100).max() <= 1
    speckled = (noise(64, 64, 1) * 255).byte().numpy().repeat(3, 2)
    other = (noise(16, 16, 1, seed=1) * 200).byte().numpy().repeat(3, 2)
    made = painted(speckled, 4, lambda _: other).astype(int)
    enlarged = painted(np.full_like(speckled, 128), 4, lambda _: other).astype(int)
    assert np.abs(made - enlarged).mean() < 10 < np.abs(speckled - made.mean()).mean()


def test_a_broad_brush_is_the_same_in_strips():
    """More rows of the small picture than a strip has."""
    photo = (interpolate(noise(1, 3, 200, 4), (1100, 20), mode="bilinear") * 255).byte()[0].movedim(0, -1).numpy()
    small = brush.smaller(photo, 2)
    assert len(small) > 512
    both = [torch.from_numpy(one / 255).float().movedim(-1, 0)[None] for one in (small, small[::-1].copy())]
    whole = brush._to_unit(brush._follows(*both))[0, 0].numpy()
    assert np.abs(brush.gain_levels(small, small[::-1].copy())[..., 0] - whole * 255).max() < 0.51


# --- masks


class Flat(Stylizer):
    """Paints everything in one grey."""

    def __init__(self, grey: int):
        super().__init__(torch.nn.Identity(), {}, run=lambda content, style: torch.full_like(content, grey / 255))


def test_masks_of_black_white_and_grey():
    photo = np.full((2, 6, 3), 100, np.uint8)
    mask = Image.fromarray(np.repeat(np.array([[0, 0, 255, 255, 51, 51]], np.uint8), 2, 0))
    one = MaskedStylizer([Flat(200)], [mask])
    assert one(photo)[0, :, 0].tolist() == [100, 100, 200, 200, 120, 120]
    tensor = one(torch.full((2, 3, 2, 6), 100 / 255)) * 255
    torch.testing.assert_close(tensor[1, 2, 1], torch.tensor([100.0, 100, 200, 200, 120, 120]), atol=1e-3, rtol=0)
    both = MaskedStylizer([Flat(200), Flat(50)], [mask, Image.new("L", (1, 1), 255)])
    assert both(photo)[0, :, 0].tolist() == [
        50,
        50,
        125,
        125,
        75,
        75,
    ]  # what adds up to more than white is shared
    assert [*both.pictures([Picture(photo)] * 2)[1].rgb[0, :, 0]] == [50, 50, 125, 125, 75, 75]


def test_each_photo_of_some_gets_its_own_paint(style: Path):
    photos = [Picture((noise(20, 30, 3, seed=seed) * 255).byte().numpy()) for seed in (1, 2)]
    half = Image.new("L", (1, 1), 128)
    masked = MaskedStylizer([stylenet.load(style, "cpu", backend="torch")], [half])
    for alone, together in zip(photos, masked.pictures(photos), strict=True):
        assert np.abs(masked.picture(alone).rgb.astype(int) - together.rgb).max() <= 1


def test_masks_in_python(style: Path, tmp_path: Path):
    photo = Image.fromarray((noise(40, 30, 3) * 255).byte().numpy())
    left = Image.fromarray(np.repeat(np.array([[255] * 15 + [0] * 15], np.uint8), 40, 0))
    left.save(tmp_path / "left.png")
    everywhere = np.asarray(stylenet.load(style, "cpu")(photo))
    for mask, inverted, kept in ((left, False, slice(15, 30)), (tmp_path / "left.png", True, slice(0, 15))):
        made = np.asarray(stylenet.load(style, "cpu", mask=mask, mask_invert=inverted)(photo))
        assert (made[:, kept] == np.asarray(photo)[:, kept]).all()
        assert (np.delete(made, np.r_[kept], 1) == np.delete(everywhere, np.r_[kept], 1)).all()
    with pytest.raises(UserError, match="ckpt= has 2 and mask= 1"):
        stylenet.load([style, style], mask=left)


def test_masks_through_files(style: Path, tmp_path: Path):
    photo = (noise(40, 30, 3) * 255).byte().numpy()
    Image.fromarray(photo).save(tmp_path / "photo.png")
    left = Image.fromarray(np.repeat(np.array([[255] * 15 + [0] * 15], np.uint8), 40, 0))
    left.save(tmp_path / "left.png")
    names = {"input": tmp_path / "photo.png", "output": tmp_path / "out.png", "device": "cpu", "overwrite": True}
    for inverted, kept in ((False, slice(15, 30)), (True, slice(0, 15))):
        [*_] = stylize_files(style, **names, mask=tmp_path / "left.png", mask_invert=inverted)
        off = np.abs(np.asarray(open_rgb(tmp_path / "out.png")).astype(int) - photo).mean((0, 2))
        assert off[kept].max() == 0 and np.delete(off, np.r_[kept]).min() > 5
    other = checkpoint.save(tmp_path / "b.safetensors", registry.build("johnson", widths=(4, 4, 4), blocks=0), {})
    (made,) = stylize_files([style, other], tmp_path / "photo.png", mask=[tmp_path / "left.png"] * 2, device="cpu")
    assert made.name == "photo_tiny+b.png"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": 1.2}, r"strength=1.2: give a number from 0 \(the photo\) to 1"),
        ({"strength": "much"}, "strength=much: give"),
        ({"color": "lab"}, "color=lab: give style, luminance or histogram"),
        ({"stroke": 0}, "stroke=0: give the scale of the brush, 0.25 to 8"),
        ({"mask": "nowhere.png"}, "nowhere.png"),
        ({"mask_invert": True}, "give mask=, too"),
        ({"mask": ""}, "mask='': give a picture"),
        ({"mask": np.zeros((4, 4))}, "mask=a ndarray: give a picture: its file, or a Pillow image"),
        ({"ckpt": None}, "ckpt= is empty"),
        ({"ckpt": [5]}, "ckpt=.5.: give the name or the file of a style"),
        ({"report": ""}, "report= is empty: give a name, or leave it out"),
        ({"output": 5}, "output=5: give the name of a file or a folder"),
        ({"input": None}, "input= is empty"),
        ({"ckpt": ["a", "b"]}, "ckpt= has 2 and mask= 0: give a mask for each style"),
    ],
)
def test_mistakes_are_told_before_a_style_is_looked_for(tmp_path: Path, options: dict, said: str):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=said):
        list(stylize_files(**{"ckpt": "no_such_style", "input": tmp_path / "photo.png", **options}))
