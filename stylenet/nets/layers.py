"""The building blocks of the networks. They know nothing about losses, training or files.

Every block maps features ``(b, c, h, w)`` to features. Borders are reflected, so no ring of zeros shows in a picture.
"""

import hashlib
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets import borders, regions
from stylenet.nets.regions import Regions

EPS = 1e-5
NOISE, ADDED_NOISE = 0.1, 0.5
NOISE_SIDES = (53, 61)  # of the squares that noise is made of: it repeats itself after 3,233 places
FIRST = 1000  # the place of the noise at a picture's top left, down and across


def draw(weight: Tensor, deviation: float) -> None:
    """Fill with numbers at random, with the mean 0. On "meta" nothing is: PyTorch would load its compiler for it, which
    takes seconds.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=deviation)


class InstanceNorm(nn.Module):
    """Instance norm with one learned scale and shift per style (Ulyanov et al. 2017; Dumoulin et al. 2017, eq. 5), and
    a ReLU after it if ``relu``.

    ``y = weight[s] * (x - mean(x)) / sqrt(var(x) + 1e-5) + bias[s]``, mean and (biased) variance over h and w of each
    picture and channel; of each region, where the style is :class:`stylenet.nets.regions.Regions`. The statistics are
    taken in float32 whatever the dtype of ``x``; the result has the dtype of ``x``.
    """

    def __init__(self, channels: int, n_styles: int = 1, relu: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_styles, channels))
        self.bias = nn.Parameter(torch.zeros(n_styles, channels))
        self.relu = relu

    def of(self, style: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scale and shift of each picture's style, ``(1 or b, c)``."""
        if style is None:
            return self.weight[:1], self.bias[:1]
        # no matrix product: autocast would round it to half precision
        return (style[..., None] * self.weight).sum(1), (style[..., None] * self.bias).sum(1)

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        if isinstance(style, Regions):
            y = regions.norm(x, *self.of(style.weights), style, EPS)
            return F.relu(y) if self.relu else y
        weight, bias = self.of(style)
        if x.device.type == "cpu" and isinstance(x, Tensor) and not torch.compiler.is_compiling():
            return cast(Tensor, _NormOnCPU.apply(x, weight, bias, self.relu))
        if x.device.type == "cuda" and isinstance(x, Tensor) and not torch.compiler.is_compiling():
            y = norm_as_batch(x, weight, bias)
            return F.relu_(y) if self.relu else y
        var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
        scale = weight * torch.rsqrt(var + EPS)
        shift = bias - mean * scale
        y = (x.float() * scale[..., None, None] + shift[..., None, None]).to(x.dtype)
        return F.relu(y) if self.relu else y


class AdaptiveNorm(InstanceNorm):
    """Instance norm whose scale and shift are the style itself (Huang & Belongie 2017, eq. 8).

    ``style``: ``(b, 2 c)``, a mean and then a standard deviation for each channel. Nothing in it learns.
    """

    def __init__(self, channels: int):
        nn.Module.__init__(self)
        self.channels, self.relu = channels, False

    def of(self, style: Tensor | None) -> tuple[Tensor, Tensor]:
        """Raises ValueError without a style."""
        if style is None:
            raise ValueError("adaptive instance norm needs a style.")
        return style[..., self.channels :], style[..., : self.channels]


