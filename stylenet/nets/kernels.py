"""Triton kernels for the maps between two convolutions: instance norm, ReLU, noise, residual sum and border in one pass.

A convolution on a GPU is fast without a border of its own. So each map here is written once, with the border that the
next convolution needs: :func:`lay`. Before it, :func:`moments` reads the map once for the statistics. Both have a
gradient, :func:`norm_and_lay`.

Maps are ``(b, c, h, w)`` tensors in channels-last memory. A map may be *phased*: a place of it holds the four pixels
of a 2 x 2 square, one after the other, as channels ``(phase, c)``. Convolutions then compute four pixels at a time.
A phased map may also be *shifted*: odd rows (columns) begin one place later. That is what a convolution gives that
doubles a map, see ``kernel_net.py``.

``TRITON_INTERPRET=1`` runs the kernels on the CPU, where the tests compare them with the plain layers. Importing this
module needs the package triton.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from stylenet.nets.layers import EPS, FIRST

REFLECT, REPLICATE, DOUBLING = 0, 1, 2
"""Kinds of border. REFLECT: a picture mirrored at its outermost pixels. REPLICATE: the outermost pixels, repeated.
DOUBLING: two places, for the convolution that doubles the map with a low-pass: the first repeats the outermost one x0,
the second is 5 x1 - 4 x0. With these, that convolution sees the large map's border reflected."""

LANES = 2048  # numbers that a program works on at once
PROGRAMS = 512  # that read a map for its statistics, at most: their results are put together by one

_SIZES = (
    ["h", "w", "rows", "columns", "tiles", "chunks", "each", "out_h", "out_w", "out_rows", "out_columns"]
    + ["skip_rows", "skip_columns", "down", "across", "styles"]
)  # fmt: skip


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
        return torch.empty(
            shape, dtype=dtype or like.dtype, device=like.device, memory_format=torch.channels_last
        )


class Border(NamedTuple):
    """What is laid around a map: its kind, and how many pixels on each side. DOUBLING has 2."""

    kind: int = REFLECT
    width: int = 0


# --- addresses


@triton.jit
def _address(picture, row, column, rows, columns, C: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr):
    """Where a pixel's channels begin."""
    if PHASED:
        place_row, place_column = (row >> 1) + (row & 1) * SHIFT, (column >> 1) + (column & 1) * SHIFT
        place = (picture.to(tl.int64) * rows + place_row) * columns + place_column
        return place * (4 * C) + ((row & 1) * 2 + (column & 1)) * C
    return ((picture.to(tl.int64) * rows + row) * columns + column) * C


@triton.jit
def _source(place, n, KIND: tl.constexpr, WIDTH: tl.constexpr):
    """Which pixel of ``n`` a place of the bordered map shows."""
    i = place - WIDTH
    if KIND == 0:
        i = tl.where(i < 0, -i, i)
        i = tl.where(i >= n, 2 * (n - 1) - i, i)
    return tl.minimum(tl.maximum(i, 0), n - 1)


@triton.jit
def _beyond(place, n, WIDTH: tl.constexpr):
    """Whether a place is one of the outermost of a DOUBLING border, and the second pixel that it is made of."""
    before, after = place == 0, place == n + 2 * WIDTH - 1
    return before | after, tl.where(before, 1, n - 2)


@triton.jit
def _shows(i, n, way: tl.constexpr, KIND: tl.constexpr, WIDTH: tl.constexpr):
    """The places of the bordered map that show pixel ``i``: of the ``way``-th kind the place, and its weight."""
    if way == 0:
        return i + WIDTH, tl.where(i >= 0, 1.0, 1.0)
    if KIND == 0:
        if way == 1:
            return WIDTH - i, tl.where((i >= 1) & (i <= WIDTH), 1.0, 0.0)
        return WIDTH + 2 * (n - 1) - i, tl.where((i <= n - 2) & (i >= n - 1 - WIDTH), 1.0, 0.0)
    if KIND == 1:  # one place on each side: REPLICATE is for a width of 1
        if way == 1:
            return i * 0, tl.where(i == 0, 1.0, 0.0)
        return i * 0 + n + 1, tl.where(i == n - 1, 1.0, 0.0)
    if way == 1:
        return i * 0 + 1, tl.where(i == 0, 1.0, 0.0)
    if way == 2:
        return i * 0 + n + 2, tl.where(i == n - 1, 1.0, 0.0)
    if way == 3:
        return i * 0, tl.where(i == 0, -4.0, tl.where(i == 1, 5.0, 0.0))
    return i * 0 + n + 3, tl.where(i == n - 1, -4.0, tl.where(i == n - 2, 5.0, 0.0))


