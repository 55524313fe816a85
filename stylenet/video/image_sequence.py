"""Moving pictures that are no file: numbered pictures, read and written, and a camera.

Knows files and frames; nothing about networks.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import PICTURES
from stylenet.system.errors import UserError
from stylenet.video.container import Frame, Look

_NUMBER = re.compile(r"%(0?)(\d*)d")


# --- numbered pictures


def is_numbered(path: str | Path) -> bool:
    """Whether a name stands for numbered pictures: ``frames/%04d.png``. A file of that very name is itself."""
    path = Path(path)
    named = path.suffix.lower() in PICTURES and _NUMBER.search(path.name) is not None
    return named and not os.path.lexists(path)


class Numbered:
    """Pictures with a number in their name, in its order, as the frames of a film with ``fps`` frames a second."""

    others = chapters = ()
    tags: Any = None
    loop, clear = 0, True

    def __init__(self, pattern: str | Path, fps: Fraction):
        self.path, self.missing = Path(pattern), None
        self.numbers = numbers(pattern)
        if not self.numbers:
            raise UserError(f"input={pattern}: there are no such pictures. Such as {numbered(pattern, 1)} is meant.")
        self.expected: int | None = len(self.numbers)
        self.look = Look(fps)
        self.size = self._first().rgb.shape[1::-1]

    def _first(self) -> Picture:
        """The first that can be read. Raises UserError where none can."""
        failure: UserError | None = None
        for number in self.numbers:
            try:
                return image_io.read(numbered(self.path, number))
            except UserError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def __iter__(self) -> Iterator[Frame]:
        failed: list[str] = []
        for place, number in enumerate(self.numbers):
            path = numbered(self.path, number)
            try:
                picture = image_io.read(path)
            except UserError:
                failed.append(path.name)
                self.missing = f"{len(failed)} of {self.expected} pictures cannot be read: {', '.join(failed[:3])}"
                continue
            yield Frame(picture.rgb, place / self.look.rate, 1 / self.look.rate, picture.alpha, number)

    def close(self) -> None:
        pass


class NumberedWriter:
    """Writes each frame as a picture of its own: with the number it had, or from 1 on. ``keep``: those that are there
    stay as they are.
    """

    said: tuple[str, ...] = ()

    def __init__(self, pattern: str | Path, quality: int, keep: bool = False):
        self._pattern, self._quality, self._keep, self._count = Path(pattern), quality, keep, 0

    def add(self, item: Any) -> None:
        if isinstance(item, Frame):
            self._count += 1
            number = self._count if item.number is None else item.number
            if not self.has(number):
                image_io.write(numbered(self._pattern, number), Picture(item.rgb, item.alpha), self._quality)

    def has(self, number: int) -> bool:
        """Whether this picture is there, and is kept."""
        return self._keep and os.path.lexists(numbered(self._pattern, number))

    def close(self) -> None:
        pass

    drop = close


def numbered(pattern: str | Path, number: int) -> Path:
    """``frames/%04d.png`` and 7 to ``frames/0007.png``."""
    path = Path(pattern)
    return path.with_name(_NUMBER.sub(lambda found: f"{number:{found[1]}{found[2]}d}", path.name, count=1))


def numbers(pattern: str | Path) -> list[int]:
    """Those of the pictures that are there, ascending."""
    path = Path(pattern)
    found = _NUMBER.search(path.name)
    if found is None or not path.parent.is_dir():
        return []
    shape = re.compile(re.escape(path.name[: found.start()]) + r"(\d+)" + re.escape(path.name[found.end() :]))
    there = [int(name[1]) for name in map(shape.fullmatch, os.listdir(path.parent)) if name]
    return sorted(number for number in set(there) if numbered(path, number).is_file())


# --- a camera


def camera(path: str | Path) -> int | None:
    """The number of the camera that a name such as ``camera:0`` stands for; None for other names."""
    found = re.fullmatch(r"camera:(\d{1,3})", str(path))
    return int(found[1]) if found else None


class Camera:
    """A camera's frames with the time they came, until Ctrl-C ends it. Raises UserError where there is none."""

    others = chapters = ()
    tags: Any = None
    loop = 0
    expected = missing = None

    def __init__(self, path: str | Path, fps: Fraction):
        try:
            cv2: Any = import_module("cv2")
        except ImportError as error:
            raise UserError("A camera needs OpenCV: pip install 'stylenet[video]'.") from error
        self.path = Path(path)
        with suppress(AttributeError):  # what goes wrong is said once, by us
            cv2.utils.logging.setLogLevel(0)
        self._camera = cv2.VideoCapture(camera(path) or 0)
        self._there, self._first = self._camera.read() if self._camera.isOpened() else (False, None)
        if not self._there:
            raise UserError(f"input={path}: there is no such camera here, or it is in use. Try another number.")
        self.look = Look(fps, Fraction(1, 1000))
        self.size = self._first.shape[1::-1]  # type: ignore[union-attr]

    def __iter__(self) -> Iterator[Frame]:
        import time

        begin = time.monotonic()
        there, bgr = self._there, self._first
        while there and bgr is not None:
            yield Frame(np.ascontiguousarray(bgr[..., ::-1]), Fraction(int(1000 * (time.monotonic() - begin)), 1000))
            there, bgr = self._camera.read()

    def close(self) -> None:
        self._camera.release()
