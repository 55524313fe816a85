"""The networks: any size, one range, nothing that shows (no grid, no border ring), and exact instance norm."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.nets.layers import (
    Conv,
    Down,
    InstanceNorm,
    Noise,
    Residual,
    Up,
    add_noise,
    norm_as_batch,
    upsample_blur,
    upsample_blur_conv,
    without_nyquist,
)
from stylenet.nets.registry import build
from stylenet.system.errors import UserError

PHOTOS = Path(__file__).parents[2] / "stylenet" / "assets" / "photos" / "val"
SMALL: dict[str, Any] = {"widths": (16, 32, 64), "blocks": 1}


def net(seed: int = 0, **args: Any) -> nn.Module:
    """A network as unlike a fresh one as training makes it: norms that scale and shift, a colourful last layer."""
    torch.manual_seed(seed)
    made = build("johnson", **args).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return made


def photo(stem: str, side: int) -> Tensor:
    return to_tensor(open_rgb(PHOTOS / f"{stem}.jpg").resize((side, side)))


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 16), (17, 33), (1, 200), (200, 1), (66, 131)])
@torch.no_grad()
def test_any_size_in_the_same_size_out(size: tuple[int, int], upsample: str):
    out = net(**SMALL, upsample=upsample)(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1


@torch.no_grad()
def test_a_linear_output_is_clamped_in_use_and_raw_in_training():
    linear, image = net(**SMALL, output="linear"), photo("castle", 48)
    raw = linear.train()(image)
    assert raw.min() < 0 and raw.max() > 1  # else this photo proves nothing
    assert torch.equal(linear.eval()(image), raw.clamp(0, 1))


@torch.no_grad()
def test_under_bf16_the_picture_is_the_same_float32_picture():
    default, image = net(), photo("astronaut", 64)
    with torch.autocast("cpu", torch.bfloat16):
        half, flat = default(image), default(torch.ones(1, 3, 64, 64))
    assert half.dtype == torch.float32
    assert (half - default(image)).abs().mean() < 0.02
    assert flat.isfinite().all()


@torch.no_grad()
def test_instance_norm_is_torchs():
    x, norm = torch.randn(2, 5, 9, 7) * 3 + 2, InstanceNorm(5)
    for parameter in norm.parameters():
        parameter.normal_()
    torch.testing.assert_close(norm(x), F.instance_norm(x, weight=norm.weight[0], bias=norm.bias[0], eps=1e-5))
    flat = torch.full((1, 5, 4, 4), 3.0)
    torch.testing.assert_close(norm(flat), norm.bias[0, :, None, None].expand(1, 5, 4, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_keeps_the_digits_of_a_low_contrast_picture(layout: torch.memory_format):
    """Fog: a mean of a thousand standard deviations."""
    x = (torch.randn(1, 4, 32, 32) + 1000).to(memory_format=layout)
    with torch.no_grad():
        assert (InstanceNorm(4)(x).double() - F.instance_norm(x.double())).abs().max() < 1e-3


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("each", [False, True], ids=["one style", "a style for each picture"])
def test_instance_norm_has_the_right_gradient(relu: bool, each: bool):
    norm = InstanceNorm(3, n_styles=2, relu=relu).double()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    style = torch.tensor([[0.3, 0.7], [1.0, 0.0]], dtype=torch.float64) if each else None

    def run(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, style))

    values = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(run, (x, *values))
    weight, bias = (v if style is None else (style[..., None] * v).sum(1) for v in values)
    wanted = torch.stack([F.instance_norm(x)[i] * weight[i * each, :, None, None] for i in range(2)])
    wanted = wanted + torch.stack([bias[i * each, :, None, None] for i in range(2)])
    torch.testing.assert_close(run(x, *values), wanted.relu() if relu else wanted)


def test_instance_norm_learns_the_same_in_bf16_and_channels_last():
    x, ahead = torch.randn(2, 8, 16, 16) + 1, torch.randn(2, 8, 16, 16)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        norm = InstanceNorm(8, relu=True)
        leaf = x.to(dtype, memory_format=torch.channels_last).requires_grad_()
        grads.append(torch.autograd.grad(norm(leaf), (leaf, norm.weight, norm.bias), ahead.to(dtype)))
        assert grads[-1][0].is_contiguous(memory_format=torch.channels_last)
    for exact, rounded in zip(*grads, strict=True):
        assert (rounded - exact).norm() < 0.02 * exact.norm()


@torch.no_grad()
def test_instance_norm_measures_bf16_in_float32():
    """At a mean of 1000 a sum in bf16 would be off by whole standard deviations."""
    x = (torch.randn(1, 4, 64, 64) * 30 + 1000).bfloat16()
    y = InstanceNorm(4)(x)
    assert y.dtype == torch.bfloat16
    assert (y.double() - F.instance_norm(x.double(), eps=1e-5)).abs().max() < 0.02  # half a step of bf16 at 4


def test_the_blur_is_a_binomial_after_copying():
    x = torch.rand(1, 2, 3, 4, dtype=torch.float64)
    copied = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    around = F.pad(copied, (2, 2, 2, 2), mode="replicate")
    taps = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16
    expected = sum(
        taps[i] * taps[j] * around[..., i : i + copied.shape[2], j : j + copied.shape[3]]
        for i in range(5)
        for j in range(5)
    )
    torch.testing.assert_close(upsample_blur(x), expected)


def test_without_nyquist_takes_what_alternates_and_nothing_slow():
    alternating = (-1.0) ** torch.arange(12)
    across = alternating.expand(12, 12)
    for pattern in (across, across.mT, across * across.mT):
        left = without_nyquist(0.5 + pattern[None, None])[..., 2:-2, 2:-2]
        torch.testing.assert_close(left, torch.full_like(left, 0.5))
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    torch.testing.assert_close(without_nyquist(ramp)[..., 2:-2], ramp[..., 2:-2])
    slow = torch.cos(torch.arange(64.0) * torch.pi / 8).expand(1, 1, 64, 64)  # a period of 16 keeps its height to 0.5 %
    assert (without_nyquist(slow) - slow)[..., 2:-2].abs().max() < 0.005


class Alternating(nn.Module):
    """In the place of the trunk: features (+ - + -), the worst that a trunk can learn."""

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
        return torch.where((rows + columns) % 2 == 0, x.amax(), -x.amax()).expand_as(x)


@torch.no_grad()
def test_alternating_features_make_a_grid_of_copied_pixels_but_not_of_blurred_ones():
    spread = {}
    for upsample in ("blur", "nearest"):
        made = net(**SMALL, upsample=upsample)
        made.trunk = nn.ModuleList([Alternating()])
        spread[upsample] = made(photo("castle", 96))[..., 24:-24, 24:-24].std((2, 3)).mean()
    assert spread["nearest"] > 0.05 and spread["blur"] < 0.002


def comb(image: Tensor) -> float:
    """How far the 16 means of the places (y mod 4, x mod 4) are apart, in standard deviations: a grid of period 2 or 4
    that stands still.
    """
    grey = image.mean(1)[0, 8:-8, 8:-8]
    means = grey.unflatten(0, (-1, 4)).unflatten(2, (-1, 4)).mean((0, 2))
    return float((means.amax() - means.amin()) / grey.std())


@torch.no_grad()
def test_no_grid_on_a_photo_where_copied_pixels_leave_one():
    image = photo("astronaut", 160)
    grids = {up: [comb(net(seed, **SMALL, upsample=up)(image)) for seed in range(4)] for up in ("blur", "nearest")}
    assert 3 * sum(grids["blur"]) < sum(grids["nearest"])
    assert sum(grids["blur"]) / 4 < 0.03  # the photo's own is 0.04


@torch.no_grad()
def test_a_shift_by_the_stride_shifts_the_picture():
    """The patch lies on grey, so that neither statistics nor borders change with its place."""
    image = torch.full((1, 3, 128, 128), 0.5)
    image[..., 44:84, 44:84] = photo("astronaut", 40)
    made = net(**SMALL)
    out, shifted = made(image), made(image.roll((4, -4), (2, 3)))
    assert (out - shifted).abs().max() > 0.1
    torch.testing.assert_close(shifted, out.roll((4, -4), (2, 3)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
@torch.no_grad()
def test_a_flat_picture_stays_flat_to_its_very_border(upsample: str):
    for level in (0.0, 0.37, 1.0):
        out = net(upsample=upsample)(torch.full((1, 3, 50, 61), level))
        assert (out.amax((2, 3)) - out.amin((2, 3))).max() < 1 / 255


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
@torch.no_grad()
def test_no_ring_at_the_border(upsample: str):
    """A picture of stripes goes on past its border when mirrored: the last columns must be like those in the middle."""
    made, stripes = net(**SMALL, upsample=upsample), photo("castle", 80)[..., :1].expand(-1, -1, -1, 80)
    across, along = made(stripes), made(stripes.mT)
    assert across.std(2).mean() > 0.05
    torch.testing.assert_close(across, across[..., 40:41].expand_as(across), atol=1e-3, rtol=0)
    torch.testing.assert_close(along, along[..., 40:41, :].expand_as(along), atol=1e-3, rtol=0)


@torch.no_grad()
def test_each_style_of_several_is_a_network_of_its_own():
    several, image = net(**SMALL, n_styles=3), photo("castle", 48)
    chosen = torch.eye(3)[[2, 0]]
    both = several(image.expand(2, -1, -1, -1), chosen)
    for row, k in zip(both, (2, 0), strict=True):
        single = build("johnson", **SMALL)
        state = several.state_dict()
        single.load_state_dict({key: x[k : k + 1] if "norm" in key else x for key, x in state.items()})
        torch.testing.assert_close(row[None], single(image), atol=1e-5, rtol=0)
    assert (both[0] - both[1]).abs().mean() > 0.01
    torch.testing.assert_close(several(image), both[1:], atol=1e-5, rtol=0)  # no style given: the first


@torch.no_grad()
def test_styles_mix_by_their_scales_and_shifts_even_under_bf16():
    norm, x = InstanceNorm(4, n_styles=2), torch.randn(1, 4, 8, 8)
    for parameter in norm.parameters():
        parameter.normal_()
    mixed = [0.3 * rows[0] + 0.7 * rows[1] for rows in (norm.weight, norm.bias)]
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(x, torch.tensor([[0.3, 0.7]]))
    torch.testing.assert_close(out, F.instance_norm(x, weight=mixed[0], bias=mixed[1]))
    with pytest.raises(ValueError, match="wants \\(b, 2\\) weights"):
        net(**SMALL, n_styles=2)(torch.rand(1, 3, 16, 16), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("args", "count"),
    [  # convolutions without bias but the last, 2 numbers a channel, style and norm
        ({}, 7776 + 18432 + 73728 + 10 * 147456 + 73728 + 18432 + 7779 + 2 * (32 + 64 + 128 + 10 * 128 + 64 + 32)),
        ({"widths": (1, 1, 1), "blocks": 0}, 243 + 9 + 9 + 9 + 9 + 246 + 2 * 5),
        ({"widths": (1, 2, 3), "blocks": 1, "n_styles": 4}, 243 + 18 + 54 + 2 * 81 + 54 + 18 + 246 + 2 * 4 * 15),
    ],
)
def test_width_depth_and_styles_make_the_parameters(args: dict[str, Any], count: int):
    assert sum(p.numel() for p in build("johnson", **args).parameters()) == count


def test_config_rebuilds_the_same_network():
    args = {"widths": (8, 16, 24), "blocks": 2, "n_styles": 2, "upsample": "nearest", "output": "linear"}
    first = net(**args)
    again = build("johnson", **json.loads(json.dumps(first.config)))
    again.load_state_dict(first.state_dict())
    image = torch.rand(1, 3, 20, 20)
    assert torch.equal(again.eval()(image), first(image))
    assert again.config == {**args, "widths": [8, 16, 24]}


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
def test_what_the_compiler_sees_is_the_same_network(upsample: str):
    """On a processor some steps have a form of their own, which the compiler does not take."""
    net = build("johnson", widths=(4, 6, 8), blocks=1, upsample=upsample, noise=1)
    photo, ahead = torch.rand(2, 3, 24, 20), torch.randn(2, 3, 24, 20)
    passes = [net, torch.compile(net.forward, backend="eager", fullgraph=True)]
    outputs = [one(photo) for one in passes]
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(output, [*net.parameters()], ahead) for output in outputs]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


def test_noise_is_what_shake_256_gives_and_does_not_repeat_itself():
    """Style files hold how much of it there is and not the noise: it must be the same for ever."""
    signs, others, _ = Noise(1).buffers()
    noise = add_noise(torch.zeros(1, 1, 400, 300), torch.ones(1, 1), signs, others)[0, 0]
    squares = []
    for side in (53, 61):
        bits = int.from_bytes(hashlib.shake_256(f"stylenet noise {side}".encode()).digest(-(-side * side // 8)), "big")
        digits = f"{bits:0{-(-side * side // 8) * 8}b}"
        squares.append([[2 * int(digits[y * side + x]) - 1 for x in range(side)] for y in range(side)])
    for y, x in ((0, 0), (1, 0), (0, 1), (52, 60), (53, 61), (399, 299)):
        down, across = y + 1000, x + 1000
        assert noise[y, x] == squares[0][down % 53][across % 53] * squares[1][down % 61][across % 61]
    assert abs(float(noise.mean())) < 0.02 and set(noise.unique().tolist()) == {-1.0, 1.0}
    for lag in (1, 4, 53, 61, 106):  # the noise of one square alone would be equal to itself after its side
        assert abs(float((noise[:-lag] * noise[lag:]).mean())) < 0.03
        assert abs(float((noise[:, :-lag] * noise[:, lag:]).mean())) < 0.03


@torch.no_grad()
def test_noise_moves_in_training_and_stands_still_in_use():
    noise, flat = Noise(1), torch.zeros(1, 1, 40, 30)
    noise.weight.fill_(1)
    still = noise.eval()(flat)
    assert torch.equal(noise.train()(flat), still)
    noise.begin_at(1007, 1003)
    assert torch.equal(noise(flat)[..., :33, :27], still[..., 7:, 3:])
    assert torch.equal(noise.eval()(flat), still)


@torch.no_grad()
def test_noise_paints_what_is_flat_as_each_style_has_it():
    made = net(**SMALL, noise=1, n_styles=2)
    flat = torch.full((1, 3, 64, 64), 0.5)
    rest = {key: x for key, x in made.state_dict().items() if not key.startswith("noise.")}
    assert {*made.state_dict()} - {*rest} == {"noise.weight"}
    silent = build("johnson", **SMALL, n_styles=2).eval()
    silent.load_state_dict(rest)
    assert silent(flat).std((2, 3)).max() < 1e-3 and made(flat).std((2, 3)).min() > 0.01
    made.noise.weight[0] = 0  # type: ignore[index,union-attr]
    assert torch.equal(made(flat), silent(flat))  # the first style has no noise now, the second still has
    assert made(flat, torch.tensor([[0.0, 1.0]])).std((2, 3)).min() > 0.01
    assert torch.equal(made(flat, torch.tensor([[0.0, 1.0]])), made(flat, torch.tensor([[0.0, 1.0]])))


def test_noise_is_made_where_a_file_is_read():
    """Files are built on "meta" first, where nothing has a value."""
    with torch.device("meta"):
        made = build("johnson", **SMALL, noise=1)
    state = {key: torch.zeros(x.shape) for key, x in made.state_dict().items()}
    made.load_state_dict(state, assign=True)
    for _, buffer in made.named_buffers():  # signs, and the place where they begin
        assert buffer.device.type == "cpu" and torch.isin(buffer.abs(), torch.tensor([1, 1000])).all()


@pytest.mark.parametrize("size", [(70, 50), (33, 41), (24, 26)])
@torch.no_grad()
def test_a_frame_is_the_picture_reflected_and_is_cut_off(size: tuple[int, int]):
    framed, plain = net(**SMALL, frame=8), net(**SMALL)
    picture = photo("castle", 80)[..., : size[0], : size[1]]
    reflected = F.pad(picture, (8, 8, 8, 8), mode="reflect")
    wanted = plain(reflected)[..., 8 : 8 + size[0], 8 : 8 + size[1]]
    torch.testing.assert_close(framed(picture), wanted)
    assert (wanted - plain(picture)).abs().max() > 0.01  # it does something
    torch.testing.assert_close(framed(picture, None, False), plain(picture))


@torch.no_grad()
def test_pictures_smaller_than_the_frame():
    for size in ((1, 1), (3, 90), (24, 24), (25, 17)):
        assert net(**SMALL, frame=24)(torch.rand(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("frame", [-4, 6, 2.0, "8", True])
def test_other_frames_are_refused(frame: Any):
    with pytest.raises(UserError, match="frame=.*0 or a multiple of 4"):
        build("johnson", frame=frame)


def test_files_tell_of_a_frame_only_where_there_is_one():
    """Those of before the frame are built as they were."""
    assert "frame" not in build("johnson", **SMALL).config and build("johnson", **SMALL, frame=24).config["frame"] == 24  # type: ignore[operator,index]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("size", [(5, 7), (1, 1)])
def test_the_norm_of_gpus_is_the_norm(size: tuple[int, int], rows: int):
    x, ahead = (torch.randn(2, 6, *size, dtype=torch.float64) for _ in range(2))
    weight, bias = torch.randn(2, rows, 6, dtype=torch.float64)
    wanted = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm_as_batch(x, weight, bias), wanted * weight[..., None, None] + bias[..., None, None])
    inputs = [each.requires_grad_() for each in (x, weight, bias)]
    assert torch.autograd.gradcheck(norm_as_batch, inputs)


def test_the_doubling_of_gpus_is_the_doubling_but_at_the_border():
    x, conv = torch.randn(2, 6, 9, 11, dtype=torch.float64), Conv(6, 4, 3).double()
    inside = (..., slice(1, -1), slice(1, -1))
    wanted, found = conv(upsample_blur(x)), upsample_blur_conv(x, conv.weight)
    assert found.shape == (2, 4, 18, 22)
    torch.testing.assert_close(found[inside], wanted[inside])
    ahead = torch.randn_like(wanted[inside])
    of_weight = [torch.autograd.grad(y[inside], conv.weight, ahead)[0] for y in (wanted, found)]
    torch.testing.assert_close(*of_weight)


def test_state_dict_names_stay():
    """Every style file ever written is read by these names."""
    kinds = {"down": Down, "trunk": Residual, "up": Up}
    made = build("johnson", widths=(4, 4, 4), blocks=1)
    assert {k: type(made.get_submodule(f"{k}.0")) for k in kinds} == kinds and isinstance(made.last, Conv)
    parts = ["conv.weight", "norm.weight", "norm.bias"]
    residual = [f"trunk.0.{part}{k}.{x}" for k in (1, 2) for part, x in (p.split(".") for p in parts)]
    blocks = [f"{block}.{part}" for block in ("down.0", "down.1", "down.2", "up.0", "up.1") for part in parts]
    assert set(made.state_dict()) == {*blocks, *residual, "last.weight", "last.bias"}


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("unet", {}, "Known: adain, adain_fixed, johnson, photowct, predicted"),
        ("johnson", {"width": 3}, "unexpected keyword argument 'width'"),
        ("johnson", {"widths": (32, 64)}, "three widths"),
        ("johnson", {"widths": (32, 0, 128)}, ">= 1"),
        ("johnson", {"widths": (32.5, 64, 128)}, "[32.5, 64, 128]"),
        ("johnson", {"widths": 32}, "int"),
        ("johnson", {"blocks": -1}, "blocks=-1"),
        ("johnson", {"n_styles": 0}, "n_styles=0"),
        ("johnson", {"upsample": "bilinear"}, "allowed are ['blur', 'nearest']"),
        ("johnson", {"output": "tanh"}, "['sigmoid', 'linear']"),
        ("johnson", {"noise": 2}, "noise=2: allowed are 0 and 1"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(name: str, args: dict[str, Any], told: str):
    with pytest.raises(UserError) as error:
        build(name, **args)
    assert told in str(error.value) and "\n" not in str(error.value)
