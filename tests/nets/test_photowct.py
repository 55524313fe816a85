"""The network of photorealistic transfer: encoder, unpooling, decoder and the transfer from photo to photo."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import stylenet
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.vgg import VGG
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint, registry
from stylenet.nets.photowct import LEVELS, PhotoWCT
from stylenet.system.errors import UserError
from stylenet.training.closed_form import even_out, fit_decoder

PHOTOS = Path(__file__).parents[2] / "stylenet/assets/photos"
SIZES = [(1, 1), (1, 23), (9, 2), (16, 16), (33, 40), (50, 31)]


def photo(name: str, height: int = 48, width: int = 64) -> Tensor:
    return to_tensor(open_rgb(PHOTOS / name).resize((width, height)))


def untrained(**arguments: str) -> PhotoWCT:
    torch.manual_seed(0)
    net = registry.build("photowct", **arguments).eval()
    assert isinstance(net, PhotoWCT)
    net.encoder.take(vgg_weights("vgg16").state)
    return net


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    return [photo(f"train/{file.name}") for file in sorted((PHOTOS / "train").glob("*.jpg"))[:12]]


@pytest.fixture(scope="module")
def fitted(photos: list[Tensor]) -> PhotoWCT:
    net = untrained()
    even_out(net.encoder, photos)
    fit_decoder(net, photos)
    return net


def test_the_encoder_is_vgg16_but_for_borders():
    castle = photo("val/castle.jpg", 160, 160)
    features, _ = untrained().encoder.seen(castle)
    others = VGG([*LEVELS])(castle)
    for level in LEVELS:
        inner = (..., slice(7, -7), slice(7, -7))
        torch.testing.assert_close(features[level][inner], others[level][inner], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(48, 64), (45, 51)])
def test_unpooling_by_proportions_gives_back_what_was_pooled(size: tuple[int, int]):
    net = untrained()
    features, shares = net.encoder.seen(photo("val/castle.jpg", *size))
    for layer, share in zip(("relu1_2", "relu2_2", "relu3_3"), shares, strict=True):
        pooled = F.max_pool2d(features[layer], 2, ceil_mode=True)
        again = F.interpolate(pooled, scale_factor=2, mode="nearest")[..., : share.shape[2], : share.shape[3]] * share
        torch.testing.assert_close(again, features[layer], rtol=1e-5, atol=1e-5)


def test_unpooling_by_positions_leaves_the_maxima_alone():
    net = untrained(unpool="positions")
    features, shares = net.encoder.seen(photo("val/castle.jpg"))
    for layer, share in zip(("relu1_2", "relu2_2", "relu3_3"), shares, strict=True):
        assert set(share.unique().tolist()) == {0.0, 1.0}
        assert float(F.avg_pool2d(share, 2).max()) == float(F.avg_pool2d(share, 2).min()) == 0.25  # one of four
        pooled, _ = F.max_pool2d(features[layer], 2, return_indices=True)
        torch.testing.assert_close(F.max_pool2d(features[layer] * share, 2), pooled)


def test_an_evened_encoder_sees_the_same_in_other_units(photos: list[Tensor]):
    net, castle = untrained(), photo("val/castle.jpg")
    before, _ = net.encoder.seen(castle)
    even_out(net.encoder, photos)
    after, _ = net.encoder.seen(castle)
    means = torch.stack([net.encoder.seen(one)[0]["relu3_1"].mean((0, 2, 3)) for one in photos]).mean(0)
    assert float((means - 1).abs().median()) < 1e-3
    for level in LEVELS:
        scale = after[level].sum((2, 3), keepdim=True) / before[level].sum((2, 3), keepdim=True).clamp_min(1e-6)
        torch.testing.assert_close(before[level] * scale, after[level], rtol=1e-3, atol=1e-2)


def test_least_squares_leave_no_better_weights_nearby(fitted: PhotoWCT, photos: list[Tensor]):
    conv = fitted.decoder.get_submodule("conv4_1")
    given = [fitted.encoder.seen(one)[0] for one in photos]

    def error() -> float:
        with torch.no_grad():
            return sum(float((conv(f["relu4_1"]) - F.max_pool2d(f["relu3_3"], 2)).square().mean()) for f in given)

    best, weight = error(), conv.weight.data.clone()  # type: ignore[union-attr, operator]
    for seed in range(3):
        step = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * weight.std() * 0.1
        for sign in (1, -1):
            conv.weight.data = weight + sign * step  # type: ignore[union-attr]
            assert error() > best
    conv.weight.data = weight  # type: ignore[union-attr]


def test_a_fitted_decoder_shows_the_photo(fitted: PhotoWCT, photos: list[Tensor]):
    """Before any training; an untrained one shows nothing."""

    def error(net: PhotoWCT) -> float:
        with torch.no_grad():
            return sum(float((net(one) - one).square().mean()) for one in photos)

    mean_colours = sum(float((one - one.mean((2, 3), keepdim=True)).square().mean()) for one in photos)
    assert error(fitted) < 0.3 * mean_colours
    assert error(untrained()) > mean_colours


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unpool", ["proportions", "positions"])
def test_any_size_gives_the_same_size(size: tuple[int, int], unpool: str):
    net = untrained(unpool=unpool)
    found = net.transfer(torch.rand(1, 3, *size), photo("val/castle.jpg", 31, 40))
    assert found.shape == (1, 3, *size) and 0 <= float(found.min()) <= float(found.max()) <= 1
    with torch.no_grad():
        assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_the_photo_takes_the_colours_of_the_other(fitted: PhotoWCT, photos: list[Tensor]):
    """A photo in red light: its mean comes near, and the photo in its own style stays as it is decoded."""
    castle = photo("val/castle.jpg")
    red = photos[3] * torch.tensor([1.0, 0.3, 0.2]).view(1, 3, 1, 1)
    found = fitted.transfer(castle, red)
    before, after = ((one.mean((2, 3)) - red.mean((2, 3))).abs().max() for one in (castle, found))
    assert float(after) < 0.4 * float(before)
    with torch.no_grad():
        again = fitted(photos[5])
    own = fitted.transfer(photos[5], photos[5])
    assert float((own - again).abs().mean()) < 0.05  # the decoder's features differ a little from the encoder's


def test_regions_take_the_colours_of_their_own(fitted: PhotoWCT):
    castle = photo("val/castle.jpg")
    style = torch.cat([torch.rand(1, 3, 24, 64) * torch.tensor([0.9, 0.2, 0.2]).view(1, 3, 1, 1),
                       torch.rand(1, 3, 24, 64) * torch.tensor([0.2, 0.2, 0.9]).view(1, 3, 1, 1)], 2)  # fmt: skip
    labels = torch.zeros(48, 64, dtype=torch.long)
    labels[24:] = 1
    found = fitted.transfer(castle, style, (labels, labels))
    top, bottom = found[:, :, :20].mean((0, 2, 3)), found[:, :, 28:].mean((0, 2, 3))
    assert float(top[0] - top[2]) > 0.15 and float(bottom[2] - bottom[0]) > 0.15


def test_it_goes_through_a_file(fitted: PhotoWCT, tmp_path: Path):
    path = checkpoint.save(tmp_path / "photo.safetensors", fitted, {"styles": []}, half=True)
    assert path.stat().st_size < 15_000_000
    again, info = checkpoint.load(path)
    assert isinstance(again, PhotoWCT) and info["net"]["args"] == {"unpool": "proportions"}
    castle, lake = photo("val/castle.jpg"), photo("train/" + sorted((PHOTOS / "train").glob("*.jpg"))[0].name)
    torch.testing.assert_close(again.transfer(castle, lake), fitted.transfer(castle, lake), rtol=0, atol=0.1)


def test_an_unknown_way_of_unpooling_is_told():
    with pytest.raises(UserError, match=r"unpool='average'.*proportions.*positions"):
        registry.build("photowct", unpool="average")


@pytest.mark.parametrize("use", ["stylize", "export", "compare"])
def test_it_is_no_style(use: str, tmp_path: Path):
    path = checkpoint.save(tmp_path / "photo.safetensors", PhotoWCT(), {"styles": []}, half=True)
    calls = {
        "stylize": lambda: stylenet.load(path),
        "export": lambda: stylenet.export(path, "onnx"),
        "compare": lambda: stylenet.compare(PHOTOS / "val/castle.jpg", [path]),
    }
    with pytest.raises(UserError, match=r"holds no style: it is for stylenet photo content=") as error:
        calls[use]()
    assert "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["photo.safetensors"]