def norm_as_batch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance norm of features ``(b, c, h, w)`` with ``weight`` and ``bias`` ``(1 or b, c)`` as one batch norm over
    ``b * c`` channels: a GPU has one kernel for that, and one for its gradient, with statistics in float32.
    """
    b, c, h, w = x.shape
    if h * w == 1:  # nothing to take statistics of: x - mean is 0, which batch norm refuses
        return torch.zeros_like(x) * x + _map(bias, x)
    rows = [each.expand(b, c).reshape(b * c) for each in (weight, bias)]
    normed = F.batch_norm(x.reshape(1, b * c, h, w), None, None, *rows, training=True, eps=EPS)
    return normed.view(b, c, h, w)


class _NormOnCPU(torch.autograd.Function):
    """The same, three times as fast: autograd alone would go over the features a dozen times, and ``var_mean`` is slow
    in channels-last layout. ``weight``, ``bias``: ``(1 or b, c)``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        b, c, h, w = x.shape
        if x.dtype != torch.bfloat16:  # the digits it has and bfloat16 has not would be lost in squares of a large mean
            x = x - x.mean((2, 3), keepdim=True)
        normal, _, rstd = torch.native_group_norm(x, None, None, b, c, h * w, c, EPS)
        y = torch.addcmul(_map(bias, x), normal, _map(weight, x))
        y = y.relu_() if relu else y
        ctx.save_for_backward(normal, weight * rstd.view(b, c), y if relu else None)
        ctx.rows = len(weight)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        normal, scale, y = ctx.saved_tensors
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
        of_bias, of_weight = _sums(grad), _sums(grad * normal)
        # of x: scale * (grad - mean(grad) - normal * mean(grad * normal))
        n = grad.shape[2] * grad.shape[3]
        rest = torch.addcmul(_map(-scale * of_bias / n, grad), normal, _map(-scale * of_weight / n, grad))
        of_x = torch.addcmul(rest, grad, _map(scale, grad))
        return of_x, _of_rows(of_weight, ctx.rows), _of_rows(of_bias, ctx.rows), None


def _sums(x: Tensor) -> Tensor:
    return x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))


def _of_rows(x: Tensor, rows: int) -> Tensor:
    return x.sum(0, keepdim=True) if rows == 1 else x


def _map(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.dtype)[..., None, None]


class Noise(nn.Module):
    """Adds noise to features, as much of it in each channel as was learned, per style: ``x + weight[s] * noise``
    (Karras et al. 2019, section 3.2, but the same noise in every pass).

    Where a photo is flat, features are constant, and an instance norm has nothing to enlarge there: noise gives the
    layers after it something to paint. It is white, -1 or 1, and a function of the place alone. So a photo gives the
    same picture each time, and a strip of it what the whole gives.

    The weights begin at random, with a standard deviation of NOISE: a network that knows nothing yet learns to paint
    from much noise alone, whatever the photo. One that was trained without noise is given ADDED_NOISE: it paints its
    skies with that much at once, while weights that begin at 0 stay small, as little of the loss is in flat places.

    In training the noise begins at another place in each step, ``place`` (:meth:`begin_at`). Were it always the same, a
    network would learn it by heart, and paint the same red ball in the same corner of every photo.
    """

    def __init__(self, channels: int, n_styles: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_styles, channels))
        draw(self.weight, NOISE)
        for side in NOISE_SIDES:
            self.register_buffer(f"signs_{side}", _signs(side), persistent=False)
        self.register_buffer("place", torch.tensor([FIRST, FIRST], device="cpu"), persistent=False)
        self.begins = FIRST, FIRST

    def begin_at(self, down: int, across: int) -> None:
        """Where the noise begins in training."""
        self.get_buffer("place").copy_(torch.tensor([down, across]))
        self.begins = down, across  # the same for kernels, which take numbers: a GPU need not be asked

    def of(self, style: Tensor | None) -> Tensor:
        """How much of it each picture's style has in each channel, ``(1 or b, c)``."""
        return self.weight[:1] if style is None else (style[..., None] * self.weight).sum(1)

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        signs, others = (self.get_buffer(f"signs_{side}") for side in NOISE_SIDES)
        down, across = self.get_buffer("place").unbind() if self.training else (FIRST, FIRST)
        if isinstance(style, Regions):
            each = self.of(style.weights)[None]
            noise = add_noise(x * 0, torch.ones_like(each[:, 0]), signs, others, down, across)
            return x + regions.scale_and_shift(noise, each, torch.zeros_like(each), style)
        return add_noise(x, self.of(style), signs, others, down, across)


