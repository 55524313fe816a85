"""Moving pictures that need no film's container: animated GIFs, numbered pictures, a camera. Read and written.

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
from PIL import Image, UnidentifiedImageError

from stylenet import images
from stylenet.errors import UserError, one_line
from stylenet.films import Frame, Look
from stylenet.images import Picture

FASTEST = Fraction(1, 50)  # of a second: browsers show GIF frames that claim to be shorter for a tenth
SLOW = Fraction(1, 10)
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

    others = ()
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
    """Writes a GIF, each frame with 256 colours of its own. ``loop``: how often, 0 for ever, None once."""

    left_out: tuple[str, ...] = ()

    def __init__(self, path: str | Path, look: Look, loop: int | None = 0):
        self._path, self._loop = path, loop
        self._frames: list[Image.Image] = []  # a byte a pixel: the format's writer asks for all at once
        self._times: list[Fraction] = []
        self._last = 1 / look.rate

    def add(self, item: Any) -> None:
        if isinstance(item, Frame):
            image = Image.fromarray(item.rgb)
            see_through = None if item.alpha is None else np.asarray(item.alpha) < 128
            made = image.quantize(255, Image.Quantize.MEDIANCUT)
            if see_through is not None and see_through.any():
                levels = np.asarray(made).copy()
                levels[see_through] = 255
                palette = made.getpalette() or []
                made = Image.fromarray(levels, "P")
                made.putpalette(palette[: 3 * 255] + [0] * (768 - len(palette[: 3 * 255])))
                made.info["transparency"] = 255
            self._frames.append(made)
            self._times.append(item.time)
            self._last = item.duration or self._last

    def close(self) -> None:
        if not self._frames:
            raise UserError("There are no frames to write.")
        ends = [*self._times[1:], self._times[-1] + self._last]
        # Whole hundredths of a second are what the format knows: rounded at the frame's moment, no error adds up.
        moments = [round((end - self._times[0]) * 100) for end in ends]
        lasting = [10 * max(2, after - before) for before, after in zip([0, *moments], moments, strict=False)]
        clear = any("transparency" in frame.info for frame in self._frames)
        more: dict[str, Any] = {"transparency": 255, "disposal": 2} if clear else {}
        if self._loop is not None:
            more["loop"] = self._loop
        self._frames[0].save(self._path, "GIF", save_all=True, append_images=self._frames[1:], duration=lasting, **more)

    def drop(self) -> None:
        self._frames.clear()


# --- numbered pictures


def is_numbered(path: str | Path) -> bool:
    """Whether a name stands for numbered pictures: ``frames/%04d.png``."""
    return _NUMBER.search(Path(path).name) is not None


class Numbered:
    """Pictures with a number in their name, in its order, as the frames of a film with ``fps`` frames a second."""

    others = ()
    tags: Any = None
    loop = 0

    def __init__(self, pattern: str | Path, fps: Fraction):
        self.path, self.missing = Path(pattern), None
        self.numbers = numbers(pattern)
        if not self.numbers:
            raise UserError(f"input={pattern}: there are no such pictures. Such as {numbered(pattern, 1)} is meant.")
        self.expected: int | None = len(self.numbers)
        self.look = Look(fps)
        self._first = images.read(numbered(pattern, self.numbers[0]))
        self.size = self._first.rgb.shape[1::-1]

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
            pixels = picture.rgb if picture.rgb.dtype == np.uint8 else (picture.rgb // 257).astype(np.uint8)
            yield Frame(pixels, place / self.look.rate, 1 / self.look.rate, picture.alpha, number)

    def close(self) -> None:
        pass


class NumberedWriter:
    """Writes each frame as a picture of its own: with the number it had, or from 1 on."""

    left_out: tuple[str, ...] = ()

    def __init__(self, pattern: str | Path, quality: int):
        self._pattern, self._quality, self._count = Path(pattern), quality, 0

    def add(self, item: Any) -> None:
        if isinstance(item, Frame):
            self._count += 1
            number = self._count if item.number is None else item.number
            images.write(numbered(self._pattern, number), Picture(item.rgb, item.alpha), self._quality)

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

    others = ()
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
