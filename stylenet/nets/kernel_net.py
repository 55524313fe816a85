"""Johnson's network on the kernels of ``kernels.py``: the same function, in a fraction of the memory passes.

Each convolution reads a map that has its border already, and none doubles, filters or pads. The two 9x9 convolutions
compute four pixels at a time, with channels enough for a GPU's tensor cores. Doubling, low-pass and convolution are one
convolution of 4x4 with four outputs a place.

Knows the layers of the networks and the kernels. It works for training and for inference.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.johnson import Johnson
from stylenet.nets.layers import (
    BLUR_TAPS,
    FIRST,
    NOISE_SIDES,
    Down,
    InstanceNorm,
    Residual,
    Up,
    spread_taps,
    upsample_blur,
)
from stylenet.system.gpu_kernels import has_triton, warn_of

MULTIPLE = 8  # of channels: tensor cores read sixteen bytes at once
COLOURS = 4  # three, and one that is 0
MOST = 2**31  # numbers of one picture in a map: the kernels count them in 32 bits


def works_for(net: nn.Module) -> bool:
    """Whether this module computes the network's passes on a GPU."""
    return isinstance(net, Johnson) and len(net.trunk) > 0 and not net.wrap and has_triton()


def fits(net: Johnson, h: int, w: int) -> bool:
    """Whether a picture of this size is small enough for the kernels: up to about 8,000 x 8,000 pixels by default."""
    around = 2 * net.frame + 10
    return (h + around) * (w + around) * net.config["widths"][0] < MOST


class Weights(NamedTuple):
    """The weights of the convolutions as the kernels' maps want them."""

    first: Tensor
    down: list[Tensor]
    trunk: list[tuple[Tensor, Tensor]]
    up: list[Tensor]
    last: Tensor
    bias: Tensor


class Blocks(NamedTuple):
    """A network's blocks, by what they are."""

    down: list[Down]
    trunk: list[Residual]
    up: list[Up]


def _blocks(net: Johnson) -> Blocks:
    return Blocks(*(cast(Any, [*each]) for each in (net.down, net.trunk, net.up)))


def weights(net: Johnson, dtype: torch.dtype) -> Weights:
    """Made from those of the network, with a gradient for them."""

    def ready(weight: Tensor) -> Tensor:
        return weight.to(dtype, memory_format=torch.channels_last)

    assert net.last.bias is not None
    down, trunk, up = _blocks(net)
    return Weights(
        ready(four_pixels(down[0].conv.weight, COLOURS)),
        [ready(block.conv.weight) for block in down[1:]],
        [(ready(block.conv1.weight), ready(block.conv2.weight)) for block in trunk],
        [ready(doubling(block)) for block in up],
        ready(four_pixels(net.last.weight, net.config["widths"][0], COLOURS)),
        F.pad(net.last.bias, (0, COLOURS - len(net.last.bias))),
    )


def four_pixels(weight: Tensor, inputs: int, outputs: int | None = None) -> Tensor:
    """A convolution ``(o, i, k, k)``, k odd, as one from a phased map to a phased map: ``(4 o, 4 i, l, l)`` with
    ``l = (k + 1) / 2``. ``inputs``, ``outputs``: i and o are filled up to these with zeros.

    Pixel (2 r + p) sees the pixels from (2 r + p) to (2 r + p + k - 1) of the bordered map: its kernel is moved by its
    phase p.
    """
    o, i, k, _ = weight.shape
    weight = F.pad(weight, (0, 0, 0, 0, 0, inputs - i, 0, (outputs or o) - o))
    moved = torch.stack([F.pad(weight, (x, 1 - x, y, 1 - y)) for y in (0, 1) for x in (0, 1)])
    half = (k + 1) // 2
    parts = moved.view(4, len(weight), inputs, half, 2, half, 2)  # output phase, o, i, row, its phase, column, its
    return parts.permute(0, 1, 4, 6, 2, 3, 5).reshape(4 * len(weight), 4 * inputs, half, half)


