"""Moving pictures that need no film's container: animated GIFs, numbered pictures, a camera. Read and written.

Knows files and frames; nothing about networks.
"""

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylenet import images, srgb
from stylenet.errors import UserError, one_line
from stylenet.films import Frame, Look
from stylenet.images import IMAGE_SUFFIXES, Picture

FASTEST = Fraction(1, 50)  # of a second: browsers show GIF frames that claim to be shorter for a tenth
SLOW = Fraction(1, 10)
SHORTEST = 2  # hundredths of a second that a written GIF frame is shown for at least
CLEAR = 255
_NUMBER = re.compile(r"%(0?)(\d*)d")


def is_animated(path: str | Path) -> bool:
    """Whether a file is a GIF of several frames."""
    try:
        with Image.open(path, formats=["GIF"]) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # whatever is wrong with it: reading it as a picture says so
        return False


class Gif:
    """An animated GIF's frames, over white where they are transparent. Attributes as of :class:`films.Reader`."""

    others = chapters = ()
    tags: Any = None

    def __init__(self, path: str | Path):
        self.path, self.missing = Path(path), None
        try:
            self._image = Image.open(path)
            self.expected: int | None = getattr(self._image, "n_frames", 1)
        except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError) as error:
            raise UserError(f"Cannot read {path} as a moving GIF: {one_line(error)}.") from error
        images.open_rgb(path)  # its size is allowed, its first frame can be read
        self.size = self._image.size
        first = _lasts(self._image)
        self.look = Look(1 / first, Fraction(1, 1000))
        self.loop = self._image.info.get("loop")

    def __iter__(self) -> Iterator[Frame]:
        time = Fraction(0)
        for number in range(self.expected or 1):
            try:
                self._image.seek(number)
                frame = self._image.convert("RGBA")
            except (OSError, ValueError, SyntaxError, EOFError, IndexError):
                self.missing = f"only {number} of {self.expected} frames can be read"
                return
            lasts = _lasts(self._image)
            alpha = np.asarray(frame.getchannel("A"))
            white = Image.new("RGBA", frame.size, "white")
            white.alpha_composite(frame)
            seen = alpha if alpha.min() < 255 else None
            yield Frame(np.array(white.convert("RGB")), time, lasts, seen)
            time += lasts

    def close(self) -> None:
        self._image.close()


def _lasts(image: Image.Image) -> Fraction:
    duration = Fraction(int(image.info.get("duration", 0)), 1000)
    return duration if duration >= FASTEST else SLOW


class GifWriter:
    """Writes a GIF, each frame with 256 colours of its own, as the frames come. ``loop``: how often, 0 for ever, None
    once. ``clear``: whether some of the frames may be transparent. Frames that are shown for less than the format can
    say are left out: it would slow the others down.
    """

    said: tuple[str, ...] = ()

    def __init__(self, path: str | Path, look: Look, loop: int | None = 0, clear: bool = True):
        self._clear = clear
        self._file: BinaryIO = open(path, "wb")
        self._loop, self._last = loop, 1 / look.rate
        self._begin: Fraction | None = None
        self._held: tuple[Image.Image, int] | None = None  # the frame that waits to know when the next one comes
        self._end = Fraction(0)

    def add(self, item: Any) -> None:
        if not isinstance(item, Frame):
            return
        self._begin = item.time if self._begin is None else self._begin
        # Whole hundredths of a second are what the format knows: rounded at the frame's moment, no error adds up.
        moment = round((item.time - self._begin) * 100)
        self._end = item.time - self._begin + (item.duration or self._last)
        if self._held is None:
            height, width = item.rgb.shape[:2]
            self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
            if self._loop is not None:
                self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", self._loop, 0))
        elif moment - self._held[1] < SHORTEST:
            return
        else:
            self._write(moment)
        self._held = _in_256_colours(item), moment

    def close(self) -> None:
        if self._held is None:
            self.drop()
            raise UserError("There are no frames to write.")
        self._write(round(self._end * 100))
        self._file.write(b"\x3b")
        self._file.close()

    def drop(self) -> None:
        self._file.close()

    def _write(self, until: int) -> None:
        """The frame that waits, shown until a moment in hundredths of a second; see the format's own description."""
        assert self._held is not None
        image, moment = self._held
        whole = io.BytesIO()
        image.save(whole, "GIF", optimize=False)  # or it would leave out colours that do not occur
        data = whole.getvalue()
        start = 13 + 3 * 256
        palette, place = data[13:start], start
        while data[place] == 0x21:  # an extension: a kind, then blocks up to an empty one
            place += 2
            while data[place]:
                place += data[place] + 1
            place += 1
        # Disposal 2: each frame is cleared before the next one, which may be transparent where it is not.
        kind = 0x09 if self._clear else 0x04
        lasting = min(65535, max(SHORTEST, until - moment))
        self._file.write(b"\x21\xf9\x04" + struct.pack("<BHBB", kind, lasting, CLEAR, 0))
        self._file.write(data[place : place + 9] + bytes([data[place + 9] | 0x87]) + palette)
        self._file.write(data[place + 10 : -1])


def _in_256_colours(frame: Frame) -> Image.Image:
    """The last of them stands for what is transparent."""
    made = Image.fromarray(frame.rgb).quantize(CLEAR, Image.Quantize.MEDIANCUT)
    levels, palette = np.asarray(made), (made.getpalette() or [])[: 3 * CLEAR]
    if frame.alpha is not None:
        levels = np.where(frame.alpha < 128, np.uint8(CLEAR), levels)
    made = Image.fromarray(levels)
    made.putpalette(palette + [0] * (768 - len(palette)))
    return made


# --- numbered pictures


def is_numbered(path: str | Path) -> bool:
    """Whether a name stands for numbered pictures: ``frames/%04d.png``. A file of that very name is itself."""
    path = Path(path)
    named = path.suffix.lower() in IMAGE_SUFFIXES and _NUMBER.search(path.name) is not None
    return named and not os.path.lexists(path)


class Numbered:
    """Pictures with a number in their name, in its order, as the frames of a film with ``fps`` frames a second."""

    others = chapters = ()
    tags: Any = None
    loop = 0

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
                return images.read(numbered(self.path, number))
            except UserError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def __iter__(self) -> Iterator[Frame]:
        failed: list[str] = []
        for place, number in enumerate(self.numbers):
            path = numbered(self.path, number)
            try:
                picture = images.read(path)
            except UserError:
                failed.append(path.name)
                self.missing = f"{len(failed)} of {self.expected} pictures cannot be read: {', '.join(failed[:3])}"
                continue
            alpha = None if picture.alpha is None else srgb.eight_bit(picture.alpha)
            yield Frame(srgb.eight_bit(picture.rgb), place / self.look.rate, 1 / self.look.rate, alpha, number)

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
                images.write(numbered(self._pattern, number), Picture(item.rgb, item.alpha), self._quality)

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
