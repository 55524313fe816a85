"""Moving pictures without a file of their own: numbered pictures, which are read and written, and a camera.

Knows files and frames; nothing about networks.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np

from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import PICTURES
from stylenet.system.errors import UserError
from stylenet.video.protocol import FilmSink, FilmSource, Frame, Item, Look

_NUMBER = re.compile(r"%(0?)(\d*)d")


# --- numbered pictures


def is_numbered(path: str | Path) -> bool:
    """Whether a name such as ``frames/%04d.png`` stands for numbered pictures, and for no file of that very name."""
    path = Path(path)
    named = path.suffix.lower() in PICTURES and _NUMBER.search(path.name) is not None
    return named and not os.path.lexists(path)


class Numbered(FilmSource):
    """Pictures with a number in their name, in its order, as the frames of a film with ``fps`` frames a second.

    Broken pictures are passed over, and ``missing`` names them. Raises UserError where no picture can be read.
    """

    clear = True

    def __init__(self, pattern: str | Path, fps: Fraction):
        self.path = Path(pattern)
        self._missing: str | None = None
        self._numbers = numbers(pattern)
        if not self._numbers:
            raise UserError(f"input={pattern}: there are no such pictures. Such as {numbered(pattern, 1)} is meant.")
        self.expected = len(self._numbers)
        self.look = Look(fps)
        height, width = self._first().rgb.shape[:2]
        self.size = width, height

    @property
    def numbers(self) -> Sequence[int]:
        return self._numbers

    @property
    def missing(self) -> str | None:
        return self._missing

    def _first(self) -> Picture:
        """The first picture that can be read. Raises UserError where there is none."""
        failure: UserError | None = None
        for number in self._numbers:
            try:
                return image_io.read(numbered(self.path, number))
            except UserError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def __iter__(self) -> Iterator[Frame]:
        failed: list[str] = []
        for place, number in enumerate(self._numbers):
            path = numbered(self.path, number)
            try:
                picture = image_io.read(path)
            except UserError:
                failed.append(path.name)
                self._missing = f"{len(failed)} of {self.expected} pictures cannot be read: {', '.join(failed[:3])}"
                continue
            yield Frame(picture.rgb, place / self.look.rate, 1 / self.look.rate, picture.alpha, number)

    def close(self) -> None:
        pass


class NumberedWriter(FilmSink):
    """Writes each frame as a picture with the number it had, or with 1, 2, 3 and so on.

    ``quality``: 1 to 100, as of JPEG. ``keep``: pictures that exist stay as they are.
    """

    def __init__(self, pattern: str | Path, quality: int, keep: bool = False):
        self._pattern, self._quality, self._keep, self._count = Path(pattern), quality, keep, 0

    def add(self, item: Item) -> None:
        """Write a frame. Raises UserError where its picture cannot be written."""
        if isinstance(item, Frame):
            self._count += 1
            number = self._count if item.number is None else item.number
            if not self.has(number):
                image_io.write(numbered(self._pattern, number), Picture(item.rgb, item.alpha), self._quality)

    def has(self, number: int) -> bool:
        """Whether the picture of this number exists and stays as it is."""
        return self._keep and os.path.lexists(numbered(self._pattern, number))

    def close(self) -> None:
        pass

    def drop(self) -> None:
        pass


def numbered(pattern: str | Path, number: int) -> Path:
    """``frames/%04d.png`` and 7 to ``frames/0007.png``."""
    path = Path(pattern)
    return path.with_name(_NUMBER.sub(lambda found: f"{number:{found[1]}{found[2]}d}", path.name, count=1))


def numbers(pattern: str | Path) -> list[int]:
    """The numbers of the pictures that exist, ascending."""
    path = Path(pattern)
    found = _NUMBER.search(path.name)
    if found is None or not path.parent.is_dir():
        return []
    shape = re.compile(re.escape(path.name[: found.start()]) + r"(\d+)" + re.escape(path.name[found.end() :]))
    there = [int(name[1]) for name in map(shape.fullmatch, os.listdir(path.parent)) if name]
    return sorted(number for number in set(there) if numbered(path, number).is_file())


# --- a single picture


class Still(FilmSource):
    """One picture as a film of so many ``seconds``, with ``fps`` frames a second. Raises UserError if unreadable."""

    clear = True

    def __init__(self, path: str | Path, fps: Fraction, seconds: float):
        self.path, self.look = Path(path), Look(fps)
        self._picture = image_io.read(path)
        self.expected = max(2, round(fps * Fraction(seconds)))
        height, width = self._picture.rgb.shape[:2]
        self.size = width, height

    def __iter__(self) -> Iterator[Frame]:
        for place in range(self.expected or 0):
            yield Frame(self._picture.rgb, place / self.look.rate, 1 / self.look.rate, self._picture.alpha)

    def close(self) -> None:
        pass


# --- a camera


def camera(path: str | Path) -> int | None:
    """The number of the camera that a name such as ``camera:0`` stands for; None for other names."""
    found = re.fullmatch(r"camera:(\d{1,3})", str(path))
    return int(found[1]) if found else None


def is_camera(path: str | Path) -> bool:
    """Whether a name such as ``camera:0`` stands for a camera."""
    return camera(path) is not None


class Camera(FilmSource):
    """A camera's frames, each with the time it came, until Ctrl-C ends it.

    ``fps``: frames a second that a film of them claims to have. Raises UserError where there is no such camera.
    """

    endless = True
    expected = None

    def __init__(self, path: str | Path, fps: Fraction):
        try:
            cv2 = import_module("cv2")
        except ImportError as error:
            raise UserError("A camera needs OpenCV: pip install 'stylenet[video]'.") from error
        self.path = Path(path)
        with suppress(AttributeError):  # what goes wrong is said once, by us
            cv2.utils.logging.setLogLevel(0)
        self._camera = cv2.VideoCapture(camera(path) or 0)
        there, self._first = self._camera.read() if self._camera.isOpened() else (False, None)
        if not there or self._first is None:
            raise UserError(f"input={path}: there is no such camera here, or it is in use. Try another number.")
        self.look = Look(fps, Fraction(1, 1000))
        height, width = self._first.shape[:2]
        self.size = width, height

    def __iter__(self) -> Iterator[Frame]:
        import time

        begin = time.monotonic()
        there, bgr = True, self._first
        while there and bgr is not None:
            yield Frame(np.ascontiguousarray(bgr[..., ::-1]), Fraction(int(1000 * (time.monotonic() - begin)), 1000))
            there, bgr = self._camera.read()

    def close(self) -> None:
        self._camera.release()
