"""What follows a convolution of VGG on a GPU, in one Triton kernel: bias, ReLU and 2x2 max pooling, with a gradient.

By PyTorch's layers these are three passes over the map, each of which reads and writes it. Importing this module needs
the package triton; ``TRITON_INTERPRET=1`` runs it on the CPU.
"""
# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportAttributeAccessIssue=false

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from stylenet.system import gpu_kernels

LANES = 512  # squares of 2 x 2 pixels times channels that a program works on at once
MOST_CHANNELS = 64  # of them


@triton.jit
def _square(place, h, w, channel, C: tl.constexpr, DOWN: tl.constexpr, ACROSS: tl.constexpr):
    """Where one pixel of each square lies, and whether it is there: a map with an odd side ends in half squares."""
    columns = (w + 1) // 2
    row, column = place // columns * 2 + DOWN, place % columns * 2 + ACROSS
    there = (row < h) & (column < w)
    return ((row * w + column) * C)[:, None] + channel[None, :], there[:, None] & (channel < C)[None, :]


@triton.jit
def _pooled(place, h, w, channel, C: tl.constexpr):
    """Where a square's maximum lies, and whether there is one: half squares have none."""
    columns = (w + 1) // 2
    row, column = place // columns, place % columns
    there = (row < h // 2) & (column < w // 2)
    return ((row * (w // 2) + column) * C)[:, None] + channel[None, :], there[:, None] & (channel < C)[None, :]


@triton.jit(do_not_specialize=["h", "w"])
def activate_kernel(x, bias, out, h, w, C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, POOL: tl.constexpr):
    picture = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * CB + tl.arange(0, CB)
    place = tl.program_id(0) * P + tl.arange(0, P)
    x += picture * h * w * C
    shift = tl.load(bias + channel, mask=channel < C, other=0.0).to(tl.float32)[None, :]
    most = tl.zeros([P, CB], tl.float32)  # no ReLU gives less
    for k in tl.static_range(4):
        where, there = _square(place, h, w, channel, C, k // 2, k % 2)
        value = tl.load(x + where, mask=there, other=0.0).to(tl.float32) + shift
        value = tl.maximum(value, 0.0).to(x.dtype.element_ty)
        tl.store(x + where, value, mask=there)
        most = tl.maximum(most, value.to(tl.float32))
    if POOL:
        out += picture * (h // 2) * (w // 2) * C
        where, there = _pooled(place, h, w, channel, C)
        tl.store(out + where, most.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["h", "w"])
def activate_back_kernel(
    y, grad, pooled, out, h, w,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, GRAD: tl.constexpr, POOL: tl.constexpr,
):  # fmt: skip
    """The gradient before bias and ReLU: that of the map, and that of each maximum at the first place that has it."""
    picture = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * CB + tl.arange(0, CB)
    place = tl.program_id(0) * P + tl.arange(0, P)
    y += picture * h * w * C
    out += picture * h * w * C
    if GRAD:
        grad += picture * h * w * C
    most, of_most = tl.zeros([P, CB], tl.float32), tl.zeros([P, CB], tl.float32)
    if POOL:
        pooled += picture * (h // 2) * (w // 2) * C
        where, there = _pooled(place, h, w, channel, C)
        of_most = tl.load(pooled + where, mask=there, other=0.0).to(tl.float32)
        for k in tl.static_range(4):
            where, there = _square(place, h, w, channel, C, k // 2, k % 2)
            most = tl.maximum(most, tl.load(y + where, mask=there, other=0.0).to(tl.float32))
    for k in tl.static_range(4):
        where, there = _square(place, h, w, channel, C, k // 2, k % 2)
        value = tl.load(y + where, mask=there, other=0.0).to(tl.float32)
        found = tl.zeros([P, CB], tl.float32)
        if GRAD:
            found += tl.load(grad + where, mask=there, other=0.0).to(tl.float32)
        if POOL:
            found += tl.where(value == most, of_most, 0.0)
            of_most = tl.where(value == most, 0.0, of_most)
        found = tl.where(value > 0, found, 0.0)
        tl.store(out + where, found.to(out.dtype.element_ty), mask=there)


def _grid(x: Tensor) -> tuple[tuple[int, int, int], dict[str, int]]:
    b, c, h, w = x.shape
    block = min(MOST_CHANNELS, triton.next_power_of_2(c))
    lanes = max(4, LANES // block)
    squares = -(-h // 2) * -(-w // 2)
    return (-(-squares // lanes), b, -(-c // block)), {"C": c, "CB": block, "P": lanes}


def _activate(x: Tensor, bias: Tensor, pool: bool) -> Tensor:
    """In place; returns the maxima, or ``x`` where there are none."""
    b, c, h, w = x.shape
    grid, sizes = _grid(x)
    out = x
    if pool:
        shape = (b, c, h // 2, w // 2)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    written = [x, out] if pool else [x]
    gpu_kernels.start(activate_kernel, grid, [x], written, x, bias, out, h, w, **sizes, POOL=pool)
    return out


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, pool: bool) -> Any:
        ctx.set_materialize_grads(False)
        out = _activate(x, bias, pool)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.pool = pool
        return (x, out) if pool else x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor | None, pooled: Tensor | None = None) -> tuple[Tensor | None, None, None]:
        (y,) = ctx.saved_tensors
        if grad is None and pooled is None:
            return None, None, None
        grads = [None if one is None else one.contiguous(memory_format=torch.channels_last) for one in (grad, pooled)]
        out = torch.empty_like(y, memory_format=torch.channels_last)
        grid, sizes = _grid(y)
        read = [y, *(one for one in grads if one is not None)]
        first, second = (y if one is None else one for one in grads)
        h, w = y.shape[2:]
        gpu_kernels.start(
            activate_back_kernel, grid, read, [out], y, first, second, out, h, w,
            **sizes, GRAD=grads[0] is not None, POOL=grads[1] is not None,
        )  # fmt: skip
        return out, None, None


def bias_relu(x: Tensor, bias: Tensor) -> Tensor:
    """``relu(x + bias)`` of a convolution's output ``(b, c, h, w)``, in place. ``bias``: ``(c,)``, without gradient."""
    return _Activate.apply(x.contiguous(memory_format=torch.channels_last), bias, False)  # type: ignore[no-any-return]


def bias_relu_pool(x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`bias_relu`, and its 2x2 maxima ``(b, c, h // 2, w // 2)``. Of equal ones the first gets the gradient."""
    return _Activate.apply(x.contiguous(memory_format=torch.channels_last), bias, True)  # type: ignore[no-any-return]
