"""Rejected light networks: at equal cost, Johnson's network with a quarter of the channels (``net=lite``) has a lower
loss. They are kept to repeat ``benchmarks/experiments/designs.py``.

They know pictures and style weights; nothing about VGG, losses or files.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.base import StyleNet, peak_bytes
from stylenet.nets.layers import UPSAMPLE, Conv, Down, InstanceNorm, Residual, without_nyquist
from stylenet.nets.registry import NETS

SMALLEST = 16  # pixels a side, two at an eighth of the size: with fewer there is nothing to reflect at the border
STEMS = (1, 2, 4)
KERNELS = (1, 3, 5, 7, 9)
BLOCKS = ("plain", "separable", "bottleneck")
ORDERS = ("conv_upsample", "upsample_conv")


def register() -> None:
    """From here on this process builds and loads :class:`Lite` by the name "lite", which the package does not know."""
    NETS["lite"] = Lite


class Lite(StyleNet):
    """Space to depth, strided convolutions, residual blocks at the smallest size, doublings.

    ``net(content, style=None)``: content ``(b, 3, h, w)`` in [0, 1], any h, w >= 1; style ``(b, n_styles)`` weights
    (rows that sum to 1 mix styles), or None for the first. Returns ``(b, 3, h, w)`` in [0, 1].

    ``widths``: channels at full, half, quarter ... size, the last those of the ``blocks`` residual blocks. ``stem``: 2
    or 4 folds squares of so many pixels a side into channels first, 1 begins with a convolution at full size.
    ``block``: "plain", "separable" or "bottleneck"; ``mid``: inner channels of the last. ``order``: "conv_upsample", or
    "upsample_conv" at four times the cost. ``kernel``: of the last convolution. ``detail``: a convolution of the
    picture itself is added where full size is reached. Raises ValueError for a name or size outside these.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 48, 96),
        blocks: int = 4,
        block: str = "plain",
        mid: int | None = None,
        stem: int = 4,
        order: str = "conv_upsample",
        kernel: int = 3,
        detail: bool = True,
        upsample: str = "blur",
        n_styles: int = 1,
    ):
        config: dict[str, Any] = {
            "widths": list(widths),
            "blocks": blocks,
            "block": block,
            "mid": mid,
            "stem": stem,
            "order": order,
            "kernel": kernel,
            "detail": detail,
            "upsample": upsample,
            "n_styles": n_styles,
        }
        _check(**config)
        super().__init__(config, n_styles, SMALLEST, peak_bytes(widths[0]))
        self.stem, self.stride = stem, 2 ** (len(widths) - 1)
        first = STEMS.index(stem)  # the level that the folded picture is at
        first_kernel = kernel if stem == 1 else 3
        self.down = nn.ModuleList([Down(3 * stem**2, widths[first], first_kernel, 1, n_styles)])
        self.down += [Down(a, b, 3, 2, n_styles) for a, b in zip(widths[first:], widths[first + 1 :], strict=False)]
        self.trunk = nn.ModuleList([_block(block, widths[-1], mid, n_styles) for _ in range(blocks)])
        wide_first = [*reversed(widths)]
        pairs = zip(wide_first, wide_first[1:], strict=False)
        self.up = nn.ModuleList([Double(a, b, n_styles, upsample, order) for a, b in pairs])
        self.detail = Conv(3, widths[0], 3) if detail else None
        self.last = Conv(widths[0], 3, kernel, bias=True)

    def forward(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        if style is not None and style.shape[-1] != self.n_styles:
            raise ValueError(f"style {tuple(style.shape)}: this network wants (b, {self.n_styles}) weights.")
        h, w = content.shape[-2:]
        picture = _to_multiple(content, self.stride)
        x = F.pixel_unshuffle(picture, self.stem)
        for block in [*self.down, *self.trunk]:
            x = block(x, style)
        x = without_nyquist(x) if self.config["upsample"] == "blur" else x
        *doublings, to_full_size = self.up
        for double in doublings:
            x = double(x, style)
        x = to_full_size(x, style, None if self.detail is None else self.detail(picture))
        return torch.sigmoid(self.last(x)[..., :h, :w].float())


def _check(*, widths: list[int], blocks: int, mid: int | None, stem: int, kernel: int, n_styles: int, **names: Any):
    counts = (*widths, n_styles, 1 if mid is None else mid)
    whole = all(type(number) is int for number in (*counts, blocks))
    if not 2 <= len(widths) <= 4 or not whole or min(counts) < 1 or blocks < 0:
        raise ValueError(
            f"widths={widths} blocks={blocks} mid={mid} n_styles={n_styles}: give two to four widths and one n_styles "
            ">= 1, and blocks >= 0, all whole numbers."
        )
    if stem not in STEMS or STEMS.index(stem) >= len(widths) or kernel not in KERNELS:
        raise ValueError(
            f"stem={stem} kernel={kernel}: allowed are {[*STEMS]}, with a width for that size, and {[*KERNELS]}."
        )
    for name, allowed in {"block": BLOCKS, "order": ORDERS, "upsample": UPSAMPLE, "detail": (True, False)}.items():
        if names[name] not in allowed:
            raise ValueError(f"{name}={names[name]!r}: allowed are {[*allowed]}.")
    if names["block"] == "bottleneck" and mid is None:
        raise ValueError("block='bottleneck' needs mid=, its inner channels.")


def _to_multiple(content: Tensor, stride: int) -> Tensor:
    """Grown to the right and below until both sides are multiples of ``stride`` and large enough."""
    h, w = content.shape[-2:]
    x = F.pad(content, (0, max(0, SMALLEST - w), 0, max(0, SMALLEST - h)), mode="replicate")
    h, w = x.shape[-2:]
    return F.pad(x, (0, -w % stride, 0, -h % stride), mode="reflect")


class Double(nn.Module):
    """Twice the size and a convolution, then norm and ReLU.

    With "conv_upsample" the convolution works at the smaller size: a quarter of the multiply-adds, and before the ReLU
    nothing but the low-pass has seen doubled pixels. ``detail``, features of full size, is added before the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, n_styles: int, upsample: str, order: str):
        super().__init__()
        self.upsample, self.conv_first = UPSAMPLE[upsample], order == "conv_upsample"
        self.conv, self.norm = Conv(in_channels, out_channels, 3), InstanceNorm(out_channels, n_styles, relu=True)

    def forward(self, x: Tensor, style: Tensor | None = None, detail: Tensor | None = None) -> Tensor:
        x = self.upsample(self.conv(x)) if self.conv_first else self.conv(self.upsample(x))
        return self.norm(x if detail is None else x + detail, style)


# --- residual blocks: x + f(x), two norms or three, no ReLU after the sum


class Depthwise(nn.Conv2d):
    """One 3x3 filter a channel; the border is the reflected picture."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, padding_mode="reflect", groups=channels, bias=False)


def pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class Separable(nn.Module):
    """Two 3x3 convolutions, each as a filter a channel and a mixing of the channels (Howard et al. 2017, MobileNets),
    without a norm between.
    """

    def __init__(self, channels: int, n_styles: int):
        super().__init__()
        self.conv1 = nn.Sequential(Depthwise(channels), pointwise(channels, channels))
        self.norm1 = InstanceNorm(channels, n_styles, relu=True)
        self.conv2 = nn.Sequential(Depthwise(channels), pointwise(channels, channels))
        self.norm2 = InstanceNorm(channels, n_styles)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        y = self.norm1(self.conv1(x), style)
        return x + self.norm2(self.conv2(y), style)


class Bottleneck(nn.Module):
    """1x1 to ``mid`` channels, 3x3, 1x1 back, a norm after each (He et al. 2016)."""

    def __init__(self, channels: int, mid: int, n_styles: int):
        super().__init__()
        self.conv1, self.norm1 = pointwise(channels, mid), InstanceNorm(mid, n_styles, relu=True)
        self.conv2, self.norm2 = Conv(mid, mid, 3), InstanceNorm(mid, n_styles, relu=True)
        self.conv3, self.norm3 = pointwise(mid, channels), InstanceNorm(channels, n_styles)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        y = self.norm1(self.conv1(x), style)
        y = self.norm2(self.conv2(y), style)
        return x + self.norm3(self.conv3(y), style)


def _block(kind: str, channels: int, mid: int | None, n_styles: int) -> nn.Module:
    if kind == "bottleneck":
        return Bottleneck(channels, mid or channels, n_styles)
    return {"plain": Residual, "separable": Separable}[kind](channels, n_styles)
