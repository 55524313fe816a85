"""A network for any style: it begins as the network it comes from, and its style is a linear code of a painting."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.vgg import VGG
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint, registry
from stylenet.nets.base import StyleNet
from stylenet.nets.joined import joined
from stylenet.nets.style_prediction import LAYERS, STATISTICS, Predicted
from stylenet.nets.vgg_encoder import VGGEncoder
from stylenet.system.errors import UserError

SIZES = {"widths": (4, 6, 8), "blocks": 1, "noise": 1, "frame": 4}
PAINTINGS = Path(__file__).parents[2] / "stylenet/assets/styles"


def several(n_styles: int = 3) -> StyleNet:
    """A network of several styles, all different."""
    torch.manual_seed(1)
    net = registry.build("johnson", n_styles=n_styles, **SIZES).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name in registry.of_styles(net):
                parameter += torch.randn_like(parameter) * 0.3
    return net


def predicted(code: int = 6) -> Predicted:
    torch.manual_seed(0)
    net = registry.build("predicted", code=code, hidden=8, **SIZES).eval()
    assert isinstance(net, Predicted)
    return net


@pytest.fixture(scope="module")
def seeing() -> Predicted:
    """With VGG's real weights, and a style network that tells paintings apart."""
    net = predicted()
    net.encoder.take(vgg_weights("vgg16").state)
    last = net.predict[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=3.0)
    return net


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return torch.rand(1, 3, 41, 58, generator=torch.Generator().manual_seed(0))


def painting(name: str, side: int = 96) -> Tensor:
    return to_tensor(open_rgb(PAINTINGS / f"{name}.jpg").resize((side, side)))


def test_it_sees_what_the_losses_see():
    """The encoder's features are those of the losses' VGG16, which torchvision's weights and layers are tested with."""
    encoder = VGGEncoder()
    encoder.take(vgg_weights("vgg16").state)
    picture = painting("starry_night", 64)
    features = encoder(picture)
    for layer, expected in VGG(LAYERS)(picture).items():
        torch.testing.assert_close(features[layer], expected)


def test_begins_as_the_styles_it_comes_from(photo: Tensor):
    """The code (1, 0, 1, 0 ...) paints the second style, and (1, 0, 0 ...) what the mean of the norms paints."""
    net, base = predicted(), several()
    net.begin_from(base)
    second = torch.tensor([[1.0, 0, 1, 0, 0, 0]])
    torch.testing.assert_close(net(photo, second), base(photo, torch.tensor([[0.0, 1, 0]])))
    middle = torch.full((1, 3), 1 / 3)
    torch.testing.assert_close(net(photo), base(photo, middle))


def test_more_styles_than_the_code_has_numbers(photo: Tensor):
    net, base = predicted(code=3), several(5)
    net.begin_from(base)
    torch.testing.assert_close(net(photo, torch.tensor([[1.0, 0, 1]])), base(photo, torch.eye(5)[1:2]))
    torch.testing.assert_close(net(photo), base(photo, torch.full((1, 5), 1 / 5)))


def test_a_network_of_another_size_is_refused():
    other = registry.build("johnson", widths=(4, 6, 10), blocks=1)
    with pytest.raises(ValueError, match=r"there and .* here"):
        predicted().begin_from(other)


def test_before_training_every_painting_is_the_middle():
    net = predicted()
    net.encoder.take(vgg_weights("vgg16").state)
    codes = net.style_of(torch.cat([painting("starry_night"), painting("great_wave")]))
    assert codes.tolist() == [[1.0, 0, 0, 0, 0, 0]] * 2


def test_statistics_are_means_and_deviations_of_vgg(seeing: Predicted):
    picture = painting("udnie" if (PAINTINGS / "udnie.jpg").exists() else "great_wave")
    features = VGG(LAYERS)(picture)
    expected = [part for layer in LAYERS for x in [features[layer][0].double()] for part in moments(x)]
    found = seeing.statistics(picture)
    assert found.shape == (1, STATISTICS) == (1, 2 * (64 + 128 + 256 + 512))
    torch.testing.assert_close(found[0], torch.cat(expected).float(), atol=1e-4, rtol=1e-4)


def moments(x: Tensor) -> list[Tensor]:
    places = x.flatten(1)
    mean = places.sum(1) / places.shape[1]
    return [mean, ((places - mean[:, None]) ** 2).mean(1).sqrt()]


def test_standardised_statistics_do_not_depend_on_their_unit(seeing: Predicted):
    """A channel that is a thousand times as strong in all paintings counts as much as any other."""
    measured = torch.rand(40, STATISTICS, generator=torch.Generator().manual_seed(0)) + 0.5
    one, other = predicted(), predicted()
    for net, scale in ((one, 1.0), (other, 1000.0)):
        net.load_state_dict(seeing.state_dict())
        net.standardise(measured * scale)
    torch.testing.assert_close(one.code_of(measured), other.code_of(measured * 1000), atol=0.05, rtol=0.01)


