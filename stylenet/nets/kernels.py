"""Maps between two convolutions on a GPU: instance norm, ReLU, noise, residual sum and border in one pass.

A convolution on a GPU is fast without a border of its own. So each map here is written once, with the border that the
next convolution needs: :func:`lay`. Before it, :func:`moments` reads the map once for the statistics. Both have a
gradient, :func:`norm_and_lay`.

Maps are ``(b, c, h, w)`` tensors in channels-last memory. A map may be *phased*: a place of it holds the four pixels
of a 2 x 2 square, one after the other, as channels ``(phase, c)``. Convolutions then compute four pixels at a time.
A phased map may also be *shifted*: odd rows (columns) begin one place later. That is what a convolution gives that
doubles a map, see ``kernel_net.py``.

The kernels are in ``triton_kernels.py``. ``TRITON_INTERPRET=1`` runs them on the CPU, where the tests compare them with
the plain layers. Importing this module needs the package triton.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from stylenet.nets.layers import EPS, FIRST
from stylenet.nets.triton_kernels import (
    back_kernel,
    combine_kernel,
    enter_kernel,
    lay_kernel,
    leave_kernel,
    moments_kernel,
    sums_kernel,
    without_nyquist_kernel,
)
from stylenet.system import gpu_kernels

REFLECT, REPLICATE, DOUBLING = 0, 1, 2
"""Kinds of border. REFLECT: a picture mirrored at its outermost pixels. REPLICATE: the outermost pixels, repeated.
DOUBLING: two places, for the convolution that doubles the map with a low-pass: the first repeats the outermost one x0,
the second is 5 x1 - 4 x0. With these, that convolution sees the large map's border reflected."""

LANES = 1024  # numbers that a program works on at once: more of them need more registers than there are
PROGRAMS = 512  # that read a map for its statistics, at most: their results are put together by one


