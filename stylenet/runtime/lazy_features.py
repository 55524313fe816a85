"""Features of a picture larger than memory. They record the operations of a network, which are computed row by row.

Rows of the picture come from a function, stored rows go to :mod:`stylenet.runtime.scratch`.
:mod:`stylenet.runtime.tiling` passes :class:`Features` to a network in place of a tensor. Knows no network and no
files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.nets import regions
from stylenet.nets.layers import add_noise
from stylenet.nets.regions import Regions
from stylenet.runtime.scratch import Block, Scratch
from stylenet.system.errors import UserError

Compute = Callable[[int, int], Tensor]


@dataclass
class Run:
    """A pass over a picture of ``pixels`` pixels in strips of ``rows`` rows; the state that all its features share.

    ``progress`` is called with the finished share, 0 to 1; ``shares``: the share of each pass.
    """

    rows: int
    pixels: int
    scratch: Scratch
    progress: Callable[[float], object] | None = None
    shares: Sequence[float] = ()
    passes: int = field(default=0, init=False)

    def over(self, features: "Features") -> Iterator[tuple[int, Tensor]]:
        """All rows of the features, strip by strip, with the number of each strip's first row."""
        height, width = features.shape[2:]
        step = max(1, round(self.rows * (height * width / self.pixels) ** 0.5))
        for top in range(0, height, step):
            bottom = min(height, top + step)
            yield top, features.rows(top, bottom)
            if self.progress:
                self.progress(sum(self.shares[: self.passes]) + self.shares[self.passes] * bottom / height)
        self.passes += 1

    def small(self, shape: Sequence[int]) -> bool:
        """Whether features are so much smaller than the picture that they are kept rather than computed again."""
        return shape[2] * shape[3] <= self.pixels / 2


