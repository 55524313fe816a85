"""Adaptive instance norm: features get the moments of a painting, and the decoder makes a picture of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.vgg import VGG
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint, registry
from stylenet.nets.adain import AdaIN
from stylenet.nets.joined import joined
from stylenet.nets.layers import AdaptiveNorm
from stylenet.nets.vgg_encoder import VGGEncoder
from stylenet.system.errors import UserError

ASSETS = Path(__file__).parents[2] / "stylenet/assets"
SMALL = {"widths": (4, 6, 8)}
SIZES = [(1, 1), (1, 23), (9, 2), (15, 17), (16, 16), (33, 40), (50, 31)]


@pytest.fixture(scope="module")
def net() -> AdaIN:
    """With VGG's real weights, and a decoder whose pictures have some contrast."""
    return made()


def made(**changes: Any) -> AdaIN:
    torch.manual_seed(0)
    net = registry.build("adain", **SMALL | changes).eval()
    assert isinstance(net, AdaIN)
    net.encoder.take(vgg_weights("vgg16").state)
    net.last.weight.data *= 5
    return net


def picture(name: str, height: int = 64, width: int = 64) -> Tensor:
    return to_tensor(open_rgb(ASSETS / name).resize((width, height)))


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return picture("photos/val/castle.jpg", 50, 71)


@pytest.fixture(scope="module")
def wave() -> Tensor:
    return picture("styles/great_wave.jpg")


@pytest.fixture(scope="module")
def stars() -> Tensor:
    return picture("styles/starry_night.jpg")


# --- the norm