# --- statistics


@triton.jit(do_not_specialize=_SIZES)
def _moments_kernel(
    y, out, h, w, rows, columns, tiles, chunks,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared differences from it, of ``tiles * P`` pixels, for each channel."""
    chunk, picture = tl.program_id(0), tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    first, count = chunk * tiles * P, h * w
    start = tl.minimum(first, count - 1)
    begin = _address(picture, start // w, start % w, rows, columns, C, PHASED, SHIFT)
    base = tl.load(y + begin + channel, mask=inside, other=0.0).to(TYPE)  # so that large means do not eat the digits
    total, squares = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    for tile in range(tiles):
        pixel = first + tile * P + tl.arange(0, P)
        there = (pixel < count)[:, None] & inside[None, :]
        begin = _address(picture, pixel // w, pixel % w, rows, columns, C, PHASED, SHIFT)
        value = tl.load(y + begin[:, None] + channel[None, :], mask=there, other=0.0).to(TYPE)
        value = tl.where(there, value - base[None, :], 0.0)
        total += tl.sum(value, 0)
        squares += tl.sum(value * value, 0)
    seen = tl.maximum(tl.minimum(count - first, tiles * P), 1)
    place = (picture * chunks + chunk) * 2 * C + channel
    tl.store(out + place, base + total / seen, mask=inside)
    tl.store(out + place + C, squares - total * total / seen, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _combine_kernel(
    parts, mean, rstd, h, w, chunks, each, EPS: tl.constexpr,
    C: tl.constexpr, CB: tl.constexpr, K: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """The statistics of a picture from those of its chunks (Chan et al. 1979)."""
    picture = tl.program_id(0)
    channel = tl.program_id(1) * CB + tl.arange(0, CB)
    inside = channel < C
    count = h * w
    total, squares = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    for first in range(0, chunks, K):
        chunk = first + tl.arange(0, K)
        there = (chunk < chunks)[:, None] & inside[None, :]
        seen = tl.maximum(tl.minimum(count - chunk * each, each), 0).to(TYPE)
        place = (picture * chunks + chunk) * 2 * C
        total += tl.sum(tl.load(parts + place[:, None] + channel[None, :], mask=there, other=0.0) * seen[:, None], 0)
    middle = total / count
    for first in range(0, chunks, K):
        chunk = first + tl.arange(0, K)
        there = (chunk < chunks)[:, None] & inside[None, :]
        seen = tl.maximum(tl.minimum(count - chunk * each, each), 0).to(TYPE)
        place = (picture * chunks + chunk) * 2 * C
        away = tl.load(parts + place[:, None] + channel[None, :], mask=there, other=0.0) - middle[None, :]
        within = tl.load(parts + place[:, None] + C + channel[None, :], mask=there, other=0.0)
        squares += tl.sum(within + away * away * tl.where(there, seen[:, None], 0.0), 0)
    tl.store(mean + picture * C + channel, middle, mask=inside)
    tl.store(rstd + picture * C + channel, 1.0 / tl.sqrt(squares / count + EPS), mask=inside)


# --- writing a map with its border


@triton.jit
def _value(
    y, skip, mean, scale, bias, amount, signs, others, picture, i, j, there, channel, inside, rows, columns,
    skip_rows, skip_columns, down, across,
    C: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr,
    SKIP: tl.constexpr, NOISE: tl.constexpr, SIDE: tl.constexpr, OTHER: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """What the map holds at rows ``i`` and columns ``j``, before a border is laid around it."""
    mask = there[:, None] & inside[None, :]
    begin = _address(picture, i, j, rows, columns, C, PHASED, SHIFT)
    value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    if NORM:
        value = (value - mean[None, :]) * scale[None, :] + bias[None, :]
    if RELU:
        value = tl.maximum(value, 0.0)
    if SKIP >= 0:
        begin = _address(picture, i + SKIP, j + SKIP, skip_rows, skip_columns, C, False, 0)
        value += tl.load(skip + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    if NOISE:
        one = tl.load(signs + ((i + down) % SIDE) * SIDE + (j + across) % SIDE, mask=there, other=0.0)
        two = tl.load(others + ((i + down) % OTHER) * OTHER + (j + across) % OTHER, mask=there, other=0.0)
        value += (one * two).to(TYPE)[:, None] * amount[None, :]
    return value


@triton.jit(do_not_specialize=_SIZES)
def _lay_kernel(
    y, out, skip, mean, rstd, weight, bias, amount, signs, others,
    h, w, rows, columns, out_h, out_w, out_rows, out_columns, skip_rows, skip_columns, down, across, styles,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr,
    KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr,
    SKIP: tl.constexpr, NOISE: tl.constexpr, SIDE: tl.constexpr, OTHER: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < out_h * out_w
    row, column = pixel // out_w, pixel % out_w
    style = tl.where(styles > 1, picture, 0)
    middle, scale, shift, much = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    if NORM:
        middle = tl.load(mean + picture * C + channel, mask=inside, other=0.0).to(TYPE)
        scale = tl.load(rstd + picture * C + channel, mask=inside, other=0.0).to(TYPE)
        scale *= tl.load(weight + style * C + channel, mask=inside, other=0.0).to(TYPE)
        shift = tl.load(bias + style * C + channel, mask=inside, other=0.0).to(TYPE)
    if NOISE:
        much = tl.load(amount + style * C + channel, mask=inside, other=0.0).to(TYPE)
    i, j = _source(row, h, KIND, WIDTH), _source(column, w, KIND, WIDTH)
    value = _value(
        y, skip, middle, scale, shift, much, signs, others, picture, i, j, there, channel, inside, rows, columns,
        skip_rows, skip_columns, down, across, C, PHASED, SHIFT, NORM, RELU, SKIP, NOISE, SIDE, OTHER, TYPE,
    )  # fmt: skip
    if KIND == 2:
        high, second_i = _beyond(row, h, WIDTH)
        wide, second_j = _beyond(column, w, WIDTH)
        value *= (tl.where(high, -4.0, 1.0) * tl.where(wide, -4.0, 1.0))[:, None]
        for k in tl.static_range(1, 4):
            use = there
            if k & 1:
                use = use & high
            if k & 2:
                use = use & wide
            if tl.max(use.to(tl.int32), 0) > 0:
                more = _value(
                    y, skip, middle, scale, shift, much, signs, others, picture,
                    second_i if k & 1 else i, second_j if k & 2 else j, use, channel, inside, rows, columns,
                    skip_rows, skip_columns, down, across, C, PHASED, SHIFT, NORM, RELU, SKIP, NOISE, SIDE, OTHER, TYPE,
                )  # fmt: skip
                part = tl.where(high, 5.0 if k & 1 else -4.0, 1.0) * tl.where(wide, 5.0 if k & 2 else -4.0, 1.0)
                value += tl.where(use[:, None], more * part[:, None], 0.0)
    place = _address(picture, row, column, out_rows, out_columns, C, OUT_PHASED, 0)
    tl.store(out + place[:, None] + channel[None, :], value.to(out.dtype.element_ty), mask=there[:, None] & inside[None, :])


# --- the gradient


@triton.jit
def _gathered(
    grad, picture, i, j, there, channel, inside, h, w, out_rows, out_columns,
    C: tl.constexpr, KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, TYPE: tl.constexpr,
    CB: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The gradient of pixels (i, j): that of all places which show them."""
    ways: tl.constexpr = 1 if WIDTH == 0 else (5 if KIND == 2 else 3)
    found = tl.zeros([P, CB], TYPE)
    for down in tl.static_range(ways):
        row, high = _shows(i, h, down, KIND, WIDTH)
        if tl.max(((high != 0) & there).to(tl.int32), 0) > 0:
            for across in tl.static_range(ways):
                column, wide = _shows(j, w, across, KIND, WIDTH)
                part = high * wide
                use = (part != 0) & there
                if tl.max(use.to(tl.int32), 0) > 0:
                    begin = _address(picture, row, column, out_rows, out_columns, C, OUT_PHASED, 0)
                    begin = tl.where(use, begin, 0)
                    mask = use[:, None] & inside[None, :]
                    value = tl.load(grad + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
                    found += value * part.to(TYPE)[:, None]
    return found


@triton.jit(do_not_specialize=_SIZES)
def _sums_kernel(
    y, grad, out, mean, rstd, weight, bias, signs, others,
    h, w, rows, columns, out_rows, out_columns, tiles, chunks, down, across, styles,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr,
    KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, RELU: tl.constexpr,
    NOISE: tl.constexpr, SIDE: tl.constexpr, OTHER: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Sums over a chunk: of the gradient, of the gradient times the normed map, of the gradient times the noise."""
    chunk, picture = tl.program_id(0), tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    style = tl.where(styles > 1, picture, 0)
    middle = tl.load(mean + picture * C + channel, mask=inside, other=0.0).to(TYPE)
    scale = tl.load(rstd + picture * C + channel, mask=inside, other=0.0).to(TYPE)
    gain = tl.load(weight + style * C + channel, mask=inside, other=0.0).to(TYPE)
    shift = tl.load(bias + style * C + channel, mask=inside, other=0.0).to(TYPE)
    plain, normed, noisy = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    for tile in range(tiles):
        pixel = (chunk * tiles + tile) * P + tl.arange(0, P)
        there = pixel < h * w
        i, j = pixel // w, pixel % w
        g = _gathered(
            grad, picture, i, j, there, channel, inside, h, w, out_rows, out_columns, C, KIND, WIDTH, OUT_PHASED,
            TYPE, CB, P,
        )  # fmt: skip
        mask = there[:, None] & inside[None, :]
        begin = _address(picture, i, j, rows, columns, C, PHASED, SHIFT)
        value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
        value = tl.where(mask, (value - middle[None, :]) * scale[None, :], 0.0)
        if NOISE:
            one = tl.load(signs + ((i + down) % SIDE) * SIDE + (j + across) % SIDE, mask=there, other=0.0)
            two = tl.load(others + ((i + down) % OTHER) * OTHER + (j + across) % OTHER, mask=there, other=0.0)
            noisy += tl.sum(g * (one * two).to(TYPE)[:, None], 0)
        if RELU:
            g = tl.where(value * gain[None, :] + shift[None, :] > 0, g, 0.0)
        plain += tl.sum(g, 0)
        normed += tl.sum(g * value, 0)
    place = (picture * chunks + chunk) * 3 * C + channel
    tl.store(out + place, plain, mask=inside)
    tl.store(out + place + C, normed, mask=inside)
    tl.store(out + place + 2 * C, noisy, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _back_kernel(
    y, grad, out, skip, mean, rstd, weight, bias, sums,
    h, w, rows, columns, out_rows, out_columns, skip_rows, skip_columns, styles,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr,
    KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, RELU: tl.constexpr,
    NORM: tl.constexpr, SKIP: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """The gradient of the map before the norm, and of what was added after it."""
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    i, j = pixel // w, pixel % w
    g = _gathered(
        grad, picture, i, j, there, channel, inside, h, w, out_rows, out_columns, C, KIND, WIDTH, OUT_PHASED, TYPE,
        CB, P,
    )  # fmt: skip
    mask = there[:, None] & inside[None, :]
    if SKIP >= 0:
        begin = _address(picture, i + SKIP, j + SKIP, skip_rows, skip_columns, C, False, 0)
        tl.store(skip + begin[:, None] + channel[None, :], g.to(skip.dtype.element_ty), mask=mask)
    begin = _address(picture, i, j, rows, columns, C, PHASED, SHIFT)
    if NORM:
        style = tl.where(styles > 1, picture, 0)
        middle = tl.load(mean + picture * C + channel, mask=inside, other=0.0).to(TYPE)
        scale = tl.load(rstd + picture * C + channel, mask=inside, other=0.0).to(TYPE)
        gain = tl.load(weight + style * C + channel, mask=inside, other=0.0).to(TYPE)
        shift = tl.load(bias + style * C + channel, mask=inside, other=0.0).to(TYPE)
        plain = tl.load(sums + picture * 3 * C + channel, mask=inside, other=0.0).to(TYPE) / (h * w)
        normed = tl.load(sums + picture * 3 * C + C + channel, mask=inside, other=0.0).to(TYPE) / (h * w)
        value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
        value = (value - middle[None, :]) * scale[None, :]
        if RELU:
            g = tl.where(value * gain[None, :] + shift[None, :] > 0, g, 0.0)
        g = (g - plain[None, :] - value * normed[None, :]) * (gain * scale)[None, :]
    tl.store(out + begin[:, None] + channel[None, :], g.to(out.dtype.element_ty), mask=mask)


# --- the low-pass before the doubling


@triton.jit
def _tap(k):
    """[-1 4 10 4 -1] / 16 at -2 to 2, else 0."""
    size = tl.where(k < 0, -k, k)
    return tl.where(size == 0, 10.0, tl.where(size == 1, 4.0, tl.where(size == 2, -1.0, 0.0))) / 16


@triton.jit
def _share(i, k, n, ADJOINT: tl.constexpr):
    """What place i + k gives to place i of the filtered map; ``ADJOINT``: what place i gives to place i + k of it."""
    share = _tap(k)
    if ADJOINT:  # outermost places stand for those beyond them, too
        share += tl.where(i == 0, _tap(-k - 1) + _tap(-k - 2), 0.0)
        share += tl.where(i == n - 1, _tap(-k + 1) + _tap(-k + 2), 0.0)
        share = tl.where((i + k >= 0) & (i + k < n), share, 0.0)
    return share


@triton.jit(do_not_specialize=_SIZES)
def _without_nyquist_kernel(
    x, out, h, w, C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, ADJOINT: tl.constexpr, TYPE: tl.constexpr
):
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    i, j = pixel // w, pixel % w
    mask = there[:, None] & inside[None, :]
    found = tl.zeros([P, CB], TYPE)
    for down in tl.static_range(-2, 3):
        for across in tl.static_range(-2, 3):
            row, column = tl.minimum(tl.maximum(i + down, 0), h - 1), tl.minimum(tl.maximum(j + across, 0), w - 1)
            part = _share(i, i * 0 + down, h, ADJOINT) * _share(j, j * 0 + across, w, ADJOINT)
            begin = _address(picture, row, column, h, w, C, False, 0)
            value = tl.load(x + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
            found += value * part.to(TYPE)[:, None]
    begin = _address(picture, i, j, h, w, C, False, 0)
    tl.store(out + begin[:, None] + channel[None, :], found.to(out.dtype.element_ty), mask=mask)


# --- the picture in, the picture out


@triton.jit(do_not_specialize=_SIZES)
def _enter_kernel(
    content, out, h, w, out_h, out_w, out_rows, out_columns, rows, columns,
    FRAME: tl.constexpr, BORDER: tl.constexpr, P: tl.constexpr, CB: tl.constexpr,
):  # fmt: skip
    """A picture in planes -> a phased map of four channels with its frame and border; the fourth channel is 0.

    ``rows``, ``columns``: the picture's size, repeated at its right and bottom to the network's smallest size.
    """
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < out_h * out_w
    row, column = pixel // out_w, pixel % out_w
    i = _source(_source(row, rows + 2 * FRAME, 0, BORDER), rows, 0, FRAME)
    j = _source(_source(column, columns + 2 * FRAME, 0, BORDER), columns, 0, FRAME)
    i, j = tl.minimum(i, h - 1), tl.minimum(j, w - 1)
    place = ((picture.to(tl.int64) * 3 + channel[None, :]) * h + i[:, None]) * w + j[:, None]
    mask = there[:, None] & (channel < 3)[None, :]
    value = tl.load(content + tl.where(mask, place, 0), mask=mask, other=0.0)
    begin = _address(picture, row, column, out_rows, out_columns, CB, True, 0)
    tl.store(out + begin[:, None] + channel[None, :], value.to(out.dtype.element_ty), mask=there[:, None])


@triton.jit(do_not_specialize=_SIZES)
def _leave_kernel(
    y, out, bias, h, w, rows, columns, FRAME: tl.constexpr, SIGMOID: tl.constexpr, CLAMP: tl.constexpr,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """A phased map -> a picture of h x w in planes, its frame cut off, between 0 and 1."""
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    row, column = pixel // w, pixel % w
    begin = _address(picture, row + FRAME, column + FRAME, rows, columns, C, True, 0)
    mask = there[:, None] & (channel < C)[None, :]
    value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    value += tl.load(bias + channel, mask=channel < C, other=0.0).to(TYPE)[None, :]
    if SIGMOID:
        value = 1.0 / (1.0 + tl.exp(-value))
    if CLAMP:
        value = tl.minimum(tl.maximum(value, 0.0), 1.0)
    place = ((picture.to(tl.int64) * 3 + channel[None, :]) * h + row[:, None]) * w + column[:, None]
    mask = mask & (channel < 3)[None, :]
    tl.store(out + tl.where(mask, place, 0), value.to(out.dtype.element_ty), mask=mask)


# --- starting them

_counters: list[Callable[[str, list[Tensor], list[Tensor]], object]] = []


@contextmanager
def counting(count: Callable[[str, list[Tensor], list[Tensor]], object]) -> Any:
    """Call ``count(name, read, written)`` for each kernel that is started. With fake tensors nothing else is done."""
    _counters.append(count)
    try:
        yield
    finally:
        _counters.remove(count)


def _start(kernel: Any, grid: tuple[int, ...], read: list[Tensor], written: list[Tensor], *args: Any, **meta: Any):
    for count in _counters:
        count(kernel.__name__.removeprefix("_").removesuffix("_kernel"), read, written)
    if isinstance(written[0], FakeTensor):
        return
    device = written[0].device
    with torch.cuda.device(device) if device.type == "cuda" else _nothing():
        kernel[grid](*args, **meta)


@contextmanager
def _nothing() -> Any:
    yield


def _lanes(channels: int) -> tuple[int, int]:
    """Channels, rounded up to a power of two, and pixels that a program works on at once."""
    block = triton.next_power_of_2(channels)
    return block, max(16, LANES // block)


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
    _start(
        _moments_kernel, (chunks, b), [y], [parts], y, parts, layout.h, layout.w, rows, columns, tiles, chunks,
        C=layout.c, CB=block, P=lanes, PHASED=layout.phased, SHIFT=layout.shift, TYPE=_type(y),
    )  # fmt: skip
    few = min(16, block)
    _start(
        _combine_kernel, (b, -(-layout.c // few)), [parts], [mean, rstd], parts, mean, rstd, layout.h, layout.w,
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
    _start(
        _lay_kernel, (-(-out_layout.h * out_layout.w // lanes), len(y)), [y, *([added] if skip else [])], [out],
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
    _start(
        _without_nyquist_kernel, (-(-h * w // lanes), b), [x], [out], x, out, h, w,
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
    _start(
        _enter_kernel, (-(-padded.h * padded.w // 512), b), [content], [out], content.contiguous(), out, h, w,
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
    _start(
        _leave_kernel, (-(-h * w // 512), len(y)), [y], [out], y, out, bias, h, w, rows, columns, FRAME=frame,
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
        return lay(y, layout, border, norm, relu, added, NoiseAt(amount, *noise) if amount is not None else None, phased)

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
        _start(
            _sums_kernel, (chunks, b), [y, grad], [parts], y, grad, parts, mean, rstd, weight, bias, signs, others,
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
        _start(
            _back_kernel, (-(-layout.h * layout.w // lanes), b), [y, grad, sums],
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
        _start(
            _back_kernel, (-(-layout.h * layout.w // lanes), len(grad)), [grad], [out],
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