class Features:
    """Features (1, c, h, w), float32, of which only some rows are ever in memory. PyTorch's functions accept them like
    a tensor, as far as OPERATIONS covers. Raises UserError for operations that are impossible in strips.

    ``compute(top, bottom)``: these rows, (1, c, bottom - top, w); nobody changes them afterwards.
    """

    dtype = torch.float32

    def __init__(self, run: Run, shape: Sequence[int], device: torch.device, compute: Compute):
        self.run, self.shape, self.device = run, torch.Size(shape), device
        self._compute: Compute | None = compute
        self._store: Store | None = None
        self._have = 0

    def like(self, compute: Compute, **sides: int) -> "Features":
        """Others, made from these: of the same shape but for ``c``, ``h``, ``w``."""
        shape = [1, *(sides.get(name, old) for name, old in zip("chw", self.shape[1:], strict=True))]
        return Features(self.run, shape, self.device, compute)

    def keep(self) -> "Features":
        """Have each row computed once and kept for as long as these features are in use."""
        self._store = self._store or Store(self.run.scratch, self.shape, self.device)
        return self

    @property
    def kept(self) -> bool:
        return self._store is not None

    def rows(self, top: int, bottom: int) -> Tensor:
        """The rows from ``top`` up to ``bottom``; cheapest in order."""
        if self._store is None:
            assert self._compute is not None
            return self._compute(top, bottom)
        if self._compute is not None and bottom > self._have:
            have, self._have = self._have, bottom
            new = self._compute(have, bottom)
            self._store.write(have, new)
            if bottom == self.shape[2]:
                self._compute = None  # and with it all that only this was made from
            if top == have:
                return new
        return self._store.read(top, bottom)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in OPERATIONS:
            raise _refused(f"it uses {getattr(func, '__name__', func)!r}")
        return OPERATIONS[func](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A tensor's method, ``x.name(...)``."""
        func = getattr(Tensor, name)
        if not callable(func):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.__torch_function__(func, (), (self, *args), kwargs)


def _operator(name: str) -> Callable[..., Any]:
    return lambda self, *others: Features.__torch_function__(getattr(Tensor, name), (), (self, *others))


OPERATORS = [f"__{side}{name}__" for name in ("add", "sub", "mul", "truediv") for side in ("", "r")] + ["__neg__"]
for _name in [*OPERATORS, "__getitem__"]:
    setattr(Features, _name, _operator(_name))


class Store:
    """Rows of features in scratch space, each (w, c) in one piece; the room is given back with the last use."""

    def __init__(self, scratch: Scratch, shape: Sequence[int], device: torch.device):
        _, self.channels, height, self.width = shape
        self.device, self.row = device, self.channels * self.width * 4
        self._scratch = scratch
        self._block: Block | None = scratch.take(self.row * height)

    def write(self, top: int, rows: Tensor) -> None:
        assert self._block is not None
        self._block.write(top * self.row, rows[0].permute(1, 2, 0).contiguous().cpu().numpy())

    def read(self, top: int, bottom: int) -> Tensor:
        assert self._block is not None
        data = torch.from_numpy(self._block.read(top * self.row, (bottom - top) * self.row)).view(torch.float32)
        return data.view(1, bottom - top, self.width, self.channels).permute(0, 3, 1, 2).to(self.device)

    def __del__(self) -> None:
        if block := getattr(self, "_block", None):  # none where there was no room for it
            self._scratch.give_back(block)


class Recent:
    """The rows of features that were asked for last: of strips that overlap nothing is computed twice."""

    def __init__(self, features: Features):
        self._features, self._top, self._last = features, 0, None

    def rows(self, top: int, bottom: int) -> Tensor:
        if self._features.kept:
            return self._features.rows(top, bottom)
        last, have = self._last, self._top + (0 if self._last is None else self._last.shape[2])
        if last is None or not self._top <= top < have:
            last, have = self._features.rows(top, bottom), bottom
        else:
            last = last[:, :, top - self._top :]
        if bottom > have:
            new = self._features.rows(have, bottom)
            # Rows of two memory layouts take six times as long to join.
            channels_last = new.is_contiguous(memory_format=torch.channels_last)
            layout = torch.channels_last if channels_last else torch.contiguous_format
            last = torch.cat([last.contiguous(memory_format=layout), new], 2)
        self._top, self._last = top, last
        return last[:, :, : bottom - top]


class Moments:
    """Mean and variance of each channel over strips that come one by one (Chan, Golub & LeVeque 1983, eq. 2.1)."""

    def __init__(self, channels: int, device: torch.device):
        self.count, (self._apart, self.squares) = 0, torch.zeros(2, 1, channels, dtype=torch.float64, device=device)
        self._near: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        return self._apart if self._near is None else self._apart + self._near[..., 0, 0].double()

    def add(self, rows: Tensor) -> None:
        """Rows (1, c, n, w)."""
        if self._near is None:
            self._near = rows.mean((2, 3), keepdim=True)
        rows = rows - self._near  # else float32 would round means that are many deviations from zero
        count, mean = rows.shape[2] * rows.shape[3], rows.mean((2, 3), keepdim=True)
        apart, total = mean[..., 0, 0].double() - self._apart, self.count + count
        within = (rows - mean).square_().sum((2, 3)).double()
        self.squares += within + apart**2 * (self.count * count / total)
        self._apart += apart * (count / total)
        self.count = total


# --- what can be done with features


def _refused(why: str) -> UserError:
    return UserError(f"This network cannot work in strips ({why}): give tile=off, and a smaller size= if need be.")


def _var_mean(x: Features, dim: Sequence[int], correction: int = 1) -> tuple[Tensor, Tensor]:
    if sorted(dim) != [2, 3]:
        raise _refused(f"it measures over {tuple(dim)}")
    if x.run.small(x.shape):
        x.keep()
    moments = Moments(x.shape[1], x.device)
    for _, rows in x.run.over(x):
        moments.add(rows)
    return (moments.squares / (moments.count - correction)).float(), moments.mean.float()


def _pointwise(func: Callable[..., Tensor]) -> Callable[..., Features]:
    def on_features(*args: Any, **kwargs: Any) -> Features:
        features = [value for value in args if isinstance(value, Features)]
        first = features[0]
        for value in args:
            if isinstance(value, Tensor) and value.shape[2:] != (1, 1) and value.ndim:
                raise _refused(f"it uses a tensor of shape {tuple(value.shape)}")
            if isinstance(value, Features) and value.shape != first.shape:
                raise _refused(f"it joins shapes {tuple(first.shape)} and {tuple(value.shape)}")

        def compute(top: int, bottom: int) -> Tensor:
            values = [value.rows(top, bottom) if isinstance(value, Features) else value for value in args]
            return func(*values, **kwargs)

        made = first.like(compute)
        # Else a chain of residual blocks would hold, and add up, the features of all of them.
        return made.keep() if len(features) > 1 and first.run.small(first.shape) else made

    return on_features


def _to(x: Features, dtype: Any) -> Features:
    if dtype != x.dtype:
        raise _refused(f"it works in {dtype}")
    return x


def _part(x: Features, key: Any) -> Features:
    """``x[..., top:bottom, left:right]`` and nothing else."""
    match key:
        case (start, slice(step=None), slice(step=None)) if start is ...:
            rows, columns = (range(side)[part] for side, part in zip(x.shape[2:], key[1:], strict=True))
            across = slice(columns.start, columns.stop)

            def compute(top: int, bottom: int) -> Tensor:
                return x.rows(top + rows.start, bottom + rows.start)[..., across]

            return x.like(compute, h=len(rows), w=len(columns))
    raise _refused(f"it takes the part {key}")


def _add_noise(x: Features, weight: Tensor, signs: Tensor, others: Tensor, down: int, across: int) -> Features:
    made = x.like(lambda top, bottom: add_noise(x.rows(top, bottom), weight, signs, others, down + top, across))
    return made.keep() if x.run.small(x.shape) else made


def _region_moments(x: Features, areas: Regions) -> tuple[Tensor, Tensor]:
    if x.run.small(x.shape):
        x.keep()
    found = regions.RegionMoments(areas, x.shape[2])
    for top, rows in x.run.over(x):
        found.add(top, rows)
    return found.result()


def _scale_and_shift(x: Features, scale: Tensor, shift: Tensor, areas: Regions) -> Features:
    height = x.shape[2]
    return x.like(lambda top, bottom: regions.scale_and_shift(x.rows(top, bottom), scale, shift, areas, top, height))


def _pad(x: Features, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Features:
    height, width = x.shape[2:]
    left, right, above, below = pad
    sources: dict[str, Callable[[int], int]] = {
        "reflect": lambda row: height - 1 - abs(height - 1 - abs(row)),
        "replicate": lambda row: min(max(row, 0), height - 1),
    }
    if mode not in sources:
        raise _refused(f"its borders are {mode!r}")
    recent = Recent(x)

    def compute(top: int, bottom: int) -> Tensor:
        wanted = [sources[mode](row - above) for row in range(top, bottom)]
        first, last = min(wanted), max(wanted)
        rows = recent.rows(first, last + 1)
        if wanted != [*range(first, last + 1)]:
            rows = rows[:, :, [row - first for row in wanted]]
        return F.pad(rows, (left, right, 0, 0), mode=mode)

    return x.like(compute, h=height + above + below, w=width + left + right)


def _conv(
    x: Features,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Features:
    (down, across), (sparse, wide) = _pair(stride), _pair(dilation)
    if _pair(padding) != (0, 0):
        raise _refused("its borders are zeros")
    if len(weight) * weight.shape[2] <= 32 and (down, across, sparse, wide, groups) == (1, 1, 1, 1, 1):
        return _row_by_row(x, weight, bias)
    reach, span = sparse * (weight.shape[2] - 1) + 1, wide * (weight.shape[3] - 1) + 1

    def compute(top: int, bottom: int) -> Tensor:
        rows = x.rows(top * down, (bottom - 1) * down + reach)
        return F.conv2d(rows, weight, bias, stride, 0, dilation, groups)

    height, width = (x.shape[2] - reach) // down + 1, (x.shape[3] - span) // across + 1
    return x.like(compute, c=len(weight), h=height, w=width)


def _row_by_row(x: Features, weight: Tensor, bias: Tensor | None) -> Features:
    """``F.conv2d(x, weight, bias)``, three times as fast on a CPU where there are few channels to compute: each row of
    the kernel makes channels of its own, and these fill the vectors.
    """
    count, channels, rows, columns = weight.shape
    kernel = weight.transpose(1, 2).reshape(count * rows, channels, 1, columns)
    height, width = x.shape[2] - rows + 1, x.shape[3] - columns + 1
    each = x.like(lambda top, bottom: F.conv2d(x.rows(top, bottom), kernel), c=count * rows, w=width)
    recent = Recent(each)

    def compute(top: int, bottom: int) -> Tensor:
        made = recent.rows(top, bottom + rows - 1)
        out = torch.stack([made[:, row::rows, row : row + bottom - top] for row in range(rows)]).sum(0)
        return out if bias is None else out + bias[:, None, None]

    return x.like(compute, c=count, h=height, w=width)


def _max_pool(
    x: Features,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Features:
    down, across = _pair(kernel_size)
    if (
        _pair(stride or kernel_size) != (down, across)
        or (_pair(padding), _pair(dilation)) != ((0, 0), (1, 1))
        or return_indices
    ):
        raise _refused("it pools places that overlap, lie apart or lie outside")
    more = (down - 1, across - 1) if ceil_mode else (0, 0)

    def compute(top: int, bottom: int) -> Tensor:
        rows = x.rows(top * down, min(bottom * down, x.shape[2]))
        return F.max_pool2d(rows, kernel_size, ceil_mode=ceil_mode)

    return x.like(compute, h=(x.shape[2] + more[0]) // down, w=(x.shape[3] + more[1]) // across)


def _pair(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, int | float) else tuple(value)


def _interpolate(
    x: Features, size: None = None, scale_factor: Any = None, mode: str = "nearest", **rest: Any
) -> Features:
    scale = int(_pair(scale_factor)[0]) if size is None else 0
    if _pair(scale_factor) != (scale, scale) or mode not in ("nearest", "bilinear") or any(rest.values()):
        raise _refused(f"it resizes by {scale_factor}, {mode}")
    recent, height = Recent(x), x.shape[2]

    def compute(top: int, bottom: int) -> Tensor:
        first, last = max(0, top // scale - 1), min(height, (bottom - 1) // scale + 2)  # a row more on either side
        rows = F.interpolate(recent.rows(first, last), scale_factor=float(scale), mode=mode)
        return rows[:, :, top - first * scale : bottom - first * scale]

    return x.like(compute, h=height * scale, w=x.shape[3] * scale)


POINTWISE = [
    *(getattr(torch, name) for name in ("add", "sub", "mul", "div", "neg", "sigmoid", "relu", "tanh", "clamp")),
    *(getattr(Tensor, name) for name in ("add", "sub", "mul", "div", "neg", "sigmoid", "relu", "tanh", "clamp")),
    *(getattr(Tensor, name) for name in OPERATORS),
    *(F.relu, F.leaky_relu, F.elu, F.gelu, F.silu),
]
OPERATIONS: dict[Any, Callable[..., Any]] = {
    F.pad: _pad,
    add_noise: _add_noise,
    regions.moments: _region_moments,
    regions.scale_and_shift: _scale_and_shift,
    F.conv2d: _conv,
    F.interpolate: _interpolate,
    F.max_pool2d: _max_pool,
    torch.var_mean: _var_mean,
    **{func: _pointwise(func) for func in POINTWISE},
    Tensor.__getitem__: _part,
    Tensor.float: lambda x: x,
    Tensor.to: _to,
}
