"""How this program was started: as ``stylenet train``, or as ``python scripts/train.py``."""

import sys
from pathlib import Path

_command: list[str] = []


def started_as(command: str) -> None:
    """Record that ``stylenet`` was started with this command."""
    _command[:] = [command]


def command() -> list[str]:
    """The words between the program and its options, which other processes of this run need too."""
    return list(_command)


def program(name: str) -> str:
    """How to call ``name``, such as train, in the way that this program was started."""
    script = Path(sys.argv[0]).name == f"{name}.py" and not _command
    return f"python scripts/{name}.py" if script else f"stylenet {name}"
