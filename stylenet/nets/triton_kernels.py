"""The Triton kernels themselves; ``kernels.py`` starts them and says what they do.

All work on a tile of pixels by all channels (``P`` x ``CB``, of which ``C`` are there). Numbers are computed in
``TYPE``, float32 as a rule, whatever the type of the maps.
"""
# pyright: basic, reportArgumentType=false, reportGeneralTypeIssues=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

# Plain numbers that change from picture to picture. Triton must not compile a kernel for each kind of them.
_SIZES = (
    ["h", "w", "rows", "columns", "tiles", "chunks", "each", "out_h", "out_w", "out_rows", "out_columns"]
    + ["skip_rows", "skip_columns", "down", "across", "styles"]
)  # fmt: skip


# --- addresses


@triton.jit
def _before(picture, rows, columns, C: tl.constexpr, PHASED: tl.constexpr):
    """Numbers of the pictures before this one. Within a picture 32 bits count them, which saves registers."""
    return picture.to(tl.int64) * (rows * columns).to(tl.int64) * ((4 * C) if PHASED else C)


@triton.jit
def _address(row, column, rows, columns, C: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr):
    """Where a pixel's channels begin in its picture."""
    if PHASED:
        place_row, place_column = (row >> 1) + (row & 1) * SHIFT, (column >> 1) + (column & 1) * SHIFT
        begin = (place_row * columns + place_column) * (4 * C) + ((row & 1) * 2 + (column & 1)) * C
    else:
        begin = (row * columns + column) * C
    return begin


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
    place, weight = i + WIDTH, tl.where(i >= 0, 1.0, 0.0)
    if way > 0:
        if KIND == 0:
            if way == 1:
                place, weight = WIDTH - i, tl.where((i >= 1) & (i <= WIDTH), 1.0, 0.0)
            else:
                place, weight = WIDTH + 2 * (n - 1) - i, tl.where((i <= n - 2) & (i >= n - 1 - WIDTH), 1.0, 0.0)
        elif way == 1:  # of REPLICATE, which has a width of 1, and of DOUBLING the place beside the map
            place, weight = i * 0 + WIDTH - 1, tl.where(i == 0, 1.0, 0.0)
        elif way == 2:
            place, weight = i * 0 + n + WIDTH, tl.where(i == n - 1, 1.0, 0.0)
        elif way == 3:
            place, weight = i * 0, tl.where(i == 0, -4.0, tl.where(i == 1, 5.0, 0.0))
        else:
            place, weight = i * 0 + n + 3, tl.where(i == n - 1, -4.0, tl.where(i == n - 2, 5.0, 0.0))
    return place, weight


# --- statistics