def add_noise(
    x: Tensor, weight: Tensor, signs: Tensor, others: Tensor, down: int | Tensor = FIRST, across: int | Tensor = FIRST
) -> Tensor:
    """``x + weight * noise`` for features ``(b, c, h, w)`` whose first row and column are at place ``down``, ``across``
    of the noise; ``weight``: ``(1 or b, c)``.

    ``signs`` and ``others``, squares of -1 and 1, are laid side by side, again and again, and multiplied: as their
    sides have no common divisor, the product does not repeat itself before the product of the sides.
    """
    if not isinstance(x, Tensor):
        return type(x).__torch_function__(add_noise, (), (x, weight, signs, others, down, across))
    rows, columns = torch.arange(x.shape[2], device=x.device) + down, torch.arange(x.shape[3], device=x.device) + across
    one, two = (each[rows % len(each)][:, columns % len(each)] for each in (signs, others))
    return x + _map(weight, x) * (one * two).to(x.dtype)


def _signs(side: int) -> Tensor:
    """A square of -1 and 1 as if drawn at random, the same on every machine and in every version of PyTorch."""
    drawn = hashlib.shake_256(f"stylenet noise {side}".encode()).digest(-(-side * side // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8))[: side * side].reshape(side, side)
    return torch.tensor(bits * 2.0 - 1.0, dtype=torch.float32, device="cpu")  # not on "meta": nothing would fill it


class Conv(nn.Conv2d):
    """A convolution whose border is the reflected picture; ``ceil(h / stride), ceil(w / stride)`` come out. ``wrap``:
    see :mod:`stylenet.nets.borders`.
    """

    wrap = ""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = False):
        super().__init__(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.wrap:
            return super().forward(x)
        padded = borders.pad(x, self.kernel_size[0] // 2, "reflect", self.wrap)
        return F.conv2d(padded, self.weight, self.bias, self.stride)


def conv_for_relu(inputs: int, outputs: int) -> Conv:
    """A 3x3 convolution with a bias and a ReLU after it, whose weights keep the variance (He et al. 2015, eq. 10): in
    networks without norms, smaller ones would leave nothing of the features.
    """
    conv = Conv(inputs, outputs, 3, bias=True)
    draw(conv.weight, (2 / conv.weight[0].numel()) ** 0.5)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class Residual(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, without a ReLU after the sum (Gross & Wilber 2016; Johnson 2016,
    supplement).
    """

    def __init__(self, channels: int, n_styles: int):
        super().__init__()
        self.conv1, self.norm1 = Conv(channels, channels, 3), InstanceNorm(channels, n_styles, relu=True)
        self.conv2, self.norm2 = Conv(channels, channels, 3), InstanceNorm(channels, n_styles)

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        y = self.norm1(self.conv1(x), style)
        return x + self.norm2(self.conv2(y), style)


def _filter(x: Tensor, taps: list[float], wrap: str = "") -> Tensor:
    reach = len(taps) // 2
    # Made where x is: numbers that come from the host make a GPU wait, and cannot be in a CUDA graph.
    row = torch.stack([torch.full((), tap / sum(taps), dtype=x.dtype, device=x.device) for tap in taps])
    kernel = (row[:, None] * row).expand(x.shape[1], 1, -1, -1)
    known = torch.amp.is_autocast_available(x.device.type)  # not on "meta", where sizes are worked out
    with torch.autocast(x.device.type, enabled=False) if known else nullcontext():  # it would pad in float32
        padded = borders.pad(x, reach, "replicate", wrap) if wrap else _replicate(x, reach)
        return F.conv2d(padded, kernel, groups=x.shape[1])


def _replicate(x: Tensor, reach: int) -> Tensor:
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return F.pad(x, (reach,) * 4, mode="replicate")
    for dim in (2, 3):  # the compiler of torch 2.15 is wrong about the layout of that one's gradient
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
        x = torch.cat([*[first] * reach, x, *[last] * reach], dim)
    return x


def without_nyquist(x: Tensor, wrap: str = "") -> Tensor:
    """Remove what alternates from one place to the next: [-1 4 10 4 -1] / 16 along both axes, 0 at the highest
    frequency.

    A pattern (+ - + -) of the features becomes (+ + - -) when they are doubled, whatever the low-pass, and a difference
    with a ReLU makes a grid of it that stands still. Without the pattern there is nothing to make a grid of.
    """
    return _filter(x, [-1.0, 4.0, 10.0, 4.0, -1.0], wrap)


def upsample_blur(x: Tensor, wrap: str = "") -> Tensor:
    """Double h and w: nearest neighbour, then a [1 4 6 4 1] / 16 low-pass along both axes.

    Nearest neighbour alone tells the next convolution which of the two copies it is looking at, and the ReLU after it
    turns that into a grid of period 2 and 4 in the picture. The low-pass (a binomial, so that nothing rings) takes this
    knowledge away. It is computed as bilinear upsampling (nearest and [1 2 1] / 4) and another [1 2 1] / 4, which is
    the same and faster.
    """
    if not wrap:
        return _filter(F.interpolate(x, scale_factor=2.0, mode="bilinear"), [1.0, 2.0, 1.0])
    doubled = F.interpolate(borders.pad(x, 1, "replicate", wrap), scale_factor=2.0, mode="bilinear")
    return _filter(doubled[..., 2:-2, 2:-2], [1.0, 2.0, 1.0], wrap)


BLUR_TAPS = tuple(number / 16 for number in (1, 5, 10, 10, 5, 1))  # of nearest neighbour and [1 4 6 4 1] / 16


def spread_taps(taps: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """What each of a 3-tap convolution's taps gives to the taps of a doubling with ``taps`` and it together."""
    return tuple((0.0,) * (2 - t) + taps + (0.0,) * t for t in range(3))


def upsample_blur_conv(x: Tensor, weight: Tensor) -> Tensor:
    """:func:`upsample_blur` and the 3x3 convolution ``weight`` (o, i, 3, 3) after it as one transposed convolution, a
    fraction of the memory traffic. The outermost row and column on each side differ: they see the small map's border
    repeated, where :class:`Conv` reflects the large one's.

    Nearest neighbour and low-pass give a place n of the large map the sum of f[n - 2 m + 2] x[m] with f = [1 5 10 10 5
    1] / 16. With the three taps after it, these are eight.
    """
    spread = _constant(spread_taps(BLUR_TAPS), weight.device, weight.dtype)
    kernel = torch.einsum("oiab,ap,bq->iopq", weight, spread, spread)
    return F.conv_transpose2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, stride=2, padding=7)


@lru_cache(maxsize=16)
def _constant(rows: tuple[tuple[float, ...], ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(rows, dtype=dtype, device=device)


def upsample_nearest(x: Tensor, wrap: str = "") -> Tensor:
    """Double h and w by copying: what the public trainers do (Odena et al. 2016)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


UPSAMPLE = {"blur": upsample_blur, "nearest": upsample_nearest}


class Up(nn.Module):
    """Twice the size, then a convolution, norm and ReLU."""

    wrap = ""

    def __init__(self, in_channels: int, out_channels: int, n_styles: int, upsample: str):
        super().__init__()
        self.upsample = UPSAMPLE[upsample]
        self.conv, self.norm = Conv(in_channels, out_channels, 3), InstanceNorm(out_channels, n_styles, relu=True)

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        if (
            self.training
            and not self.wrap
            and x.device.type == "cuda"
            and self.upsample is upsample_blur
            and not torch.compiler.is_compiling()
        ):
            return self.norm(upsample_blur_conv(x, self.conv.weight), style)
        return self.norm(self.conv(self.upsample(x, self.wrap)), style)


class Down(nn.Module):
    """A (strided) convolution, norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, n_styles: int):
        super().__init__()
        self.conv, self.norm = (
            Conv(in_channels, out_channels, kernel, stride),
            InstanceNorm(out_channels, n_styles, relu=True),
        )

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        return self.norm(self.conv(x), style)
