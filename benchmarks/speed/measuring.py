"""Times, medians and peak memory, in addition to stylenet.system.timing. Knows nothing about recipes or networks."""

import ctypes
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from stylenet.system.memory import keep_freed_memory, restore_defaults
from stylenet.system.timing import Clock

MEGABYTE = 2**20
ROWS = 20  # of a profile
LAUNCH = re.compile(r"cu(da)?(Graph)?Launch")  # of CUDA's functions
OPERATOR = re.compile("aten::")
MOST_PLUGS = 10_000  # 312 GB
IS_MMAPPED = 2  # glibc's mark, in the word before a block that came straight from the system


def short(number: float) -> float:
    """To five digits."""
    return float(f"{number:.5g}")


@dataclass
class Times:
    """Seconds that one thing took, each a mean over ``count`` repetitions in a row."""

    count: int = 1
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def figures(self) -> dict[str, Any]:
        """As plain data: seconds, and how they were come by."""
        spread = {"median": self.median, "min": min(self.seconds), "max": max(self.seconds)}
        rounded = {name: short(value) for name, value in spread.items()}
        return rounded | {"measurements": len(self.seconds), "in_a_row": self.count}


class Work:
    """Something to be timed again and again: ``measure()`` adds one time, the mean of ``count`` in a row."""

    def __init__(self, work: Callable[[], Any], clock: Clock, count: int):
        self.work, self.clock, self.times = work, clock, Times(count)

    def measure(self) -> None:
        """What is over in moments is begun once without the clock: after a pause the caches have to fill."""
        if self.times.count > 1:
            self.work()
        self.times.seconds.append(self.clock.time(self.work, self.times.count))


def enough(seconds: float, each: float) -> int:
    """How many repetitions last for ``seconds``, if each takes ``each``."""
    return max(1, round(seconds / each))


class Profile:
    """What the operations between ``start()`` and ``stop()`` took, those that took most first: ``table`` as text,
    ``kernels`` as data. On a GPU the latter are kernels, elsewhere operators. ``launches``: how often the CPU launched
    a kernel or a recorded graph; elsewhere the calls of operators.
    """

    def __init__(self, device: torch.device):
        self.on_gpu = device.type == "cuda"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
        self.profiler = profile(activities=kinds)
        self.table = ""
        self.kernels: list[dict[str, Any]] = []
        self.launches = 0

    def start(self) -> None:
        self.profiler.start()

    def stop(self) -> None:
        self.profiler.stop()
        order = "self_cuda_time_total" if self.on_gpu else "self_cpu_time_total"
        found = self.profiler.key_averages()
        self.table = found.table(order, row_limit=ROWS, max_name_column_width=60)
        of_device = [one for one in found if one.device_type.name == ("CUDA" if self.on_gpu else "CPU")]
        spent = "self_device_time_total" if self.on_gpu else "self_cpu_time_total"
        rows = [
            {"name": one.key, "calls": one.count, "ms": short(getattr(one, spent) / 1000)}
            for one in of_device
            if not one.is_user_annotation
        ]
        self.kernels = sorted(rows, key=lambda row: -row["ms"])
        launching = LAUNCH if self.on_gpu else OPERATOR
        self.launches = sum(one.count for one in found if launching.match(one.key))


# --- what the two must not leave to each other


@dataclass(frozen=True)
class Switches:
    """Torch's settings for the whole process; those of ``Switches()`` are the present ones."""

    benchmark: bool = field(default_factory=lambda: torch.backends.cudnn.benchmark)
    tf32: bool = field(default_factory=lambda: torch.backends.cudnn.allow_tf32)
    matmul: str = field(default_factory=torch.get_float32_matmul_precision)
    threads: int = field(default_factory=torch.get_num_threads)

    def set(self) -> None:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = self.benchmark, self.tf32
        torch.set_float32_matmul_precision(self.matmul)
        torch.set_num_threads(self.threads)


@contextmanager
def without_tf32() -> Iterator[None]:
    """In here float32 has all its digits on a GPU, too."""
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)


@contextmanager
def as_at_home(switches: Switches, keep_freed: bool = False) -> Iterator[None]:
    """In here the process has these switches and the C library's own way with freed memory; after it, ours again.

    ``keep_freed``: leave freed memory as ours has it.
    """
    ours = Switches()
    switches.set()
    plugs = [] if keep_freed or not restore_defaults() else _plugs()
    try:
        yield
    finally:
        keep_freed_memory()
        for plug in plugs:
            _libc().free(plug)
        ours.set()


def _plugs() -> list[int]:
    """Take all that was freed and kept in pieces of 32 MB or more: in a process of its own, a recipe would find none,
    and each larger block would be the system's, cleared page by page. Freed blocks keep their place for ours.
    """
    plugs: list[int] = []
    while len(plugs) < MOST_PLUGS and (plug := _libc().malloc(32 * MEGABYTE)):
        if ctypes.c_size_t.from_address(plug - ctypes.sizeof(ctypes.c_size_t)).value & IS_MMAPPED:
            _libc().free(plug)  # the system's: nothing was left
            break
        plugs.append(plug)
    return plugs


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    return libc


# --- memory


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held so far, in MB: its own, and on the device where that is another's."""
    peak = {"process_mb": round(_resident_peak() / MEGABYTE, 1)}
    if device.type == "cuda":
        peak["device_mb"] = round(torch.cuda.max_memory_allocated(device) / MEGABYTE, 1)
    return peak


def _resident_peak() -> int:
    try:  # not getrusage's: that of a new process begins at what its parent held
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
