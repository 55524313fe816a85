"""Atomic file writing: a file is written under a temporary name, then renamed, so it is complete or absent. Knows
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

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota exceeded, file too large


class Taken(Exception):
    """A file of that name exists already."""


def numbered(path: Path) -> Iterator[Path]:
    """``path``, then ``path`` with _2, _3 ... after its stem, endlessly."""
    yield path
    yield from (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))


def is_pipe(path: str | Path) -> bool:
    """Whether ``path`` is a pipe or a device, such as /dev/null or a shell's >(...): writable, with no contents to
    replace.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def replacing(path: str | Path, new: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file next to ``path``, and rename it to ``path`` if the block succeeds.

    The temporary file has the same suffix. Missing parent folders are created. If the block raises, the temporary file
    is removed and ``path`` stays unchanged. ``new``: never replace a file; if one exists when the block ends, it stays
    and :class:`Taken` is raised. A pipe receives the whole file after the block. Raises UserError if ``path`` cannot be
    written.
    """
    if is_pipe(path):
        with _to_pipe(path) as temp:
            yield temp
        return
    target = Path(os.path.realpath(path))  # replace a link's target, not the link
    # Not derived from the target's name, which may have the maximum length already.
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
        (_link_new if new else os.replace)(temp, target)
        _sync(target.parent)
    except OSError as error:
        here = error.filename is None or Path(error.filename) in (temp, *temp.parents)
        if not here:
            raise  # the block failed on another file
        reason = error.strerror or error
        raise UserError(f"Cannot write {path}: {reason}. Choose another place or make room.") from error
    finally:
        with suppress(OSError):
            temp.unlink(missing_ok=True)


@contextmanager
def _to_pipe(path: str | Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temp = Path(folder) / f"file{Path(path).suffix}"
        temp.touch()
        yield temp
        try:
            with temp.open("rb") as file, open(path, "wb") as pipe:
                shutil.copyfileobj(file, pipe)
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose another place.") from error


def _link_new(temp: Path, target: Path) -> None:
    """Link ``temp`` as ``target``. Raises Taken if that name is in use."""
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


class _Discard(Exception):
    pass


def writable(path: str | Path) -> None:
    """Raise UserError now, not hours later, if :func:`replacing` cannot write ``path``."""
    with suppress(_Discard), replacing(path):
        raise _Discard


def leftovers(path: str | Path) -> list[Path]:
    """Temporary files left next to ``path`` by a killed process. Only for files written by a single process."""
    target = Path(os.path.realpath(path))
    return [other for other in target.parent.glob(f".*{target.suffix}") if re.fullmatch(r"\.[0-9a-f]{16}", other.stem)]


def _sync(path: Path) -> None:
    """Flush ``path`` to disk, so a power failure leaves either the old or the new file."""
    with suppress(PermissionError):  # some systems do not open folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
