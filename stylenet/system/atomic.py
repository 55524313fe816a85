"""Atomic file writing: a file is written under a temporary name and then renamed, so it is whole or absent. Knows
nothing about contents.
"""

import errno
import itertools
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stylenet.system.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the errors of a disk without room for more, or for files so large


class Taken(Exception):
    """There is a file of that name already."""


def numbered(path: Path) -> Iterator[Path]:
    """``path`` itself, then with _2, _3 ... after its stem, without end."""
    yield path
    yield from (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))


def is_pipe(path: str | Path) -> bool:
    """Whether ``path`` is a pipe or a device, such as what a shell makes of >(...) or /dev/null: it can be written to,
    and holds nothing that could be replaced.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def replacing(path: str | Path, new: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file beside ``path`` that takes its place when the block ends well.

    The temporary file has the same suffix. A missing parent folder is made. If the block raises, the temporary file is
    removed and what was at ``path`` stays. ``new``: nothing is replaced; where there is a file by the end of the block
    it stays, and :class:`Taken` is raised. A pipe gets the whole file when the block has ended well. Raises UserError
    where the place cannot be written.
    """
    if is_pipe(path):
        with _piped(path) as temp:
            yield temp
        return
    target = Path(os.path.realpath(path))  # a link stays a link: what it points to is replaced
    # Not made from the target's name, which may already be as long as the file system allows.
    temp = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if blocking := next((path for path in target.parents if path.exists() and not path.is_dir()), None):
            raise NotADirectoryError(None, f"{blocking} is not a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # 0o666: the user's umask decides
        yield temp
        _sync(temp)
        (_place if new else os.replace)(temp, target)
        _sync(target.parent)
    except OSError as error:
        here = error.filename is None or Path(error.filename) in (temp, *temp.parents)
        if not here:
            raise  # the block could not read some other file: not about writing this one
        reason = error.strerror or error
        raise UserError(f"Cannot write {path}: {reason}. Choose another place or make room.") from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


@contextmanager
def _piped(path: str | Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temp = Path(folder) / f"file{Path(path).suffix}"
        temp.touch()
        yield temp
        try:
            with temp.open("rb") as file, open(path, "wb") as pipe:
                shutil.copyfileobj(file, pipe)
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose another place.") from error


def _place(temp: Path, target: Path) -> None:
    """Give the file ``temp`` the name ``target`` as well, if that is free at this very moment."""
    try:
        os.link(temp, target)
    except FileExistsError:
        raise Taken(str(target)) from None
    except OSError:  # a file system without links
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise Taken(str(target)) from None
        os.replace(temp, target)


class _Enough(Exception):
    pass


def writable(path: str | Path) -> None:
    """Raise UserError now, rather than hours later, where :func:`replacing` could not write ``path``."""
    with suppress(_Enough), replacing(path):
        raise _Enough


def leftovers(path: str | Path) -> list[Path]:
    """Temporary files that a killed process left beside ``path``. Only for files that a single process writes."""
    target = Path(os.path.realpath(path))
    return [other for other in target.parent.glob(f".*{target.suffix}") if re.fullmatch(r"\.[0-9a-f]{16}", other.stem)]


def _sync(path: Path) -> None:
    """Have the operating system put ``path`` on disk, so that a power cut leaves the old file or the new one."""
    with suppress(PermissionError):  # some systems let nobody open a folder
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