def test_by_hand():
    """Two channels of two places: (1, 3) has the mean 2 and the deviation 1, (10, 30) the mean 20 and 10."""
    x = torch.tensor([[1.0, 3.0], [10.0, 30.0]]).view(1, 2, 1, 2)
    style = torch.tensor([[5.0, -1.0, 0.5, 7.0]])  # means 5 and -1, deviations 0.5 and 7
    expected = torch.tensor([[4.5, 5.5], [-8.0, 6.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(AdaptiveNorm(2)(x, style), expected, rtol=0, atol=1e-4)


def test_each_picture_of_a_batch_gets_its_own_style():
    x, styles = torch.randn(3, 4, 5, 6, dtype=torch.float64) * 3 + 2, torch.rand(3, 8, dtype=torch.float64) + 0.5
    y = AdaptiveNorm(4)(x, styles)
    torch.testing.assert_close(torch.cat([y.mean((2, 3)), y.std((2, 3), correction=0)], 1), styles, rtol=1e-4, atol=0)


def test_it_has_nothing_to_learn_and_does_not_work_without_a_style():
    norm = AdaptiveNorm(4)
    assert not norm.state_dict() and not [*norm.parameters()]
    with pytest.raises(ValueError, match="needs a style"):
        norm(torch.rand(1, 4, 5, 5))


# --- the encoder


@torch.no_grad()
def test_far_from_borders_it_sees_what_the_losses_see(net: AdaIN):
    image = picture("photos/val/castle.jpg", 96, 96)
    expected = VGG(["relu4_1"])(image)["relu4_1"]
    middle = slice(5, 7), slice(5, 7)
    found = net.encode(image)
    assert found.shape == expected.shape == (1, 512, 12, 12)
    torch.testing.assert_close(found[..., *middle], expected[..., *middle], rtol=1e-4, atol=1e-3)
    assert (found - expected).abs().max() > 1  # at the borders, where the losses' VGG sees zeros


@torch.no_grad()
def test_no_frame_shows_around_a_picture_of_one_colour(net: AdaIN):
    features = net.encode(torch.full((1, 3, 40, 48), 0.3))
    assert features.max() > 1
    torch.testing.assert_close(features, features[..., :1, :1].expand_as(features), rtol=1e-4, atol=1e-4)
    zeros = VGGEncoder()
    zeros.take(vgg_weights("vgg16").state)
    assert zeros(torch.full((1, 3, 40, 48), 0.3))["relu4_1"].std((2, 3)).max() > 1


@torch.no_grad()
def test_the_last_rows_and_columns_count_whatever_the_size(net: AdaIN):
    image = torch.zeros(1, 3, 41, 25)
    other = image.clone()
    other[..., -1, -1] = 1
    assert net.encode(image).shape == (1, 512, 6, 4)
    assert (net.encode(image) - net.encode(other)).abs().max() > 0.1


# --- the picture


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_any_size_in_the_same_size_out(net: AdaIN, wave: Tensor, size: tuple[int, int]):
    content = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    image = net(content, net.style_of(wave))
    assert image.shape == content.shape and 0 <= image.min() and image.max() <= 1


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_in_its_own_style_a_photo_is_the_autoencoders_picture(net: AdaIN, size: tuple[int, int]):
    content = picture("photos/val/castle.jpg", *size)
    torch.testing.assert_close(net(content, net.style_of(content)), net(content), rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_decoder_gets_the_photos_features_with_the_paintings_moments(net: AdaIN, photo: Tensor, wave: Tensor):
    """Against the formula of the paper (eq. 8), and moments taken by other means."""
    seen: list[Tensor] = []
    first = net.decoder[0][0]  # type: ignore[index]
    with first.register_forward_pre_hook(lambda _, given: seen.append(given[0] * 4)):  # type: ignore[union-attr]
        net(photo, net.style_of(wave))
    content, style = net.encode(photo).double().flatten(2), net.encode(wave).double().flatten(2)
    deviation = (content.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (content - content.mean(2, keepdim=True)) / deviation
    expected = expected * style.std(2, correction=0, keepdim=True) + style.mean(2, keepdim=True)
    torch.testing.assert_close(seen[0].flatten(2).double(), expected, rtol=1e-3, atol=0.05)


@torch.no_grad()
def test_a_style_is_means_and_then_deviations(net: AdaIN, wave: Tensor):
    style, features = net.style_of(wave), net.encode(wave).flatten(2)
    assert style.shape == (1, 1024) and net.n_styles == 1024
    torch.testing.assert_close(style[:, :512], features.mean(2))
    torch.testing.assert_close(style[:, 512:], features.std(2, correction=0), rtol=1e-3, atol=4e-3)


@torch.no_grad()
def test_paintings_differ_and_mix(net: AdaIN, photo: Tensor, wave: Tensor, stars: Tensor):
    """Features of a mixture are the mixture of the features (eq. 15)."""
    one, two = net.style_of(wave), net.style_of(stars)
    assert (net(photo, one) - net(photo, two)).abs().mean() > 0.01
    features = net.encode(photo)
    mixed = net.norm(features, 0.3 * one + 0.7 * two)
    expected = 0.3 * net.norm(features, one) + 0.7 * net.norm(features, two)
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("colour", [0.0, 0.4, 1.0])
@torch.no_grad()
def test_pictures_of_one_colour_work_too(net: AdaIN, photo: Tensor, wave: Tensor, colour: float):
    plain = torch.full((1, 3, 30, 40), colour)
    for content, painting in ((photo, plain), (plain, wave), (plain, plain)):
        assert net(content, net.style_of(painting)).isfinite().all()
    flat = net(plain, net.style_of(wave))  # rounding errors are not enlarged into a pattern
    assert flat.std((2, 3)).max() < 0.05


@pytest.mark.parametrize("size", [(1, 1), (37, 50)])
@torch.no_grad()
def test_the_two_parts_are_the_whole(net: AdaIN, wave: Tensor, size: tuple[int, int]):
    content, style = torch.rand(1, 3, *size), net.style_of(wave)
    assert net.in_parts
    image = net.decode(net.encode(content, style), style)[..., : size[0], : size[1]]
    assert torch.equal(image, net(content, style))


@torch.no_grad()
def test_the_grid_that_nearest_neighbour_leaves_is_not_there_with_blur(photo: Tensor):
    """Of random weights already: the part of the picture that alternates from pixel to pixel."""

    def alternating(upsample: str) -> float:
        image = made(upsample=upsample, widths=(16, 24, 32))(photo[..., :48, :64])
        signs = torch.ones(48, 64)
        signs[:, 1::2] = -1
        return float(((image * signs).mean((2, 3)) / image.std((2, 3))).abs().max())

    assert alternating("blur") < 0.01 < alternating("nearest")


@pytest.mark.parametrize("stage", [1, 2, 3])
@torch.no_grad()
def test_what_alternates_is_gone_before_each_doubling(stage: int):
    """Else each doubling would make a standing grid of it, see :func:`stylenet.nets.layers.without_nyquist`."""
    seen: list[Tensor] = []

    def alternating(layer: nn.Module, given: object, x: Tensor) -> Tensor:
        signs = torch.ones_like(x)
        signs[..., 1::2] = -1
        return 1 + signs

    def spread(upsample: str) -> float:
        net = made(upsample=upsample)
        before, after = net.decoder[stage - 1][-1], net.decoder[stage][0]  # type: ignore[index]
        before.register_forward_hook(alternating)  # type: ignore[union-attr]
        after.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # type: ignore[union-attr]
        net(torch.rand(1, 3, 16, 160))
        return float(seen[-1][..., 8:-8].std())

    assert spread("blur") < 1e-5 and spread("nearest") > 0.9


@torch.no_grad()
def test_a_linear_output_is_clamped_in_use_and_raw_in_training(photo: Tensor):
    net = made(output="linear")
    net.last.bias.data += 2  # type: ignore[operator,union-attr]
    assert net(photo).max() == 1
    assert net.train()(photo).max() > 1


# --- learning and files


def test_the_gradient_reaches_the_decoder_alone(photo: Tensor, wave: Tensor):
    net = made().train()
    net(photo, net.style_of(wave)).square().sum().backward()
    for name, weight in net.named_parameters():
        learns = name.startswith(("decoder.", "last."))
        assert learns == (weight.grad is not None and bool(weight.grad.any())), name


@torch.no_grad()
def test_a_checkpoint_needs_no_other_file(tmp_path: Path, photo: Tensor, wave: Tensor):
    net = made(widths=(64, 128, 256))
    file = checkpoint.save(tmp_path / "any.safetensors", net, {"styles": []}, half=True)
    assert 11e6 < file.stat().st_size < 15e6
    other, info = checkpoint.load(file)
    assert info["net"] == {
        "name": "adain",
        "args": {"widths": [64, 128, 256], "upsample": "blur", "output": "sigmoid"},
    }
    assert isinstance(other, AdaIN) and not any(weight.requires_grad for weight in other.encoder.parameters())
    torch.testing.assert_close(other.style_of(wave), net.style_of(wave), rtol=0.01, atol=0.05)
    torch.testing.assert_close(other(photo, other.style_of(wave)), net(photo, net.style_of(wave)), rtol=0, atol=0.02)


@torch.no_grad()
def test_with_a_fixed_style_it_is_a_network_like_any_other(
    tmp_path: Path, net: AdaIN, photo: Tensor, wave: Tensor, stars: Tensor
):
    styles = [net.style_of(wave)[0], net.style_of(stars)[0]]
    fixed = [net.fixed(style) for style in styles]
    for one, style in zip(fixed, styles, strict=True):
        assert (one.any_style, one.own_style, one.n_styles) == (False, False, 1)
        torch.testing.assert_close(one(photo), net(photo, style[None]), rtol=0, atol=1e-5)
    file = checkpoint.save(tmp_path / "wave.safetensors", fixed[0], {"styles": [{"name": "wave"}]})
    torch.testing.assert_close(checkpoint.load(file)[0](photo), fixed[0](photo))
    both, _ = joined(fixed[0], {"styles": [{"name": "wave"}]}, fixed[1], {"styles": [{"name": "stars"}]})
    mixed = both(photo, torch.tensor([[0.3, 0.7]]))
    torch.testing.assert_close(mixed, net(photo, 0.3 * styles[0][None] + 0.7 * styles[1][None]), rtol=0, atol=1e-5)


def test_what_it_says_about_itself(net: AdaIN):
    assert (net.any_style, net.own_style, net.smallest) == (True, True, 16)
    assert net.bytes_per_pixel == 5 * 64 * 4
    assert registry.build("adain", widths=(100, 8, 8)).bytes_per_pixel == 5 * 100 * 4
    assert registry.of_styles(net) == set()
    with pytest.raises(ValueError, match="begins from another net=adain, or from a net=photowct"):
        net.begin_from(registry.build("johnson", **SMALL))
    with pytest.raises(ValueError, match=r"net.widths=\[4, 6, 8\], where its decoder has \[64, 128, 256\]"):
        net.begin_from(registry.build("photowct"))
    with pytest.raises(ValueError, match="its VGG16 is not that of this run"):
        made(widths=(64, 128, 256)).begin_from(registry.build("photowct"))


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_with_the_decoder_of_the_photo_network_a_photo_keeps_its_colours(wave: Tensor, output: str):
    """The shipped network is an autoencoder of the same features, in units of its own."""
    net, photo = made(widths=(64, 128, 256), output=output), picture("photos/val/castle.jpg", 160, 224)
    net.begin_from(checkpoint.load("photo")[0])
    with torch.no_grad():
        plain, styled = net(photo), net(photo, net.style_of(wave))
    wanted, found = (F.avg_pool2d(one, 16).flatten(2)[0] for one in (photo, plain))
    assert torch.corrcoef(torch.cat([wanted, found]))[[0, 1, 2], [3, 4, 5]].min() > 0.85
    assert (wanted - found).abs().mean() < 0.15
    assert (styled - plain).abs().mean() > 0.05


@pytest.mark.parametrize(
    "args",
    [{"widths": (4, 6)}, {"widths": (0, 6, 8)}, {"upsample": "cubic"}, {"output": "tanh"}, {"frame": 8}],
    ids=str,
)
def test_arguments_out_of_range_are_told(args: dict[str, Any]):
    with pytest.raises(UserError, match="net=adain does not take these arguments"):
        registry.build("adain", **SMALL | args)


def test_a_style_of_another_length_is_refused(net: AdaIN):
    with pytest.raises(ValueError, match=r"wants \(b, 1024\)"):
        net(torch.rand(1, 3, 16, 16), torch.ones(1, 64))
