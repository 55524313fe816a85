"""Free memory, and how the C library handles freed memory. Knows nothing about pictures or networks.

Each training step allocates and frees the same few hundred megabytes. By default glibc returns each large block to the
system, which then clears every page of the next one: a sixth of a step's time.
"""

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4  # from glibc's malloc.h
MEGABYTE = 2**20


def keep_freed_memory() -> bool:
    """Keep freed blocks in this process for reuse. Returns True where possible: glibc on Linux."""
    return _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * MEGABYTE})


def restore_defaults() -> bool:
    """Undo :func:`keep_freed_memory`: freed blocks above 32 MB return to the system at once, as by default in a process
    with large blocks.
    """
    return _set({M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 * MEGABYTE, M_TRIM_THRESHOLD: 64 * MEGABYTE, M_TOP_PAD: 2**17})


def release_freed_memory() -> bool:
    """Return unused memory to the system, once: pictures of many different sizes fragment it. Returns True where
    possible: glibc on Linux.
    """
    return _mallopt() is not None and ctypes.CDLL(None).malloc_trim(0) >= 0


def _set(options: dict[int, int]) -> bool:
    mallopt = _mallopt()
    return mallopt is not None and all([mallopt(name, value) == 1 for name, value in options.items()])


def _mallopt() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return None  # musl's mallopt, if present, has no effect
    return ctypes.CDLL(None).mallopt


# --- free memory


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes available to this process, swap included, within the limits of its container; None where Linux does not
    report them. ``root``: the folder that contains proc and sys.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        free = 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    except (OSError, ValueError, IndexError, KeyError):
        return None
    return min([free, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> Iterator[int]:
    """Bytes left in each limited control group of this process. Containers and SLURM set such limits."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        limit, used, cache = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if kinds
            else ("memory.max", "memory.current", "inactive_file")
        )
        group = top / path.strip("/")
        for folder in [group, *group.parents]:
            try:  # "max": no limit; the file cache is reclaimable
                words = (folder / "memory.stat").read_text().split()
                caches = int(words[words.index(cache) + 1])
                left = int((folder / limit).read_text()) - int((folder / used).read_text()) + caches
                yield max(0, left)
            except (OSError, ValueError, IndexError):
                pass
            if folder == top:
                break
