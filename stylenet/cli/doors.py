"""How this program was started: as ``stylenet train``, or as ``python scripts/train.py``."""

import sys
from pathlib import Path

_command: list[str] = []


def begun_as(command: str) -> None:
    """``stylenet`` was begun with this command."""
    _command[:] = [command]


def command() -> list[str]:
    """The words between the program and its options: another process of this run is begun with them too."""
    return list(_command)


def program(name: str) -> str:
    """How a user calls the program ``name``, such as train, by the door that was taken here."""
    script = Path(sys.argv[0]).name == f"{name}.py" and not _command
    return f"python scripts/{name}.py" if script else f"stylenet {name}"
