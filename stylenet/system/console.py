"""stdout, stderr and stdin that may be closed, absent, full, or objects with only a write() method.

Cron jobs, pythonw, notebooks and host programs have such streams. A program loses its output there, nothing else.
"""

import io
import os
import sys
from typing import Any, NoReturn

from tqdm import tqdm


class NullStream(io.TextIOBase):
    """A text stream that discards its input. It has no ``buffer``, so it does not accept pictures."""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        return len(text)


class LenientStream:
    """Wraps a stream and ignores write errors: only the output is lost."""

    def __init__(self, stream: Any):
        self._wrapped = stream  # tqdm's attribute name: it detects two bars on one stream

    def write(self, text: str) -> int:
        try:
            return self._wrapped.write(text)
        except (OSError, ValueError):  # full, closed, or not encodable
            return len(text)

    def flush(self) -> None:
        try:
            getattr(self._wrapped, "flush", int)()
        except (OSError, ValueError):
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        return self._wrapped == getattr(other, "_wrapped", other)

    def __hash__(self) -> int:
        return hash(self._wrapped)


def open_missing_streams() -> None:
    """Connect closed stdin, stdout and stderr to the null device. Call this at the start of a program.

    Otherwise the next opened file gets the free number, and with it what libraries write to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    sys.stdout = sys.stdout if is_writable(sys.stdout) else NullStream()
    sys.stderr = sys.stderr if is_writable(sys.stderr) else NullStream()


def is_writable(stream: Any) -> bool:
    """Whether ``stream`` is open and not a :class:`NullStream`."""
    exists = stream is not None and not isinstance(stream, NullStream) and callable(getattr(stream, "write", None))
    return exists and not getattr(stream, "closed", False)


def is_terminal(stream: Any) -> bool:
    """Whether ``stream``, any object or None, is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def stderr() -> Any:
    """The current stderr, with write errors ignored."""
    return LenientStream(sys.stderr if is_writable(sys.stderr) else NullStream())


def bar(**options: Any) -> tqdm:
    """A progress bar on stderr with tqdm's ``options``; disabled if stderr is not writable."""
    disable = options.pop("disable", False)
    return tqdm(file=stderr(), disable=disable if is_writable(sys.stderr) else True, **options)


def warn_line(text: object) -> None:
    """Write a message to stderr, above any progress bar."""
    if is_writable(sys.stderr):
        tqdm.write(str(text), stderr())


def write_line(text: object) -> None:
    """Write a line of the result to stdout, flushed, above any progress bar. Raises OSError if the write fails: disk
    full, or pipe closed by its reader.
    """
    if is_writable(sys.stdout):
        tqdm.write(str(text), sys.stdout)
        getattr(sys.stdout, "flush", int)()


def write_answer(text: object) -> None:
    """Write all that a command has to say to stdout. If its reader closes the pipe, as ``| head`` does, the process
    ends quietly.
    """
    try:
        write_line(text)
    except BrokenPipeError:
        end_quietly()


def end_quietly() -> NoReturn:
    """Exit with 1 after the reader of stdout has closed the pipe, without Python's own complaint about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(1)


def byte_stream(stream: Any) -> Any:
    """The binary buffer of stdin or stdout; None if it has none."""
    return getattr(stream, "buffer", None) if stream is not None and not getattr(stream, "closed", False) else None
