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

Place = Path | str  # a local file, or a URI
START = b'{"input": '  # of every line
WRITTEN, SKIPPED, FAILED = "written", "skipped", "failed"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one picture. ``status``: written, skipped or failed; ``reason``: why. ``output``: "" for a file
    that is left out. ``width``, ``height``: of the result, in pixels; None without a result. ``seconds``: processing
    time without waiting. ``note``: a message for the user about a picture that was written successfully.
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
    """Some pictures failed or films are incomplete; ``reasons`` by path. All other results are written."""

    def __init__(self, reasons: dict[Any, str], count: int):
        self.reasons = reasons
        named = [why if shown(path) in why else f"{shown(path)}: {why}" for path, why in reasons.items()]
        head = [f"{len(reasons)} of {count} pictures failed:"] if count > 1 else []
        super().__init__("\n  ".join([*head, *named]))


def reason(error: Exception) -> str:
    """The error in one line. For exceptions other than UserError, the type is added."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"


class Report:
    """A file with one line of JSON per outcome, written immediately; None for no file. Thread-safe.

    An existing report is continued: an incomplete last line is removed. Skipped pictures that it lists as written or
    left out are not added again. Raises UserError for a file with other contents, or one that cannot be written.
    """

    def __init__(self, path: str | Path | None):
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._written: set[str] = set()  # results
        self._left: set[str] = set()  # files that are left out
        self._file: int | None = None
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                if stat.S_ISREG(os.fstat(self._file).st_mode):  # a pipe or a terminal has no earlier lines
                    self._resume()
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
        """Append one outcome. Raises UserError if it cannot be written."""
        if self._file is None or (outcome.status == SKIPPED and self._lists(outcome)):
            return
        try:
            with self._lock:
                line = (outcome.line() + "\n").encode()
                while line:
                    line = line[os.write(self._file, line) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _lists(self, outcome: Outcome) -> bool:
        return str(outcome.input) in self._left if outcome.output == "" else str(outcome.output) in self._written

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _resume(self) -> None:
        assert self._file is not None and self.path is not None
        whole = 0  # bytes of complete lines
        with open(self.path, "rb") as lines:
            for line in lines:
                record, cut = _parsed(line), not line.endswith(b"\n")
                if whole == 0 and record is None and not (cut and line[: len(START)] == START[: len(line)]):
                    raise UserError(f"report={self.path} is not a report: give another file.")
                whole += 0 if cut else len(line)
                if record is not None and not cut and record["status"] == WRITTEN:
                    self._written.add(record["output"])
                if record is not None and not cut and record["output"] is None:
                    self._left.add(record["input"])
        os.ftruncate(self._file, whole)
        os.lseek(self._file, 0, os.SEEK_END)

    def _unwritable(self, error: OSError) -> UserError:
        why = error.strerror or error
        return UserError(f"Cannot write report={self.path}: {why}. Choose another place or make room.")


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a report, without an incomplete last line."""
    with open(path, "rb") as lines:
        yield from (record for line in lines if (record := _parsed(line)) is not None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"input", "output", "status"} <= record.keys() else None
