"""The processes of a training from Linux's /proc. Knows nothing about their work."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Process:
    """One process at one moment: MB of resident memory, what it shares with others included; open files."""

    pid: int
    name: str
    memory: float
    files: int
    threads: int


def belonging(pid: int) -> list[int]:
    """Process ``pid``, those it started and they did, also after its end: all that are in its session, and W&B's own
    process, which has one for itself. Those that have ended and wait for somebody to ask are left out.
    """
    return [other for other in _all() if other == pid or _session(other) == pid or str(pid) in _told(other)]


def gone(pids: list[int], patience: float) -> float | None:
    """The seconds until none of these is left; None if some still are after ``patience`` seconds."""
    begin = time.monotonic()
    while set(pids) & {*_all()}:
        if time.monotonic() - begin > patience:
            return None
        time.sleep(0.01)
    return time.monotonic() - begin


def looked_at(pid: int) -> Process | None:
    """What ``pid`` takes; None if it has ended."""
    try:
        place = Path(f"/proc/{pid}")
        kilobytes = [line.split()[1] for line in (place / "status").read_text().splitlines() if line[:6] == "VmRSS:"]
        files = len([*(place / "fd").iterdir()])
        return Process(pid, (place / "comm").read_text().strip(), int(kilobytes[0]) / 1024, files, _threads(place))
    except (OSError, IndexError):
        return None


def _threads(place: Path) -> int:
    return len([*(place / "task").iterdir()])


def _all() -> Iterator[int]:
    """The processes there are, without those that have ended and only wait for somebody to ask."""
    for place in Path("/proc").iterdir():
        if place.name.isdecimal() and _state(int(place.name))[:1] not in ([], ["Z"], ["X"]):
            yield int(place.name)


def _state(pid: int) -> list[str]:
    """State, parent, group, session ...; nothing where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _session(pid: int) -> int:
    return int((_state(pid) or [0] * 4)[3])


def _told(pid: int) -> list[str]:
    """The arguments that W&B's process was started with; none for other processes."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (OSError, UnicodeDecodeError):
        return []
    return words[1:] if "wandb" in words[0] else []
