"""The kernels for GPUs, run by Triton's interpreter on the CPU: what the plain layers give, and its gradient."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.nets import kernel_net
from stylenet.nets.johnson import Johnson
from stylenet.nets.layers import NOISE_SIDES, Noise, Up, add_noise, upsample_blur, without_nyquist

pytest.importorskip("triton")
from stylenet.nets import kernels

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
pytestmark = pytest.mark.skipif(
    not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1", reason="needs the interpreter"
)

# Rounding of one number of each type.
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def seeded(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def as_map(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def phased(x: Tensor, shift: int) -> Tensor:
    """A plain map laid out in fours, with even sides; the places that show no pixel hold rubbish."""
    b, c, h, w = x.shape
    rows, columns = h // 2 + shift, w // 2 + shift
    out = torch.full((b, 4 * c, rows, columns), 77.0, dtype=x.dtype, device=x.device)
    for phase in range(4):
        down, across = phase // 2, phase % 2
        top, left = down * shift, across * shift
        out[:, phase * c : (phase + 1) * c, top : top + h // 2, left : left + w // 2] = x[:, :, down::2, across::2]
    return as_map(out)


def normed(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance norm in float64, by its definition."""
    y = y.double()
    mean, var = y.mean((2, 3), keepdim=True), y.var((2, 3), keepdim=True, correction=0)
    return (y - mean) / (var + 1e-5).sqrt() * weight.double()[..., None, None] + bias.double()[..., None, None]


@pytest.mark.parametrize("programs", [1, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (30, 23)], ids=str)
def test_the_statistics_of_a_map(size, dtype, programs, monkeypatch):
    """Around 1,000 too, where the sum of squares in float32 keeps no digit of a variance of 0.01."""
    monkeypatch.setattr(kernels, "PROGRAMS", programs)
    y = as_map(
        (seeded(2, 6, *size) * 0.1 + torch.tensor([0, 1, -1, 10, 100, 1000.0], device=DEVICE).view(6, 1, 1)).to(dtype)
    )
    mean, rstd = kernels.moments(y, kernels.Layout(6, *size))
    var, expected = torch.var_mean(y.double(), (2, 3), correction=0)
    torch.testing.assert_close(mean.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rstd.double(), (var + 1e-5).rsqrt(), rtol=1e-4, atol=0)
    assert mean.dtype == torch.float32


@pytest.mark.parametrize("shift", [None, 0, 1], ids=["plain", "in fours", "in fours, shifted"])
@pytest.mark.parametrize("styles", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_norm_relu_sum_and_border_in_one(dtype, styles, shift):
    y, more = seeded(2, 6, 8, 12, dtype=dtype), as_map(seeded(2, 6, 10, 14, dtype=dtype, seed=1))
    weight, bias = seeded(styles, 6, seed=2), seeded(styles, 6, seed=3)
    layout = kernels.Layout(6, 8, 12, shift is not None, shift or 0)
    laid = as_map(y) if shift is None else phased(y, shift)
    norm = kernels.Norm(*kernels.moments(laid, layout), weight, bias)
    out = kernels.lay(laid, layout, kernels.Border(kernels.REFLECT, 3), norm, True, kernels.Skip(more, 1))
    expected = F.pad(normed(y, weight, bias).relu() + more[..., 1:-1, 1:-1].double(), (3,) * 4, mode="reflect")
    assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.double(), expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def test_noise_is_that_of_the_layer():
    layer, x = Noise(6, 3).to(DEVICE), seeded(2, 6, 9, 70)
    amount = layer.of(torch.eye(3, device=DEVICE)[:2])
    one, two = (layer.get_buffer(f"signs_{side}") for side in NOISE_SIDES)
    for down, across in ((1000, 1000), (3, 58)):
        noise = kernels.NoiseAt(amount, one, two, down, across)
        out = kernels.lay(as_map(x), kernels.Layout(6, 9, 70), kernels.Border(), noise=noise)
        torch.testing.assert_close(out, add_noise(x, amount, one, two, down, across))


def test_borders_by_hand():
    """Of the row 1 2 4: mirrored, repeated, and for a doubling: 5 * 2 - 4 * 1 = 6 and 5 * 2 - 4 * 4 = -6."""
    rows = {
        (kernels.REFLECT, 2): [4, 2, 1, 2, 4, 2, 1],
        (kernels.REPLICATE, 1): [1, 1, 2, 4, 4],
        (kernels.DOUBLING, 2): [6, 1, 1, 2, 4, 4, -6],
    }
    x = torch.tensor([1.0, 2.0, 4.0], device=DEVICE)
    for border, row in rows.items():
        for y in (x.expand(3, 3), x.expand(3, 3).T):
            out = kernels.lay(as_map(y[None, None].clone()), kernels.Layout(1, 3, 3), kernels.Border(*border))
            line = out[0, 0, 3] if y is not None and y.stride(0) == 0 else out[0, 0, :, 3]
            assert line.tolist() == row
    corner = kernels.lay(
        as_map(torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]], device=DEVICE)), kernels.Layout(1, 2, 2), kernels.Border(2, 2)
    )
    assert corner[0, 0, 0].tolist() == [96, 16, 16, 32, 32, -48]  # rows first: 5 * 4 - 4 * 1 = 16, 5 * 8 - 4 * 2 = 32


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
@pytest.mark.parametrize("size", [(4, 4), (5, 7)], ids=str)
def test_doubling_low_pass_and_convolution_are_one_at_the_border_too(size, upsample):
    up, x = Up(5, 3, 1, upsample).to(DEVICE), seeded(2, 5, *size)
    border = kernels.Border(kernels.DOUBLING, 2) if upsample == "blur" else kernels.Border(kernels.REPLICATE, 1)
    with torch.no_grad():
        bordered = kernels.lay(as_map(x), kernels.Layout(5, *size), border)
        made = as_map(F.conv2d(bordered, kernel_net.doubling(up)))
        h, w = 2 * size[0], 2 * size[1]
        out = kernels.lay(made, kernels.Layout(3, h, w, True, 1), kernels.Border())
        torch.testing.assert_close(out, up.conv(up.upsample(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 6), (9, 17), (1, 3)], ids=str)
