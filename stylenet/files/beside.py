"""Files that a file names: only those in its own folder are read, so that a stranger's model reads nothing else."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stylenet.system.errors import UserError, shown
from stylenet.system.memory import free_memory


def inside(model: Path, name: str, what: str) -> Path:
    """The file ``name`` in the folder of ``model`` or below. Raises UserError if it is elsewhere, or does not exist."""
    folder = Path(os.path.realpath(model.parent))
    given = f"{shown(model)} names the {what} {shown(name)[:100]}"
    plain = name.replace("\\", "/")
    if re.match(r"[a-zA-Z][\w+.-]*:|/", plain) or "\0" in plain:
        raise UserError(f"{given}, outside of its folder, where nothing is read: put the file beside the model.")
    path = Path(os.path.realpath(folder / plain))
    if not path.is_relative_to(folder):
        raise UserError(f"{given}, outside of its folder, where nothing is read: put the file beside the model.")
    if not path.is_file():
        raise UserError(f"{given}, which is missing: put the file beside the model.")
    return path


def contents(path: Path) -> bytes:
    """The bytes of a regular file. Raises UserError if it cannot be read, or does not fit into the memory."""
    try:
        if not path.is_file():
            reason = "there is no such file" if not os.path.lexists(path) else "it is no file"
            raise UserError(f"Cannot read {shown(path)}: {reason}.")
        size, free = path.stat().st_size, free_memory()
        if free is not None and size > free // 3:
            raise UserError(
                f"Cannot read {shown(path)}: it has {size / 1e9:.3g} GB, and {free / 1e9:.3g} GB of memory are free."
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {shown(path)}: {error.strerror or error}.") from error


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Inside the block, what breaks on the contents of a stranger's file becomes a UserError with the file's name."""
    try:
        with np.errstate(all="ignore"):
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"Cannot read {shown(path)}: it is damaged ({type(error).__name__}).") from error
    except MemoryError as error:
        raise UserError(f"Cannot read {shown(path)}: there is not enough memory for it.") from error