def test_two_paintings_have_two_pictures_and_one_between(seeing: Predicted, photo: Tensor):
    codes = seeing.style_of(torch.cat([painting("starry_night"), painting("great_wave")]))
    assert codes[:, 0].tolist() == [1.0, 1.0]
    first, second = (seeing(photo, code[None]) for code in codes)
    assert (first - second).abs().mean() > 0.01
    between = seeing(photo, codes.mean(0, keepdim=True))
    assert (between - first).abs().mean() < (second - first).abs().mean()
    both = seeing(photo.expand(2, -1, -1, -1), codes)
    torch.testing.assert_close(both, torch.cat([first, second]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (200, 9)])
def test_tiny_paintings(seeing: Predicted, size: tuple[int, int]):
    code = seeing.style_of(torch.full((1, 3, *size), 0.5))
    assert code.shape == (1, 6) and code.isfinite().all()


def test_the_fixed_network_of_a_painting_paints_the_same(seeing: Predicted, photo: Tensor):
    code = seeing.style_of(painting("starry_night"))
    alone = seeing.fixed(code[0])
    assert checkpoint.describe(alone)["name"] == "johnson" and alone.n_styles == 1
    torch.testing.assert_close(alone(photo), seeing(photo, code), atol=1e-5, rtol=0)


def test_gradients_reach_the_style_network_but_not_vgg(seeing: Predicted, photo: Tensor):
    net = predicted()
    net.load_state_dict(seeing.state_dict())
    net(photo, net.style_of(painting("starry_night"))).square().mean().backward()
    assert all(parameter.grad is not None for name, parameter in net.named_parameters() if name.startswith("predict"))
    assert all(parameter.grad is None for name, parameter in net.named_parameters() if name.startswith("encoder"))


def test_file_and_back(tmp_path: Path, seeing: Predicted, photo: Tensor):
    """The file needs no other: VGG's weights are in it. In half precision a picture differs by rounding alone."""
    path = checkpoint.save(tmp_path / "any.safetensors", seeing, {"styles": []}, half=True)
    net, _ = checkpoint.load(path)
    assert net.any_style
    code = net.style_of(painting("starry_night"))
    assert (net(photo, code) - seeing(photo, seeing.style_of(painting("starry_night")))).abs().max() < 0.02


def test_the_default_is_small_enough_to_ship(tmp_path: Path):
    net = registry.build("predicted", noise=1)
    path = checkpoint.save(tmp_path / "any.safetensors", net, {"styles": []}, half=True)
    assert path.stat().st_size < 15e6


@pytest.mark.parametrize("wrong", [{"code": 1}, {"code": 2.5}, {"hidden": 0}, {"n_styles": 3}])
def test_arguments_out_of_range(wrong: dict[str, object]):
    with pytest.raises(UserError, match="net=predicted does not take these arguments"):
        registry.build("predicted", **wrong)


def test_single_styles_and_joining_are_for_networks_of_several(tmp_path: Path, seeing: Predicted):
    path = checkpoint.save(tmp_path / "any.safetensors", seeing, {"styles": []})
    with pytest.raises(UserError, match="no such style"):
        checkpoint.load(f"{path}:udnie")
    with pytest.raises(ValueError, match="two kinds"):
        joined(seeing, {"styles": []}, several(1), {"styles": [{"name": "a"}]})


@pytest.mark.skipif(
    torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") != "1", reason="needs Triton's interpreter"
)
def test_the_kernels_of_a_gpu_pass_the_gradient_to_the_code(monkeypatch: pytest.MonkeyPatch):
    """Two photos with a code each: the pictures and the codes' gradients are those of the layers, in float64."""
    pytest.importorskip("triton")
    from stylenet.nets import kernels
    from stylenet.nets.kernel_net import TrainingPass

    monkeypatch.setattr(kernels, "LANES", 2**15)  # the interpreter takes long for many programs
    net = predicted().double().train()
    photos = torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for run in (net, TrainingPass(net)):
        code = torch.tensor([[1.0, 0.5, -1, 0, 2, 0], [1.0, 0, 0, 3, 0, 1]], dtype=torch.float64, requires_grad=True)
        picture = run(photos, code)
        (picture**2).sum().backward()
        found.append((picture.detach(), code.grad))
    for layers, kernel in zip(*found, strict=True):
        torch.testing.assert_close(kernel.double(), layers.double(), rtol=1e-4, atol=1e-5)