@triton.jit(do_not_specialize=_SIZES)
def moments_kernel(
    y, out, h, w, rows, columns, tiles, chunks,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared differences from it, of ``tiles * P`` pixels, for each channel."""
    chunk, picture = tl.program_id(0), tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    y += _before(picture, rows, columns, C, PHASED)
    first, count = chunk * tiles * P, h * w
    start = tl.minimum(first, count - 1)
    one = _address(start // w, start % w, rows, columns, C, PHASED, SHIFT)
    base = tl.load(y + one + channel, mask=inside, other=0.0).to(TYPE)  # so that large means do not eat the digits
    total, squares = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    for tile in range(tiles):
        pixel = first + tile * P + tl.arange(0, P)
        there = (pixel < count)[:, None] & inside[None, :]
        begin = _address(pixel // w, pixel % w, rows, columns, C, PHASED, SHIFT)
        value = tl.load(y + begin[:, None] + channel[None, :], mask=there, other=0.0).to(TYPE)
        value = tl.where(there, value - base[None, :], 0.0)
        total += tl.sum(value, 0)
        squares += tl.sum(value * value, 0)
    seen = tl.maximum(tl.minimum(count - first, tiles * P), 1)
    place = (picture * chunks + chunk) * 2 * C + channel
    tl.store(out + place, base + total / seen, mask=inside)
    tl.store(out + place + C, squares - total * total / seen, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def combine_kernel(
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


@triton.jit
def _norm_of(mean, rstd, weight, bias, picture, styles, channel, inside, C: tl.constexpr, TYPE: tl.constexpr):
    """Mean, 1 / deviation, scale and shift of a picture's channels. One style serves all pictures."""
    style = tl.where(styles > 1, picture, 0)
    middle = tl.load(mean + picture * C + channel, mask=inside, other=0.0).to(TYPE)
    scale = tl.load(rstd + picture * C + channel, mask=inside, other=0.0).to(TYPE)
    gain = tl.load(weight + style * C + channel, mask=inside, other=0.0).to(TYPE)
    shift = tl.load(bias + style * C + channel, mask=inside, other=0.0).to(TYPE)
    return middle, scale, gain, shift


# --- writing a map with its border


@triton.jit
def _value(
    y, skip, mean, scale, bias, amount, signs, others, i, j, there, channel, inside, rows, columns,
    skip_rows, skip_columns, down, across,
    C: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr,
    SKIP: tl.constexpr, NOISE: tl.constexpr, SIDE: tl.constexpr, OTHER: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """What the map holds at rows ``i`` and columns ``j``, before a border is laid around it."""
    mask = there[:, None] & inside[None, :]
    begin = _address(i, j, rows, columns, C, PHASED, SHIFT)
    value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    if NORM:
        value = (value - mean[None, :]) * scale[None, :] + bias[None, :]
    if RELU:
        value = tl.maximum(value, 0.0)
    if SKIP >= 0:
        begin = _address(i + SKIP, j + SKIP, skip_rows, skip_columns, C, False, 0)
        value += tl.load(skip + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    if NOISE:
        one = tl.load(signs + ((i + down) % SIDE) * SIDE + (j + across) % SIDE, mask=there, other=0.0)
        two = tl.load(others + ((i + down) % OTHER) * OTHER + (j + across) % OTHER, mask=there, other=0.0)
        value += (one * two).to(TYPE)[:, None] * amount[None, :]
    return value


@triton.jit(do_not_specialize=_SIZES)
def lay_kernel(
    y, out, skip, mean, rstd, weight, bias, amount, signs, others,
    h, w, rows, columns, out_h, out_w, out_rows, out_columns, skip_rows, skip_columns, down, across, styles,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, PHASED: tl.constexpr, SHIFT: tl.constexpr,
    KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr,
    SKIP: tl.constexpr, NOISE: tl.constexpr, SIDE: tl.constexpr, OTHER: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    y += _before(picture, rows, columns, C, PHASED)
    out += _before(picture, out_rows, out_columns, C, OUT_PHASED)
    if SKIP >= 0:
        skip += _before(picture, skip_rows, skip_columns, C, False)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < out_h * out_w
    row, column = pixel // out_w, pixel % out_w
    style = tl.where(styles > 1, picture, 0)
    middle, scale, shift, much = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    if NORM:
        middle, scale, gain, shift = _norm_of(mean, rstd, weight, bias, picture, styles, channel, inside, C, TYPE)
        scale *= gain
    if NOISE:
        much = tl.load(amount + style * C + channel, mask=inside, other=0.0).to(TYPE)
    i, j = _source(row, h, KIND, WIDTH), _source(column, w, KIND, WIDTH)
    value = _value(
        y, skip, middle, scale, shift, much, signs, others, i, j, there, channel, inside, rows, columns,
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
                    y, skip, middle, scale, shift, much, signs, others,
                    second_i if k & 1 else i, second_j if k & 2 else j, use, channel, inside, rows, columns,
                    skip_rows, skip_columns, down, across, C, PHASED, SHIFT, NORM, RELU, SKIP, NOISE, SIDE, OTHER, TYPE,
                )  # fmt: skip
                part = tl.where(high, 5.0 if k & 1 else -4.0, 1.0) * tl.where(wide, 5.0 if k & 2 else -4.0, 1.0)
                value += tl.where(use[:, None], more * part[:, None], 0.0)
    place = _address(row, column, out_rows, out_columns, C, OUT_PHASED, 0)
    tl.store(
        out + place[:, None] + channel[None, :], value.to(out.dtype.element_ty), mask=there[:, None] & inside[None, :]
    )


# --- the gradient


@triton.jit
def _gathered(
    grad, i, j, there, channel, inside, h, w, out_rows, out_columns,
    C: tl.constexpr, KIND: tl.constexpr, WIDTH: tl.constexpr, OUT_PHASED: tl.constexpr, TYPE: tl.constexpr,
    CB: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The gradient of pixels (i, j): that of all places which show them."""
    ways: tl.constexpr = 1 if WIDTH == 0 else (5 if KIND == 2 else 3)  # pyright: ignore[reportAssignmentType]
    found = tl.zeros([P, CB], TYPE)
    for down in tl.static_range(ways):
        row, high = _shows(i, h, down, KIND, WIDTH)
        if tl.max(((high != 0) & there).to(tl.int32), 0) > 0:
            for across in tl.static_range(ways):
                column, wide = _shows(j, w, across, KIND, WIDTH)
                part = high * wide
                use = (part != 0) & there
                if tl.max(use.to(tl.int32), 0) > 0:
                    begin = _address(row, column, out_rows, out_columns, C, OUT_PHASED, 0)
                    begin = tl.where(use, begin, 0)
                    mask = use[:, None] & inside[None, :]
                    value = tl.load(grad + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
                    found += value * part.to(TYPE)[:, None]
    return found


@triton.jit(do_not_specialize=_SIZES)
def sums_kernel(
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
    y += _before(picture, rows, columns, C, PHASED)
    grad += _before(picture, out_rows, out_columns, C, OUT_PHASED)
    middle, scale, gain, shift = _norm_of(mean, rstd, weight, bias, picture, styles, channel, inside, C, TYPE)
    plain, normed, noisy = tl.zeros([CB], TYPE), tl.zeros([CB], TYPE), tl.zeros([CB], TYPE)
    for tile in range(tiles):
        pixel = (chunk * tiles + tile) * P + tl.arange(0, P)
        there = pixel < h * w
        i, j = pixel // w, pixel % w
        g = _gathered(
            grad, i, j, there, channel, inside, h, w, out_rows, out_columns, C, KIND, WIDTH, OUT_PHASED,
            TYPE, CB, P,
        )  # fmt: skip
        mask = there[:, None] & inside[None, :]
        begin = _address(i, j, rows, columns, C, PHASED, SHIFT)
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
def back_kernel(
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
    y += _before(picture, rows, columns, C, PHASED)
    out += _before(picture, rows, columns, C, PHASED)
    grad += _before(picture, out_rows, out_columns, C, OUT_PHASED)
    if SKIP >= 0:
        skip += _before(picture, skip_rows, skip_columns, C, False)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    i, j = pixel // w, pixel % w
    g = _gathered(
        grad, i, j, there, channel, inside, h, w, out_rows, out_columns, C, KIND, WIDTH, OUT_PHASED, TYPE,
        CB, P,
    )  # fmt: skip
    mask = there[:, None] & inside[None, :]
    if SKIP >= 0:
        begin = _address(i + SKIP, j + SKIP, skip_rows, skip_columns, C, False, 0)
        tl.store(skip + begin[:, None] + channel[None, :], g.to(skip.dtype.element_ty), mask=mask)
    begin = _address(i, j, rows, columns, C, PHASED, SHIFT)
    if NORM:
        middle, scale, gain, shift = _norm_of(mean, rstd, weight, bias, picture, styles, channel, inside, C, TYPE)
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
def without_nyquist_kernel(
    x, out, h, w, C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, ADJOINT: tl.constexpr, TYPE: tl.constexpr
):
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    inside = channel < C
    x += _before(picture, h, w, C, False)
    out += _before(picture, h, w, C, False)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    i, j = pixel // w, pixel % w
    mask = there[:, None] & inside[None, :]
    found = tl.zeros([P, CB], TYPE)
    for tap in range(25):  # a loop: unrolled, it takes a compiler many seconds
        down, across = i * 0 + (tap // 5 - 2), j * 0 + (tap % 5 - 2)
        row, column = tl.minimum(tl.maximum(i + down, 0), h - 1), tl.minimum(tl.maximum(j + across, 0), w - 1)
        part = _share(i, down, h, ADJOINT) * _share(j, across, w, ADJOINT)
        begin = _address(row, column, h, w, C, False, 0)
        value = tl.load(x + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
        found += value * part.to(TYPE)[:, None]
    here = _address(i, j, h, w, C, False, 0)
    tl.store(out + here[:, None] + channel[None, :], found.to(out.dtype.element_ty), mask=mask)


# --- the picture in, the picture out


@triton.jit(do_not_specialize=_SIZES)
def enter_kernel(
    content, out, h, w, out_h, out_w, out_rows, out_columns, rows, columns,
    FRAME: tl.constexpr, BORDER: tl.constexpr, P: tl.constexpr, CB: tl.constexpr,
):  # fmt: skip
    """A picture in planes -> a phased map of four channels with its frame and border; the fourth channel is 0.

    ``rows``, ``columns``: the picture's size, repeated at its right and bottom to the network's smallest size.
    """
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    content += _before(picture, h, w, 3, False)
    out += _before(picture, out_rows, out_columns, CB, True)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < out_h * out_w
    row, column = pixel // out_w, pixel % out_w
    i = _source(_source(row, rows + 2 * FRAME, 0, BORDER), rows, 0, FRAME)
    j = _source(_source(column, columns + 2 * FRAME, 0, BORDER), columns, 0, FRAME)
    i, j = tl.minimum(i, h - 1), tl.minimum(j, w - 1)
    place = (channel[None, :] * h + i[:, None]) * w + j[:, None]
    mask = there[:, None] & (channel < 3)[None, :]
    value = tl.load(content + tl.where(mask, place, 0), mask=mask, other=0.0)
    begin = _address(row, column, out_rows, out_columns, CB, True, 0)
    tl.store(out + begin[:, None] + channel[None, :], value.to(out.dtype.element_ty), mask=there[:, None])


@triton.jit(do_not_specialize=_SIZES)
def leave_kernel(
    y, out, bias, h, w, rows, columns, FRAME: tl.constexpr, SIGMOID: tl.constexpr, CLAMP: tl.constexpr,
    C: tl.constexpr, CB: tl.constexpr, P: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """A phased map -> a picture of h x w in planes, its frame cut off, between 0 and 1."""
    picture = tl.program_id(1)
    channel = tl.arange(0, CB)
    y += _before(picture, rows, columns, C, True)
    out += _before(picture, h, w, 3, False)
    pixel = tl.program_id(0) * P + tl.arange(0, P)
    there = pixel < h * w
    row, column = pixel // w, pixel % w
    begin = _address(row + FRAME, column + FRAME, rows, columns, C, True, 0)
    mask = there[:, None] & (channel < C)[None, :]
    value = tl.load(y + begin[:, None] + channel[None, :], mask=mask, other=0.0).to(TYPE)
    value += tl.load(bias + channel, mask=channel < C, other=0.0).to(TYPE)[None, :]
    if SIGMOID:
        value = 1.0 / (1.0 + tl.exp(-value))
    if CLAMP:
        value = tl.minimum(tl.maximum(value, 0.0), 1.0)
    place = (channel[None, :] * h + row[:, None]) * w + column[:, None]
    mask = mask & (channel < 3)[None, :]
    tl.store(out + tl.where(mask, place, 0), value.to(out.dtype.element_ty), mask=mask)