def doubling(up: Up) -> Tensor:
    """The convolution ``(4 o, i, l, l)`` from a small bordered map to the phased, shifted map of twice its size.

    A row of a doubled map is the sum of f[n - 2 m + 2] x[m] with f = [1 5 10 10 5 1] / 16 (nearest neighbour and
    [1 4 6 4 1] / 16), or of x[n / 2] alone without the low-pass. With the three taps of the convolution after it these
    are eight or four taps, every other of which meets an even row.
    """
    spread = up.conv.weight.new_tensor(spread_taps(BLUR_TAPS if up.upsample is upsample_blur else (1.0, 1.0)))
    kernel = torch.einsum("oiab,ap,bq->oipq", up.conv.weight, spread, spread)
    o, i, k, _ = kernel.shape
    parts = kernel.flip(2, 3).view(o, i, k // 2, 2, k // 2, 2)
    return parts.permute(3, 5, 0, 1, 2, 4).reshape(4 * o, i, k // 2, k // 2)


class Pass:
    """Passes of a network on its device: ``run(content, style) -> image``, as the network itself.

    ``dtype``: of the maps and the weights. Statistics and the image are float32 in any case. ``kept``: the weights
    are made once, for inference; else in each pass, with a gradient.
    """

    def __init__(self, net: Johnson, dtype: torch.dtype, kept: bool = True):
        self.net, self.dtype = (in_multiples(net) if kept else net), dtype
        self.weights = None
        if kept:
            with torch.no_grad():
                self.weights = weights(self.net, dtype)

    def __call__(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        """Raises ValueError for weights of another number of styles."""
        net = self.net
        if style is not None and style.shape[-1] != net.n_styles:
            raise ValueError(f"style {tuple(style.shape)}: this network wants (b, {net.n_styles}) weights.")
        made = self.weights or weights(net, self.dtype)
        frame = net.frame if framed else 0
        with torch.autocast(content.device.type, enabled=False):
            y = _decoded(net, made, _encoded(net, made, content, style, frame, self.dtype), style)
            return _picture(net, y, made.bias, content.shape[-2:], frame)


class TrainingPass:
    """``net(content, style, framed)`` with a gradient for the network's parameters, in the type that autocast asks
    for, or in that of the pictures. Where the first pass fails, the network itself is used from then on, and the log
    says why.
    """

    def __init__(self, net: nn.Module):
        assert isinstance(net, Johnson)
        self.net, self.works = net, True

    def __call__(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        if not self.works:
            return self.net(content, style, framed)
        device = content.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else content.dtype
        try:
            return Pass(self.net, dtype, kept=False)(content, style, framed)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler or a driver can fail in any way
            warn_of(error)
            self.works = False
            return self.net(content, style, framed)


def _encoded(
    net: Johnson, made: Weights, content: Tensor, style: Tensor | None, frame: int, dtype: torch.dtype
) -> Tensor:
    """The features at a quarter of the size, with noise and a border of one place."""
    from stylenet.nets import kernels as k

    a, b, c = net.config["widths"]
    down, one = _blocks(net).down, k.Border(k.REFLECT, 1)
    x, shown = k.enter(content, dtype, frame, 4, net.smallest)
    layout = k.Layout(a, shown.h, shown.w, True)
    x = _norm(down[0].norm, F.conv2d(x, made.first), layout, one, style)
    layout = k.Layout(b, -(-layout.h // 2), -(-layout.w // 2))
    x = _norm(down[1].norm, F.conv2d(x, made.down[0], stride=2), layout, one, style)
    layout = k.Layout(c, -(-layout.h // 2), -(-layout.w // 2))
    noise = _noise(net, style)
    return _norm(down[2].norm, F.conv2d(x, made.down[1], stride=2), layout, one, style, noise=noise)


def _decoded(net: Johnson, made: Weights, x: Tensor, style: Tensor | None) -> Tensor:
    """The phased map of the colours, before the bias."""
    from stylenet.nets import kernels as k

    a, b, c = net.config["widths"]
    blur = net.config["upsample"] == "blur"
    layout = k.Layout(c, x.shape[2] - 2, x.shape[3] - 2)
    one, doubled = k.Border(k.REFLECT, 1), k.Border(k.DOUBLING, 2) if blur else k.Border(k.REPLICATE, 1)
    for number, (block, (first, second)) in enumerate(zip(_blocks(net).trunk, made.trunk, strict=True), 1):
        y = _norm(block.norm1, F.conv2d(x, first), layout, one, style)
        after = one if number < len(net.trunk) else k.Border() if blur else doubled
        x = _norm(block.norm2, F.conv2d(y, second), layout, after, style, skip=k.Skip(x, 1))
    if blur:
        x = k.only_lay(k.low_pass(x), layout, doubled)
    for up, weight, width, after in zip(
        _blocks(net).up, made.up, (b, a), (doubled, k.Border(k.REFLECT, 4)), strict=True
    ):
        layout = k.Layout(width, 2 * layout.h, 2 * layout.w, True, 1)
        x = _norm(up.norm, F.conv2d(x, weight), layout, after, style, phased=after.kind == k.REFLECT)
    return F.conv2d(x, made.last)


def _norm(norm: InstanceNorm, y: Tensor, layout: Any, border: Any, style: Tensor | None, **more: Any) -> Tensor:
    from stylenet.nets.kernels import norm_and_lay

    weight, bias = norm.of(style)
    y = y.contiguous(memory_format=torch.channels_last)
    return norm_and_lay(y, layout, border, weight, bias, norm.relu, **more)


def _noise(net: Johnson, style: Tensor | None) -> Any:
    from stylenet.nets.kernels import NoiseAt

    noise = net.noise
    if noise is None:
        return None
    signs, others = (noise.get_buffer(f"signs_{side}") for side in NOISE_SIDES)
    return NoiseAt(noise.of(style), signs, others, *(noise.begins if net.training else (FIRST, FIRST)))


def _picture(net: Johnson, y: Tensor, bias: Tensor, size: Any, frame: int) -> Tensor:
    from stylenet.nets.kernels import leave

    h, w = size
    if not torch.is_grad_enabled() or not y.requires_grad:
        output = "sigmoid" if net.config["output"] == "sigmoid" else "none" if net.training else "clamp"
        return leave(y, bias, h, w, frame, output)
    planes = y.unflatten(1, (2, 2, COLOURS))[:, :, :, :3].permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    x = planes[..., frame : frame + h, frame : frame + w].to(torch.promote_types(y.dtype, torch.float32))
    x = x + bias[:3, None, None]
    if net.config["output"] == "sigmoid":
        return torch.sigmoid(x)
    return x if net.training else x.clamp(0, 1)


def in_multiples(net: Johnson) -> Johnson:
    """A copy in eval mode, without gradients, whose widths are multiples of 8: the channels more hold zeros."""
    wide = [-(-width // MULTIPLE) * MULTIPLE for width in net.config["widths"]]
    arguments = {**net.config, "widths": wide}
    copy = Johnson(**arguments).eval().requires_grad_(False).to(next(net.parameters()).device)
    copy.to(next(net.parameters()).dtype)
    state = {name: tensor.detach() for name, tensor in net.state_dict().items()}
    for name, own in copy.state_dict().items():
        own.zero_()
        own[tuple(slice(0, side) for side in state[name].shape)] = state[name]
    return copy
