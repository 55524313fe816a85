"""Timing of work on a device, with the hardware, versions and commit. Knows nothing about networks."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from stylenet.system.places import CLONE


class Clock:
    """Measures seconds of work on ``device``, synchronising before each reading."""

    def __init__(self, device: torch.device):
        self.device = device

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def time(self, work: Callable[[], Any], count: int = 1) -> float:
        """Mean seconds per call of ``work``, over ``count`` calls."""
        start = self.now()
        for _ in range(count):
            work()
        return (self.now() - start) / count

    def repeated(self, work: Callable[[], Any], least: int = 3, most: int = 9, budget: float = 15.0) -> dict[str, Any]:
        """Median, minimum and maximum seconds of ``work`` after one warm-up call: ``least`` to ``most`` calls, within
        about ``budget`` seconds.
        """
        work()
        seconds: list[float] = []
        while len(seconds) < least or (len(seconds) < most and sum(seconds) < budget):
            seconds.append(self.time(work))
        spread = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
        return {name: float(f"{value:.4g}") for name, value in spread.items()} | {"measurements": len(seconds)}


def duration(seconds: float) -> str:
    """Human-readable: 1 h 20 min."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{max(1, minutes)} min"


def hardware(device: torch.device) -> dict[str, Any]:
    """Device, CPU, cores and threads; the GPU, if one is used."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"device": device.type, "cpu": _cpu(), "cores": cores, "threads": torch.get_num_threads()}
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect timings, as far as they are installed."""
    packages = ("stylenet", "torch", "torchvision", "pytorch-lightning", "pillow")
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """The commit of this checkout, with "-changed" appended if files differ; None outside a checkout."""
    if CLONE is None or not (CLONE / ".git").exists():
        return None
    try:
        output = [_git(CLONE, "rev-parse", "--short=12", "HEAD"), _git(CLONE, "status", "--porcelain", "-uno")]
    except (OSError, subprocess.SubprocessError):
        return None
    return output[0] + ("-changed" if output[1] else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