class Layout(NamedTuple):
    """How a map of ``h`` x ``w`` pixels with ``c`` channels lies in memory."""

    c: int
    h: int
    w: int
    phased: bool = False
    shift: int = 0

    def places(self) -> tuple[int, int]:
        """Rows and columns of the tensor that holds it."""
        if not self.phased:
            return self.h, self.w
        return -(-self.h // 2) + self.shift, -(-self.w // 2) + self.shift

    def empty(self, b: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor that can hold ``b`` such maps, of the type and on the device of ``like``."""
        shape = (b, self.c * (4 if self.phased else 1), *self.places())
        return torch.empty(shape, dtype=dtype or like.dtype, device=like.device, memory_format=torch.channels_last)


class Border(NamedTuple):
    """What is laid around a map: its kind, and how many pixels on each side. DOUBLING has 2."""

    kind: int = REFLECT
    width: int = 0


# --- starting them


def _lanes(channels: int) -> tuple[int, int]:
    """Channels, rounded up to a power of two, and pixels that a program works on at once."""
    block = triton.next_power_of_2(channels)
    return block, max(4, LANES // block)


def _type(x: Tensor) -> Any:
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _exact(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _chunks(pixels: int, lanes: int) -> tuple[int, int]:
    """Programs that read a map together, and the tiles of each."""
    tiles = -(-pixels // lanes)
    each = -(-tiles // PROGRAMS)
    return -(-tiles // each), each


def _check(x: Tensor, layout: Layout) -> None:
    rows, columns = layout.places()
    wanted = (layout.c * (4 if layout.phased else 1), rows, columns)
    if tuple(x.shape[1:]) != wanted or not x.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"a map {tuple(x.shape)} {x.stride()}: wanted {wanted} in channels-last memory.")


def moments(y: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Mean and ``1 / sqrt(var + 1e-5)`` over the pixels of a map, each ``(b, c)``, in float32 (float64 for such a
    map). The variance is the biased one.
    """
    _check(y, layout)
    b, (rows, columns), (block, lanes) = len(y), layout.places(), _lanes(layout.c)
    chunks, tiles = _chunks(layout.h * layout.w, lanes)
    parts = torch.empty(b, chunks, 2, layout.c, dtype=_exact(y), device=y.device)
    mean, rstd = (torch.empty(b, layout.c, dtype=_exact(y), device=y.device) for _ in range(2))
    gpu_kernels.start(
        moments_kernel, (chunks, b), [y], [parts], y, parts, layout.h, layout.w, rows, columns, tiles, chunks,
        C=layout.c, CB=block, P=lanes, PHASED=layout.phased, SHIFT=layout.shift, TYPE=_type(y),
    )  # fmt: skip
    few = min(16, block)
    gpu_kernels.start(
        combine_kernel, (b, -(-layout.c // few)), [parts], [mean, rstd], parts, mean, rstd, layout.h, layout.w,
        chunks, tiles * lanes, EPS=EPS, C=layout.c, CB=few, K=64, TYPE=_type(y),
    )  # fmt: skip
    return mean, rstd


class Norm(NamedTuple):
    """Statistics ``(b, c)``, and scale and shift ``(1 or b, c)`` of an instance norm."""

    mean: Tensor
    rstd: Tensor
    weight: Tensor
    bias: Tensor


class NoiseAt(NamedTuple):
    """``amount`` ``(1 or b, c)`` of noise, the two squares of signs that it is made of, and where it begins."""

    amount: Tensor
    signs: Tensor
    others: Tensor
    down: int = FIRST
    across: int = FIRST


class Skip(NamedTuple):
    """A map that is added, and the width of its own border, which is not."""

    x: Tensor
    width: int


def bordered(layout: Layout, border: Border, phased: bool) -> Layout:
    """The layout of a map with its border; a phased one has room for an even number of rows and columns."""
    h, w = layout.h + 2 * border.width, layout.w + 2 * border.width
    return Layout(layout.c, h + h % 2, w + w % 2, True) if phased else Layout(layout.c, h, w)


def lay(
    y: Tensor,
    layout: Layout,
    border: Border,
    norm: Norm | None = None,
    relu: bool = False,
    skip: Skip | None = None,
    noise: NoiseAt | None = None,
    phased: bool = False,
) -> Tensor:
    """The map after norm, ReLU, sum and noise, each where it is given, with a border: a new map, phased if asked for.

    In a phased map an odd number of rows or columns gets one more, which is the border's next. Raises ValueError for
    a map that does not lie in memory as ``layout`` says.
    """
    _check(y, layout)
    out_layout = bordered(layout, border, phased)
    out = out_layout.empty(len(y), y)
    (rows, columns), (out_rows, out_columns) = layout.places(), out_layout.places()
    block, lanes = _lanes(layout.c)
    nothing = y  # stands where there is nothing to read
    mean, rstd, weight, bias = norm or (nothing,) * 4
    amount, signs, others, down, across = noise or (nothing, nothing, nothing, 0, 0)
    added, width = skip or (nothing, -1)
    styles = max(len(each) for each in ((weight,) if norm else ()) + ((amount,) if noise else ()) + (y[:1],))
    gpu_kernels.start(
        lay_kernel, (-(-out_layout.h * out_layout.w // lanes), len(y)), [y, *([added] if skip else [])], [out],
        y, out, added, mean, rstd, weight, bias, amount, signs, others,
        layout.h, layout.w, rows, columns, out_layout.h, out_layout.w, out_rows, out_columns,
        added.shape[2], added.shape[3], down, across, styles,
        C=layout.c, CB=block, P=lanes, PHASED=layout.phased, SHIFT=layout.shift, KIND=border.kind, WIDTH=border.width,
        OUT_PHASED=phased, NORM=norm is not None, RELU=relu, SKIP=width, NOISE=noise is not None,
        SIDE=len(signs) if noise else 1, OTHER=len(others) if noise else 1, TYPE=_type(y),
    )  # fmt: skip
    return out


def without_nyquist(x: Tensor, adjoint: bool = False) -> Tensor:
    """:func:`stylenet.nets.layers.without_nyquist` of a map in channels-last memory; ``adjoint``: its gradient."""
    b, c, h, w = x.shape
    _check(x, Layout(c, h, w))
    out = torch.empty_like(x)
    block, lanes = _lanes(c)
    gpu_kernels.start(
        without_nyquist_kernel, (-(-h * w // lanes), b), [x], [out], x, out, h, w,
        C=c, CB=block, P=lanes, ADJOINT=adjoint, TYPE=_type(x),
    )  # fmt: skip
    return out


def enter(content: Tensor, dtype: torch.dtype, frame: int, border: int, smallest: int = 1) -> tuple[Tensor, Layout]:
    """The picture as a phased map of four channels, the fourth of them 0, with its frame and its border reflected.

    ``content``: ``(b, 3, h, w)`` in planes. Returns the map, and the layout of what it shows without the border. The
    border is laid around an even number of rows and columns.
    """
    b, _, h, w = content.shape
    rows, columns = max(h, smallest), max(w, smallest)
    shown = Layout(4, rows + 2 * frame, columns + 2 * frame)
    padded = bordered(shown, Border(REFLECT, border), True)
    out = padded.empty(b, content, dtype)
    out_rows, out_columns = padded.places()
    gpu_kernels.start(
        enter_kernel, (-(-padded.h * padded.w // 512), b), [content], [out], content.contiguous(), out, h, w,
        padded.h, padded.w, out_rows, out_columns, rows, columns, FRAME=frame, BORDER=border, P=512, CB=4,
    )  # fmt: skip
    return out, shown


def leave(y: Tensor, bias: Tensor, h: int, w: int, frame: int, output: str) -> Tensor:
    """A phased map whose first three of ``len(bias)`` channels are colours -> the picture ``(b, 3, h, w)``, float32
    (float64 for such a map). ``output``: sigmoid, clamp or none. The frame is cut off.
    """
    rows, columns = y.shape[2:]
    out = torch.empty(len(y), 3, h, w, dtype=_exact(y), device=y.device)
    block = triton.next_power_of_2(len(bias))
    gpu_kernels.start(
        leave_kernel, (-(-h * w // 512), len(y)), [y], [out], y, out, bias, h, w, rows, columns, FRAME=frame,
        SIGMOID=output == "sigmoid", CLAMP=output == "clamp", C=len(bias), CB=block, P=512, TYPE=_type(y),
    )  # fmt: skip
    return out


# --- with gradients


class _NormAndLay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        weight: Tensor,
        bias: Tensor,
        skip: Tensor | None,
        amount: Tensor | None,
        rest: tuple[Layout, Border, bool, int, tuple[Any, ...], bool],
    ) -> Tensor:
        layout, border, relu, width, noise, phased = rest
        norm = Norm(*moments(y, layout), weight, bias)
        ctx.save_for_backward(y, *norm, amount)
        ctx.rest, ctx.skip = rest, None if skip is None else skip.shape
        added = None if skip is None else Skip(skip, width)
        return lay(
            y, layout, border, norm, relu, added, NoiseAt(amount, *noise) if amount is not None else None, phased
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, rstd, weight, bias, amount = ctx.saved_tensors
        layout, border, relu, width, noise, phased = ctx.rest
        grad = grad.contiguous(memory_format=torch.channels_last)
        b, (rows, columns), (block, lanes) = len(y), layout.places(), _lanes(layout.c)
        out_rows, out_columns = bordered(layout, border, phased).places()
        chunks, tiles = _chunks(layout.h * layout.w, lanes)
        parts = torch.empty(b, chunks, 3, layout.c, dtype=mean.dtype, device=y.device)
        signs, others, down, across = noise if amount is not None else (y, y, 0, 0)
        shared: dict[str, Any] = {
            "C": layout.c, "CB": block, "P": lanes, "PHASED": layout.phased, "SHIFT": layout.shift,
            "KIND": border.kind, "WIDTH": border.width, "OUT_PHASED": phased, "RELU": relu, "TYPE": _type(y),
        }  # fmt: skip
        noisy = {"NOISE": amount is not None, "SIDE": len(signs), "OTHER": len(others)}
        gpu_kernels.start(
            sums_kernel, (chunks, b), [y, grad], [parts], y, grad, parts, mean, rstd, weight, bias, signs, others,
            layout.h, layout.w, rows, columns, out_rows, out_columns, tiles, chunks, down, across, len(weight),
            **shared, **noisy,
        )  # fmt: skip
        sums = parts.sum(1)
        of_y = layout.empty(b, y)
        if layout.phased:  # not each of its places shows a pixel
            of_y.zero_()
        of_skip = None
        if ctx.skip is not None:
            of_skip = torch.zeros(ctx.skip, dtype=y.dtype, device=y.device).to(memory_format=torch.channels_last)
        added = y if of_skip is None else of_skip
        gpu_kernels.start(
            back_kernel, (-(-layout.h * layout.w // lanes), b), [y, grad, sums],
            [of_y, *([] if of_skip is None else [of_skip])], y, grad, of_y, added, mean, rstd, weight, bias, sums,
            layout.h, layout.w, rows, columns, out_rows, out_columns, added.shape[2], added.shape[3], len(weight),
            **shared, NORM=True, SKIP=-1 if of_skip is None else width,
        )  # fmt: skip
        of_bias, of_weight, of_amount = (
            each.sum(0, keepdim=True) if len(weight) == 1 else each for each in sums.unbind(1)
        )
        return of_y, of_weight, of_bias, of_skip, of_amount if amount is not None else None, None


def norm_and_lay(
    y: Tensor,
    layout: Layout,
    border: Border,
    weight: Tensor,
    bias: Tensor,
    relu: bool = False,
    skip: Skip | None = None,
    noise: NoiseAt | None = None,
    phased: bool = False,
) -> Tensor:
    """Instance norm of a map with its own statistics, then :func:`lay`. With a gradient for the map, ``weight``,
    ``bias``, what is added, and the amount of noise; the last three have as many rows, 1 or b.
    """
    added, width = skip or (None, -1)
    amount, *place = noise or (None,)
    rest = (layout, border, relu, width, tuple(place), phased)
    return _NormAndLay.apply(y, weight, bias, added, amount, rest)  # type: ignore[no-any-return]


class _OnlyLay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, layout: Layout, border: Border) -> Tensor:
        ctx.rest = layout, border
        return lay(y, layout, border)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layout, border = ctx.rest
        grad = grad.contiguous(memory_format=torch.channels_last)
        out = layout.empty(len(grad), grad)
        (rows, columns), (block, lanes) = layout.places(), _lanes(layout.c)
        out_rows, out_columns = bordered(layout, border, False).places()
        gpu_kernels.start(
            back_kernel, (-(-layout.h * layout.w // lanes), len(grad)), [grad], [out],
            grad, grad, out, grad, grad, grad, grad, grad, grad,
            layout.h, layout.w, rows, columns, out_rows, out_columns, 0, 0, 1,
            C=layout.c, CB=block, P=lanes, PHASED=layout.phased, SHIFT=layout.shift, KIND=border.kind,
            WIDTH=border.width, OUT_PHASED=False, RELU=False, NORM=False, SKIP=-1, TYPE=_type(grad),
        )  # fmt: skip
        return out, None, None


def only_lay(y: Tensor, layout: Layout, border: Border) -> Tensor:
    """:func:`lay` of a map as it is, with a gradient."""
    return _OnlyLay.apply(y, layout, border)  # type: ignore[no-any-return]


class _WithoutNyquist(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return without_nyquist(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return without_nyquist(grad.contiguous(memory_format=torch.channels_last), adjoint=True)


def low_pass(x: Tensor) -> Tensor:
    """:func:`without_nyquist` with a gradient."""
    return _WithoutNyquist.apply(x)  # type: ignore[no-any-return]
