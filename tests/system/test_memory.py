"""What memory there is, and what the process keeps of freed memory, as the system sees it."""

import subprocess
import sys
from pathlib import Path

import pytest

from stylenet.system.memory import free_memory, keep_freed_memory, restore_defaults

SEEN = """
import gc
from pathlib import Path
import torch
from stylenet.system import memory

def megabytes():
    return int(next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in x).split()[1]) / 1024

def left(set):
    set()
    before = megabytes()
    block = torch.ones(100 * 2**18)  # 100 MB
    del block
    return round(megabytes() - before)

print(left(memory.restore_defaults), left(memory.keep_freed_memory))
"""


@pytest.mark.skipif(not restore_defaults(), reason="the C library is not glibc")
def test_freed_memory_is_kept_when_asked_for():
    assert restore_defaults()
    done = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, check=True)
    by_default, kept = map(int, done.stdout.split())
    assert by_default < 20 and kept > 80


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


# --- what is free

MEMINFO = "MemTotal: 16000 kB\nMemFree: 10 kB\nMemAvailable: 8000 kB\nSwapFree: 1000 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_free_memory_is_what_the_machine_can_give(tmp_path: Path):
    assert free_memory(machine(tmp_path, {})) == 9000 * 1024  # available and swap
    assert free_memory(tmp_path / "elsewhere") is None


def test_free_memory_is_what_the_container_has_left(tmp_path: Path):
    """Version 2: of 4,000,000 bytes 3,000,000 are used, 500,000 of these by files' cache; the group above has less."""
    files = {"proc/self/cgroup": "0::/a/b\n"}
    for group, limit in {"a/b": "4000000", "a": "3100000", ".": "max"}.items():
        files[f"sys/fs/cgroup/{group}/memory.max"] = f"{limit}\n"
        files[f"sys/fs/cgroup/{group}/memory.current"] = "3000000\n"
        files[f"sys/fs/cgroup/{group}/memory.stat"] = "anon 7\ninactive_file 500000\n"
    assert free_memory(machine(tmp_path, files)) == 600_000


def test_free_memory_in_a_container_of_version_1(tmp_path: Path):
    place = "sys/fs/cgroup/memory/job_7"
    files = {"proc/self/cgroup": "5:cpu:/x\n4:hugetlb,memory:/job_7\n0::/\n"}
    files[f"{place}/memory.stat"] = "inactive_file 9\ntotal_inactive_file 1000\n"
    files[f"{place}/memory.limit_in_bytes"], files[f"{place}/memory.usage_in_bytes"] = "50000\n", "20000\n"
    assert free_memory(machine(tmp_path, files)) == 31_000
    (tmp_path / place / "memory.usage_in_bytes").write_text("60000\n")
    assert free_memory(tmp_path) == 0
