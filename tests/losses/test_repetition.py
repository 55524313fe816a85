"""What repeats itself: patterns are found, strokes, photos and noise are not; and the gradient takes a pattern away."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.losses.repetition import REACH, _made, allowance, flatter, repeats, repetition

ASSETS = Path(__file__).parents[2] / "stylenet" / "assets"
NOTHING = torch.zeros(1, 2 * REACH + 1, 2 * REACH + 1)


def stripes(period: int, contrast: float = 0.2, side: int = 256) -> Tensor:
    """Vertical lines, sines."""
    wave = torch.sin(2 * torch.pi * torch.arange(side) / period)
    return (0.5 + contrast * wave).expand(1, 3, side, side)


def photo(name: str) -> Tensor:
    return to_tensor(open_rgb(next(ASSETS.rglob(f"{name}.jpg"))))


def total(picture: Tensor) -> float:
    return float(repetition(repeats(picture), NOTHING))


@pytest.mark.parametrize("contrast", [0.05, 0.2])
def test_stripes_repeat_at_their_period_and_not_at_half_of_it(contrast: float):
    """Whatever their contrast. A sine's autocorrelation is a cosine: 1 at its period, -1 at half of it."""
    found = repeats(stripes(8, contrast))[0]
    assert found[REACH, REACH + 8] > 0.85 and found[REACH, REACH - 16] > 0.85
    assert found[REACH, REACH + 4] == 0 and found[REACH, REACH] == 0
    turned = repeats(stripes(8, contrast).mT)[0]
    torch.testing.assert_close(turned, found.T, atol=2e-3, rtol=0)


def test_dots_repeat_in_both_directions():
    dots = 0.5 + (stripes(12) - 0.5) * (stripes(8).mT - 0.5) / 0.2
    found = repeats(dots)[0]
    assert found[REACH + 8, REACH + 12] > 0.8 and found[REACH + 8, REACH + 6] < 0.05


def test_noise_and_photos_hardly_repeat_and_a_cloth_in_their_flat_places_shows():
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert total(noise) < 0.1
    for name in ("castle", "astronaut", "coffee", "cat"):
        clean = photo(name)[..., :384, :384]
        cloth = (clean + stripes(6, 0.03, clean.shape[-1])[..., : clean.shape[-2], :] - 0.5).clamp(0, 1)
        assert total(clean) < 0.3 < 3 < total(cloth)


def test_what_nobody_sees_is_nothing():
    """A pattern of a tenth of a level, as rounding leaves it in a plain sky."""
    assert total(stripes(8, 0.1 / 255)) < 0.01
    assert total(torch.full((1, 3, 96, 96), 0.5)) == 0


@pytest.mark.parametrize("part, allowed", [(160, True), (64, False)])
def test_strokes_of_a_few_places_of_the_painting_are_allowed_and_those_of_one_are_not(part: int, allowed: bool):
    """A fifth of the tiles has stripes, or a hundredth."""
    painting = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0)) / 4
    painting[..., :part] = stripes(8, side=416)[..., :part]
    if not allowed:
        painting[..., part:, :part] = 0.3
    found = float(allowance(painting)[0, REACH, REACH + 8])
    assert found > 0.8 if allowed else found < 0.2


def test_each_picture_of_a_batch_is_looked_at_for_itself():
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    both = repetition(repeats(torch.cat([noise, stripes(8, side=128)])), NOTHING)
    assert both[0] < 0.5 and both[1] > 30


def test_the_gradient_takes_a_pattern_away_and_leaves_the_rest():
    clean = photo("castle")[..., :160, :160]
    cloth = clean + stripes(6, 0.03, 160) - 0.5
    picture = cloth.clone().requires_grad_()
    adam = torch.optim.Adam([picture], lr=2e-3)
    for _ in range(60):
        adam.zero_grad()
        repetition(repeats(picture), NOTHING).sum().backward()
        adam.step()
    assert total(picture.detach()) < total(cloth) / 10
    assert (picture.detach() - cloth).abs().mean() < 0.03


# --- as a term of the loss


def loss(*paintings: Tensor, weight: float = 0.5) -> PerceptualLoss:
    return PerceptualLoss([*paintings], "johnson", {"relu1_2": 1.0}, {"relu2_2": 1.0}, 1.0, 1.0, repeat_weight=weight)


def test_the_term_is_what_the_painting_does_not_have():
    """Stripes of 8 px cost nothing in the style of stripes of 8 px, and much in that of a painting without."""
    made = loss(stripes(8, side=128), photo("starry_night")[..., :256, :256])
    output, content = stripes(8, side=128), torch.full((1, 3, 128, 128), 0.5)
    terms = {k: made(output, content, made.targets(torch.eye(2)[k : k + 1]))["repeat"] for k in range(2)}
    assert terms[0] < 1e-3 and terms[1] > 20
    expected = 0.5 * repetition(repeats(output, flatter(content)), allowance(photo("starry_night")[..., :256, :256]))[0]
    torch.testing.assert_close(terms[1], expected)
    torch.testing.assert_close(made.readings({"repeat": terms[1]})["repeat"], expected * 2)
    mixed = made(output, content, made.targets(torch.tensor([[0.5, 0.5]])))["repeat"]
    assert terms[0] < mixed < terms[1]


def test_a_fence_in_the_photo_may_stay_and_is_no_leave_for_another_pattern():
    made = loss(photo("starry_night")[..., :256, :256])
    fence = stripes(8, side=128)
    assert made(fence, fence)["repeat"] < 1e-3
    assert made(fence.mT, fence)["repeat"] > 20


def test_it_looks_where_the_photo_is_flat():
    """However much contrast the output has there."""
    made = loss(photo("starry_night")[..., :256, :256])
    noise = torch.rand(1, 3, 128, 320, generator=torch.Generator().manual_seed(0)) / 4
    content = torch.cat([noise[..., :128], torch.full((1, 3, 128, 192), 0.5)], 3)
    strong = torch.cat([noise[..., :128], stripes(8, 0.4, 192)[..., :128, :]], 3)
    elsewhere = torch.cat([stripes(8, 0.4, 128), noise[..., 128:]], 3)
    assert made(strong, content)["repeat"] > 10 * made(elsewhere, content)["repeat"]


def test_a_painting_of_the_batch_allows_the_same():
    made, content = loss(), torch.full((1, 3, 128, 128), 0.5)
    output = stripes(8, side=128) * 0.9
    for painting in (stripes(8, side=128), photo("great_wave")[..., :128, :128]):
        expected = loss(painting)(output, content)["repeat"]
        torch.testing.assert_close(made(output, content, made.targets_of(painting))["repeat"], expected)


def test_no_weight_is_no_term_and_no_work():
    made = loss(stripes(8, side=32), weight=0)
    assert "repeat" not in made(stripes(8, side=32), stripes(4, side=32))
    assert made.targets().repeats is None and "repeats" not in dict(made.named_buffers())


def test_a_tiny_painting_repeats_nothing_and_tiny_pictures_have_no_such_term():
    made = loss(stripes(8, side=48))
    assert made(stripes(8, side=64), torch.full((1, 3, 64, 64), 0.5))["repeat"] > 10
    assert "repeat" not in made(stripes(8, side=64)[..., :60, :], torch.full((1, 3, 60, 64), 0.5))


def test_a_look_without_gradients_does_not_spoil_those_that_follow():
    """A validation is often the first to look, and what it made must serve the training."""
    _made.cache_clear()
    with torch.inference_mode():
        repeats(stripes(8))
    picture = stripes(8).clone().requires_grad_()
    repetition(repeats(picture), NOTHING).sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
