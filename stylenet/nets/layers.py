"""The building blocks that the networks share; they know nothing about losses, training or files.

Every block takes and returns features ``(b, c, h, w)``. Borders are reflected, so that no ring of zeros shows in a
picture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class InstanceNorm(nn.Module):
    """Instance norm with one learned scale and shift per style (Ulyanov et al. 2017; Dumoulin et al. 2017, eq. 5).

    ``y = weight[s] * (x - mean(x)) / sqrt(var(x) + 1e-5) + bias[s]``, mean and (biased) variance over h and w of each
    picture and channel. The statistics are taken in float32 whatever the dtype of ``x``; the result has the dtype of
    ``x``.
    """

    def __init__(self, channels: int, n_styles: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_styles, channels))
        self.bias = nn.Parameter(torch.zeros(n_styles, channels))

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        weight, bias = self.weight[:1], self.bias[:1]
        if style is not None:  # no matrix product: autocast would round it to half precision
            weight, bias = ((style[..., None] * rows).sum(1) for rows in (self.weight, self.bias))
        var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0)
        scale = weight * torch.rsqrt(var + EPS)
        shift = bias - mean * scale
        return (x.float() * scale[..., None, None] + shift[..., None, None]).to(x.dtype)


class Conv(nn.Conv2d):
    """A convolution whose border is the reflected picture; ``ceil(h / stride), ceil(w / stride)`` come out."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = False):
        super().__init__(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=bias
        )


class Residual(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, without a ReLU after the sum (Gross & Wilber 2016; Johnson 2016,
    supplement).
    """

    def __init__(self, channels: int, n_styles: int):
        super().__init__()
        self.conv1, self.norm1 = Conv(channels, channels, 3), InstanceNorm(channels, n_styles)
        self.conv2, self.norm2 = Conv(channels, channels, 3), InstanceNorm(channels, n_styles)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x), style))
        return x + self.norm2(self.conv2(y), style)


def _filter(x: Tensor, taps: list[float]) -> Tensor:
    reach = len(taps) // 2
    row = torch.tensor(taps, dtype=x.dtype, device=x.device) / sum(taps)
    kernel = (row[:, None] * row).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (reach,) * 4, mode="replicate"), kernel, groups=x.shape[1])


def without_nyquist(x: Tensor) -> Tensor:
    """Remove what alternates from one place to the next: [-1 4 10 4 -1] / 16 along both axes, 0 at the highest
    frequency.

    A pattern (+ - + -) of the features becomes (+ + - -) when they are doubled, whatever the low-pass, and a difference
    with a ReLU makes a grid of it that stands still. Without the pattern there is nothing to make a grid of.
    """
    return _filter(x, [-1.0, 4.0, 10.0, 4.0, -1.0])


def upsample_blur(x: Tensor) -> Tensor:
    """Double h and w: nearest neighbour, then a [1 4 6 4 1] / 16 low-pass along both axes.

    Nearest neighbour alone tells the next convolution which of the two copies it is looking at, and the ReLU after it
    turns that into a grid of period 2 and 4 in the picture. The low-pass (a binomial, so that nothing rings) takes this
    knowledge away. It is computed as bilinear upsampling (nearest and [1 2 1] / 4) and another [1 2 1] / 4, which is
    the same and faster.
    """
    return _filter(F.interpolate(x, scale_factor=2.0, mode="bilinear"), [1.0, 2.0, 1.0])


def upsample_nearest(x: Tensor) -> Tensor:
    """Double h and w by copying: what the public trainers do (Odena et al. 2016)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


UPSAMPLE = {"blur": upsample_blur, "nearest": upsample_nearest}


class Up(nn.Module):
    """Twice the size, then a convolution, norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, n_styles: int, upsample: str):
        super().__init__()
        self.upsample = UPSAMPLE[upsample]
        self.conv, self.norm = Conv(in_channels, out_channels, 3), InstanceNorm(out_channels, n_styles)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return F.relu(self.norm(self.conv(self.upsample(x)), style))


class Down(nn.Module):
    """A (strided) convolution, norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, n_styles: int):
        super().__init__()
        self.conv, self.norm = (
            Conv(in_channels, out_channels, kernel, stride),
            InstanceNorm(out_channels, n_styles),
        )

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return F.relu(self.norm(self.conv(x), style))
