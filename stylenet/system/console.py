"""stdout, stderr and stdin that may be closed, absent, full, or objects with nothing but write().

Cron jobs, pythonw, notebooks and host programs have such streams. A program loses its output there, and nothing else.
"""

import io
import os
import sys
from typing import Any

from tqdm import tqdm


class Nowhere(io.TextIOBase):
    """A stream that takes any text and keeps none. It has no ``buffer``: pictures do not go there."""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        return len(text)


class Lenient:
    """A stream whose errors cost nobody more than what was to be shown."""

    def __init__(self, stream: Any):
        self._wrapped = stream  # tqdm's name for it: so it knows two bars on one stream

    def write(self, text: str) -> int:
        try:
            return self._wrapped.write(text)
        except (OSError, ValueError):  # full, closed, or an encoding that has not these letters
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


def plug() -> None:
    """For the start of a program: what is closed of stdin, stdout and stderr leads nowhere from now on.

    Otherwise the next file that is opened takes the place, and gets what libraries have to say to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout if shows(sys.stdout) else Nowhere()
    sys.stderr = sys.stderr if shows(sys.stderr) else Nowhere()


def shows(stream: Any) -> bool:
    """Whether what is written to a stream goes anywhere."""
    there = stream is not None and not isinstance(stream, Nowhere) and callable(getattr(stream, "write", None))
    return there and not getattr(stream, "closed", False)


def is_terminal(stream: Any) -> bool:
    """Whether ``stream`` is a terminal. It may be any object, or None."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def stderr() -> Any:
    """stderr as it is now, lenient."""
    return Lenient(sys.stderr if shows(sys.stderr) else Nowhere())


def bar(**options: Any) -> tqdm:
    """A progress bar on stderr with tqdm's ``options``; none where that shows nothing."""
    disable = options.pop("disable", False)
    return tqdm(file=stderr(), disable=disable if shows(sys.stderr) else True, **options)


def tell(text: object) -> None:
    """A line for whoever sits there, to stderr, above a progress bar."""
    if shows(sys.stderr):
        tqdm.write(str(text), stderr())


def give(text: object) -> None:
    """A line of the result, to stdout, at once and not through a progress bar. Raises OSError where it does not arrive
    there though it could: a full disk, or a reader that has gone.
    """
    if shows(sys.stdout):
        tqdm.write(str(text), sys.stdout)
        getattr(sys.stdout, "flush", int)()


def of_bytes(stream: Any) -> Any:
    """The part of stdin or stdout that takes bytes; None where it has none."""
    return getattr(stream, "buffer", None) if stream is not None and not getattr(stream, "closed", False) else None
