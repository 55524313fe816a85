"""The kernel after VGG's convolutions, in Triton's interpreter: what PyTorch's layers give, and their gradient."""

import logging
import os

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.losses import vgg
from stylenet.losses.vgg import VGG

pytest.importorskip("triton")
from stylenet.losses import vgg_kernels

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
pytestmark = pytest.mark.skipif(
    not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1", reason="needs the interpreter"
)


def seeded(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 4)], ids=str)
def test_bias_relu_and_maxima(size, dtype):
    x, bias = seeded(2, 70, *size, dtype=dtype), seeded(70, seed=1, dtype=dtype)
    expected = (x.float() + bias.float()[:, None, None]).relu().to(dtype)
    close = {"rtol": 1e-2 if dtype == torch.bfloat16 else 0, "atol": 0}  # the interpreter cuts off where others round
    torch.testing.assert_close(vgg_kernels.bias_relu(x.clone(), bias), expected, **close)
    given = x.clone()
    y, most = vgg_kernels.bias_relu_pool(given, bias)
    torch.testing.assert_close(y, expected, **close)
    assert y.data_ptr() == given.data_ptr()
    if min(size) > 1:
        assert torch.equal(most, F.max_pool2d(y, 2))
    else:
        assert most.shape == (2, 70, 0, 2)


@pytest.mark.parametrize("uses", ["both", "map", "maxima"])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)], ids=str)
def test_the_gradient_of_map_and_maxima(size, uses):
    """Numbers are rounded to halves, so that squares have equal maxima: the first of them gets the gradient."""
    x, bias = (seeded(2, 5, *size) * 2).round() / 2, seeded(5, seed=1)
    found = []
    for ours in (True, False):
        given = x.clone().requires_grad_()
        before = given * 1
        if ours:
            y, most = vgg_kernels.bias_relu_pool(before, bias)
        else:
            y = F.relu(before + bias[:, None, None])
            most = F.max_pool2d(y, 2)
        total = torch.zeros((), device=DEVICE)
        total = total + (y * seeded(*y.shape, seed=2)).sum() if uses != "maxima" else total
        total = total + (most * seeded(*most.shape, seed=3)).sum() if uses != "map" else total
        found.append(torch.autograd.grad(total, given)[0])
    torch.testing.assert_close(*found)


def test_a_vgg_by_kernels_gives_the_same_features_and_gradient(monkeypatch):
    """The real VGG16, down to relu4_3, with sides that its poolings cannot halve."""
    monkeypatch.setattr(vgg_kernels, "LANES", 512 if ON_GPU else 2**16)
    monkeypatch.setattr(vgg_kernels, "MOST_CHANNELS", 64 if ON_GPU else 512)
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    net = VGG(layers).to(DEVICE)
    photo = torch.rand(1, 3, 37, 44, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found = []
    for ours in (True, False):
        monkeypatch.setattr(vgg, "usable", lambda x, ours=ours: ours)
        image = photo.clone().requires_grad_()
        features = net(image)
        torch.stack([each.square().mean() for each in features.values()]).sum().backward()
        found.append((features, image.grad))
    (ours, gradient), (expected, wanted) = found
    assert ours.keys() == expected.keys() == set(layers)
    for layer in layers:
        torch.testing.assert_close(ours[layer], expected[layer], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-5 * wanted.abs().max().item())


def test_where_a_kernel_fails_the_layers_do_it(monkeypatch, caplog):
    net, photo = VGG(["relu1_2"]).to(DEVICE), torch.rand(1, 3, 16, 16, device=DEVICE)
    monkeypatch.setattr(vgg, "usable", lambda x: False)
    expected = net(photo)["relu1_2"]
    monkeypatch.setattr(vgg, "usable", lambda x: True)
    monkeypatch.setattr(vgg, "_by_kernels", lambda *args: 1 / 0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(net(photo)["relu1_2"], expected)
    assert caplog.text.count("PyTorch's layers are used") == 1
