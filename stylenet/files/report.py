"""The outcome of each picture, and the report as JSON lines. Knows nothing about pixels or networks."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylenet.system.errors import UserError, one_line, shown

Place = Path | str  # a file here, or a URI
START = b'{"input": '  # of every line
WRITTEN, SKIPPED, FAILED = "written", "skipped", "failed"


@dataclass(frozen=True)
class Outcome:
    """One picture's: ``status`` is written, skipped or failed, ``reason`` why. ``output``: "" for a file that is left
    out. ``width``, ``height``: of the result, in pixels, None where there is none. ``seconds``: spent on this picture,
    not counting what it waited. ``note``: what a user should know of a picture that is written, as it should be.
    """

    input: Place
    output: Place
    status: str
    reason: str | None = None
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    note: str = ""

    def line(self) -> str:
        return json.dumps(
            {
                "input": str(self.input),
                "output": str(self.output) or None,
                "status": self.status,
                "reason": self.reason or self.note or None,
                "width": self.width,
                "height": self.height,
                "seconds": round(self.seconds, 4),
            }
        )


class SomeFailed(UserError):
    """Some pictures could not be stylized, or not all of a film; ``reasons`` by path. The rest is written."""

    def __init__(self, reasons: dict[Any, str], count: int):
        self.reasons = reasons
        named = [why if shown(path) in why else f"{shown(path)}: {why}" for path, why in reasons.items()]
        head = [f"{len(reasons)} of {count} pictures failed:"] if count > 1 else []
        super().__init__("\n  ".join([*head, *named]))


def reason(error: Exception) -> str:
    """In a line. Only a UserError is written for people: of others it is said what they are."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"


class Report:
    """A file with a line of JSON for each outcome, written at once; None for no file. Any thread may add lines.

    An existing report continues: a last line that a kill has cut short is removed. Pictures that it lists as written or
    left out get no further line when they are skipped. Raises UserError for a file with other contents, or one that
    cannot be written.
    """

    def __init__(self, path: str | Path | None):
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._told: set[str] = set()  # results
        self._left: set[str] = set()  # files that are left out
        self._file: int | None = None
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                if stat.S_ISREG(os.fstat(self._file).st_mode):  # a pipe or a terminal has nothing to go on with
                    self._go_on()
            except OSError as error:
                self.close()
                raise self._unwritable(error) from error
            except UserError:
                self.close()
                raise

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, outcome: Outcome) -> None:
        """Put down one outcome. Raises UserError where there is no room."""
        if self._file is None or (outcome.status == SKIPPED and self._knows(outcome)):
            return
        try:
            with self._lock:
                line = (outcome.line() + "\n").encode()
                while line:
                    line = line[os.write(self._file, line) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _knows(self, outcome: Outcome) -> bool:
        return str(outcome.input) in self._left if outcome.output == "" else str(outcome.output) in self._told

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _go_on(self) -> None:
        assert self._file is not None and self.path is not None
        whole = 0  # bytes of whole lines
        with open(self.path, "rb") as lines:
            for line in lines:
                said, cut = _parsed(line), not line.endswith(b"\n")
                if whole == 0 and said is None and not (cut and line[: len(START)] == START[: len(line)]):
                    raise UserError(f"report={self.path} holds something else than a report: give another file.")
                whole += 0 if cut else len(line)
                if said is not None and not cut and said["status"] == WRITTEN:
                    self._told.add(said["output"])
                if said is not None and not cut and said["output"] is None:
                    self._left.add(said["input"])
        os.ftruncate(self._file, whole)
        os.lseek(self._file, 0, os.SEEK_END)

    def _unwritable(self, error: OSError) -> UserError:
        why = error.strerror or error
        return UserError(f"Cannot write report={self.path}: {why}. Choose another place or make room.")


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a report; one that a kill has cut short is left out."""
    with open(path, "rb") as lines:
        yield from (said for line in lines if (said := _parsed(line)) is not None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"input", "output", "status"} <= said.keys() else None
