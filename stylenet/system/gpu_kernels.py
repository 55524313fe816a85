"""How Triton kernels are started, counted, and whether there are any. Knows no kernel."""

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from stylenet.system.errors import one_line

log = logging.getLogger(__name__)

Count = Callable[[str, list[Tensor], list[Tensor]], object]

_counts: list[Count] = []


@cache
def has_triton() -> bool:
    """Whether the package that runs the kernels is there: PyTorch brings it along on Linux."""
    return importlib.util.find_spec("triton") is not None


def usable(x: Tensor) -> bool:
    """Whether kernels of ours can compute with this tensor: it is on a GPU, and nothing traces the code."""
    return x.device.type == "cuda" and has_triton() and not torch.compiler.is_compiling()


def warn_of(error: Exception) -> None:
    """Say that a kernel failed, and what follows."""
    log.warning("The kernels for GPUs do not work here (%s): PyTorch's layers are used.", one_line(error)[:200])


@contextmanager
def counting(count: Count) -> Iterator[None]:
    """Call ``count(name, read, written)`` for each kernel that is started. With fake tensors nothing else is done."""
    _counts.append(count)
    try:
        yield
    finally:
        _counts.remove(count)


def start(
    kernel: Any, grid: tuple[int, ...], read: list[Tensor], written: list[Tensor], *args: Any, **meta: Any
) -> None:
    """Start a Triton kernel on ``grid`` with ``args``, and ``meta`` as its constants. ``read`` and ``written``: the
    maps that it reads and writes.
    """
    for count in _counts:
        count(kernel.__name__.removesuffix("_kernel"), read, written)
    if isinstance(written[0], FakeTensor):
        return
    device = written[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[grid](*args, **meta)