def test_the_low_pass_and_its_gradient(size):
    x, grad = (seeded(2, 3, *size, dtype=torch.float64, seed=seed).requires_grad_() for seed in (0, 1))
    torch.testing.assert_close(kernels.without_nyquist(as_map(x.detach())), without_nyquist(x.detach()))
    (expected,) = torch.autograd.grad(without_nyquist(x), x, grad.detach())
    (found,) = torch.autograd.grad(kernels.low_pass(as_map(x)), x, grad.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("border", [(0, 0), (0, 1), (0, 3), (1, 1), (2, 2)], ids=str)
@pytest.mark.parametrize(
    "relu, sums, styles, shift", [(True, False, 1, None), (False, True, 2, 0), (True, False, 2, 1)]
)
def test_the_gradients_are_those_of_the_definition(border, relu, sums, styles, shift):
    """Of the map, of scale and shift, of what is added and of the noise: autograd's of the same in float64."""
    y, more = seeded(2, 3, 4, 6, dtype=torch.float64), seeded(2, 3, 6, 8, dtype=torch.float64, seed=1)
    weight, bias, amount = (seeded(styles, 3, dtype=torch.float64, seed=seed) for seed in (2, 3, 4))
    one, two = (Noise(3).to(DEVICE).get_buffer(f"signs_{side}").double() for side in NOISE_SIDES)
    given = [each.requires_grad_() for each in (y, weight, bias, more, amount)]
    layout = kernels.Layout(3, 4, 6, shift is not None, shift or 0)

    def ours(y, weight, bias, more, amount):
        laid = as_map(y) if shift is None else _in_fours(y, shift)
        skip = kernels.Skip(as_map(more), 1) if sums else None
        noise = kernels.NoiseAt(amount, one, two, 5, 50)
        return kernels.norm_and_lay(laid, layout, kernels.Border(*border), weight, bias, relu, skip, noise)

    def theirs(y, weight, bias, more, amount):
        x = normed(y, weight, bias)
        x = x.relu() if relu else x
        x = add_noise(x + more[..., 1:-1, 1:-1] if sums else x, amount, one, two, 5, 50)
        return _bordered(x, *border)

    found, expected = ours(*given), theirs(*given)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    grad = seeded(*expected.shape, dtype=torch.float64, seed=9)
    for mine, other in zip(
        torch.autograd.grad(found, given, grad, allow_unused=True),
        torch.autograd.grad(expected, given, grad, allow_unused=True),
        strict=True,
    ):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def _in_fours(x: Tensor, shift: int) -> Tensor:
    """:func:`phased`, with a gradient."""
    fours = F.pixel_unshuffle(x, 2).unflatten(1, (x.shape[1], 4)).transpose(1, 2).flatten(1, 2)
    parts = [
        F.pad(part, (across * shift, (1 - across) * shift, down * shift, (1 - down) * shift))
        for part, (down, across) in zip(fours.chunk(4, 1), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True)
    ]
    return as_map(torch.cat(parts, 1))


def _bordered(x: Tensor, kind: int, width: int) -> Tensor:
    if kind != kernels.DOUBLING:
        return F.pad(x, (width,) * 4, mode="reflect" if kind == kernels.REFLECT else "replicate") if width else x
    x = torch.cat(
        [5 * x[:, :, 1:2] - 4 * x[:, :, :1], x[:, :, :1], x, x[:, :, -1:], 5 * x[:, :, -2:-1] - 4 * x[:, :, -1:]], 2
    )
    return torch.cat(
        [5 * x[..., 1:2] - 4 * x[..., :1], x[..., :1], x, x[..., -1:], 5 * x[..., -2:-1] - 4 * x[..., -1:]], 3
    )


NETS: list[dict[str, Any]] = [
    {"noise": 1, "n_styles": 3, "frame": 4},
    {"upsample": "nearest", "output": "linear"},
]


def a_net(**args: Any) -> Johnson:
    torch.manual_seed(0)
    net = Johnson((6, 10, 12), blocks=2, **args).to(DEVICE)
    for name, weight in net.named_parameters():
        if "norm" in name:
            weight.data += torch.randn_like(weight) * 0.3
    return net


@pytest.fixture
def large_tiles(monkeypatch):
    """The interpreter takes long for many programs."""
    monkeypatch.setattr(kernels, "LANES", 1024 if ON_GPU else 2**15)


@pytest.mark.parametrize("args", NETS, ids=str)
@pytest.mark.parametrize("size", [(37, 51), (9, 70)], ids=str)
def test_a_networks_picture(size, args, large_tiles):
    net = a_net(**args).eval()
    content = torch.rand(2, 3, *size).to(DEVICE)
    style = torch.softmax(seeded(2, 3), 1) if "n_styles" in args else None
    with torch.inference_mode():
        expected = net(content, style)
        exact = kernel_net.Pass(net, torch.float32)(content, style)
        torch.testing.assert_close(exact, expected, rtol=1e-4, atol=1e-2 if ON_GPU else 1e-5)
        for dtype, close in ((torch.float16, 1e-3), (torch.bfloat16, 6e-3)):
            half = kernel_net.Pass(net, dtype)(content, style)
            assert half.dtype == torch.float32
            assert (half - expected).abs().mean() < close


@pytest.mark.parametrize("args", NETS, ids=str)
def test_a_networks_gradients(args, large_tiles):
    net, content = a_net(**args).double().train(), torch.rand(2, 3, 21, 32).double().to(DEVICE)
    style = torch.softmax(seeded(2, 3), 1).double() if "n_styles" in args else None
    net.begin_noise_at(17, 40)
    found = []
    for run in (net, kernel_net.TrainingPass(net)):
        net.zero_grad()
        image = run(content, style, framed=False)
        (image * seeded(*image.shape, dtype=torch.float64)).sum().backward()
        found.append((image.detach(), {name: weight.grad for name, weight in net.named_parameters()}))
    (expected, gradients), (image, ours) = found
    torch.testing.assert_close(image, expected, rtol=1e-6, atol=1e-6, check_dtype=False)
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-5)


def test_too_large_for_the_kernels():
    net = Johnson((32, 64, 128), frame=24)
    assert kernel_net.fits(net, 8000, 8000) and not kernel_net.fits(net, 8192, 8192)


def test_all_kernels_compile_for_a_gpu():
    """Without one, and without the interpreter: what it lets pass a compiler may refuse."""
    code = """
from benchmarks.speed.compiled import compiled, passes
found = []
compiled(passes, 80, found.append)
assert {one["kernel"] for one in found} == {
    f"{name}_kernel"
    for name in "enter moments combine lay without_nyquist leave sums back activate activate_back".split()
}, found
assert all(one["spilled_bytes"] == 0 for one in found), found
"""
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]


def test_upsampling_is_what_the_tests_think():
    """The reference of the doubling: an impulse of 1 becomes [1 5 10 10 5 1] / 16 along each axis."""
    x = torch.zeros(1, 1, 7, 7)
    x[..., 3, 3] = 1
    row = torch.tensor([1.0, 5, 10, 10, 5, 1]) / 16
    torch.testing.assert_close(upsample_blur(x)[0, 0, 4:10, 4:10], row[:, None] * row)
