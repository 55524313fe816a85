"""VGG features: torchvision's network with the real weights, no deeper than asked for, and invisible to checkpoints."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

import stylenet.losses.vgg
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses.vgg import VGG, layer_names
from stylenet.losses.vgg_weights import VGGWeights, vgg_weights
from stylenet.system.errors import UserError

PHOTO = Path(__file__).parents[2] / "stylenet" / "assets" / "photos" / "val" / "astronaut.jpg"
VGG16 = "1_1 1_2 2_1 2_2 3_1 3_2 3_3 4_1 4_2 4_3 5_1 5_2 5_3".split()
VGG19 = "1_1 1_2 2_1 2_2 3_1 3_2 3_3 3_4 4_1 4_2 4_3 4_4 5_1 5_2 5_3 5_4".split()


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """An odd and an even side, so that pooling has something to cut off."""
    return to_tensor(open_rgb(PHOTO).resize((74, 61)))


def torchvisions(name: str, state: dict[str, Tensor] | None = None) -> nn.Sequential:
    """torchvision's own network, its ReLUs not in place; ``state`` by our names, else torch's random start."""
    with torch.device("cpu" if state is None else "meta"):
        features: nn.Sequential = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["DE"[name == "vgg19"]])
    for module in features:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    if state is not None:  # in the order of the network both hold weight, bias, weight, bias ...
        features.load_state_dict(dict(zip(features.state_dict(), state.values(), strict=True)), assign=True)
    return features


@torch.no_grad()
def relus(features: nn.Sequential, x: Tensor) -> list[Tensor]:
    """What comes out after each ReLU, in order."""
    seen = []
    for module in features:
        x = module(x)
        if isinstance(module, nn.ReLU):
            seen.append(x)
    return seen


@torch.no_grad()
def test_every_layer_is_torchvisions(photo: Tensor):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    expected = relus(torchvisions("vgg16", vgg_weights("vgg16").state), (photo - mean) / std)
    names = [f"relu{x}" for x in VGG16]
    found = VGG(names)(photo)
    assert list(found) == names == layer_names("vgg16")
    for name, reference in zip(names, expected, strict=True):
        assert reference.max() > 1, f"{name} is all but silent: nothing is compared"
        torch.testing.assert_close(found[name], reference, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@torch.no_grad()
def test_vgg19_has_its_own_layers_and_normalisation(photo: Tensor, monkeypatch: pytest.MonkeyPatch):
    """With random weights: the real ones would be fetched for this alone."""
    torch.manual_seed(0)
    network = torchvisions("vgg19")
    convs = [m for m in network if isinstance(m, nn.Conv2d)]
    state = {
        f"conv{x}.{part}": getattr(conv, part).detach()
        for x, conv in zip(VGG19, convs, strict=True)
        for part in ("weight", "bias")
    }
    mean, std = (0.1, 0.2, 0.3), (0.01, 0.02, 0.03)
    monkeypatch.setattr(stylenet.losses.vgg, "vgg_weights", lambda name, path: VGGWeights(state, mean, std, "random"))
    expected = relus(network, (photo - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    assert layer_names("vgg19") == [f"relu{x}" for x in VGG19]
    found = VGG(["relu5_4", "relu3_4"], "vgg19")(photo)
    torch.testing.assert_close(found["relu3_4"], expected[7])
    torch.testing.assert_close(found["relu5_4"], expected[15])


@torch.no_grad()
def test_a_picture_of_the_mean_colour_is_nought_to_the_first_convolution():
    """So nothing but its bias comes out, at the zero-padded border too."""
    bias = vgg_weights("vgg16").state["conv1_1.bias"]
    grey = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(2, 3, 5, 6)
    found = VGG(["relu1_1"])(grey)["relu1_1"]
    torch.testing.assert_close(found, bias.clamp(min=0).view(1, 64, 1, 1).expand(2, 64, 5, 6))


@torch.no_grad()
def test_nothing_deeper_than_asked_for_is_computed(photo: Tensor):
    """One pixel cannot be pooled, so going on would fail."""
    vgg, pixel = VGG(["relu3_3", "relu1_2"]), torch.rand(1, 3, 1, 1)
    assert list(vgg(pixel, ["relu1_2"])) == ["relu1_2"]
    with pytest.raises(RuntimeError):
        vgg(pixel)
    shapes = {name: tuple(x.shape) for name, x in vgg(photo).items()}
    assert shapes == {"relu1_2": (1, 64, 61, 74), "relu3_3": (1, 256, 15, 18)}
    assert not any("conv4" in name for name, _ in vgg.named_buffers())


def test_it_moves_with_its_owner_and_leaves_no_trace_in_checkpoints(photo: Tensor):
    owner = nn.Sequential(VGG(["relu1_1"]))
    assert not owner.state_dict() and not [*owner.parameters()]
    single = owner(photo)["relu1_1"]
    double = owner.double()(photo.double())["relu1_1"]
    assert double.dtype == torch.float64 and not double.requires_grad
    torch.testing.assert_close(double.float(), single)
    elsewhere = owner.to("meta")(photo.to("meta"))["relu1_1"]
    assert elsewhere.device.type == "meta"


def test_the_gradient_goes_through_to_the_picture():
    image = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    VGG(["relu2_2"])(image)["relu2_2"].sum().backward()
    assert image.grad is not None and image.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("layers", "name", "told"),
    [
        (["relu1_2", "relu3_4"], "vgg16", "'relu3_4' is not in vgg16. Allowed: relu1_1, relu1_2, relu2_1"),
        (["conv1_2"], "vgg16", "'conv1_2' is not in vgg16"),
        (["relu1_2"], "vgg11", "vgg=vgg11: no such VGG. Allowed: vgg16, vgg19."),
        ([], "vgg16", "Give one or more of: relu1_1"),
    ],
)
def test_what_it_has_not_is_told_in_one_line(layers: list[str], name: str, told: str):
    with pytest.raises(UserError) as error:
        VGG(layers, name)
    assert told in str(error.value) and "\n" not in str(error.value)
