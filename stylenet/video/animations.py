"""Animated pictures: GIF, WebP, APNG and AVIF are read as films. The first three are written, frame after frame.

Knows files and frames; nothing about networks.
"""

import io
import struct
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from stylenet.images import image_io, metadata, srgb
from stylenet.system.errors import UserError, one_line
from stylenet.video.protocol import FilmSink, FilmSource, Frame, Item, Look

FASTEST = {"GIF": Fraction(1, 50)}  # of a second: browsers show frames that claim to be shorter for a tenth; others:
FAST, SLOW = Fraction(11, 1000), Fraction(1, 10)
CLEAR = 255
_PNG = b"\x89PNG\r\n\x1a\n"


def is_animated(path: str | Path) -> bool:
    """Whether a file is a GIF, WebP, PNG or AVIF of several frames. Of most others only the first bytes are read."""
    try:
        with open(path, "rb") as file:
            kind = _may_move(file)
        if kind is None:
            return False
        with Image.open(path, formats=[kind]) as image:
            return getattr(image, "n_frames", 1) - _hidden(image) > 1
    except Exception:  # whatever is wrong with it: reading it as a picture says so
        return False


def _may_move(file: BinaryIO) -> str | None:
    """Pillow's name of a file's format, where its first bytes allow several frames; else None."""
    head = file.read(64)
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2:
        return "WEBP"
    if head[4:12] == b"ftypavis":
        return "AVIF"
    place = len(_PNG) if head.startswith(_PNG) else 0
    while place:  # from chunk to chunk: what says that it moves stands before the pixels
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if name in (b"acTL", b"IDAT", b"IEND"):
            return "PNG" if name == b"acTL" else None
        place += 12 + length
    return None


def _hidden(image: Image.Image) -> int:
    """How many pictures of an APNG precede its animation: 0 or 1."""
    return int(bool(image.info.get("default_image")))


class Animation(FilmSource):
    """The frames of an animated picture, upright and in sRGB, over white where they are transparent.

    The first frame that cannot be read ends it, and ``missing`` says so. Raises UserError where the picture cannot be
    opened.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._missing: str | None = None
        image_io.open_rgb(path)  # its size is allowed, its first frame can be read
        try:
            self._image = Image.open(path)
            self._first = _hidden(self._image)
            self.expected = getattr(self._image, "n_frames", 1) - self._first
            self._image.seek(self._first)
            self._image.load()
        except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError) as error:
            raise UserError(f"Cannot read {path} as a moving picture: {one_line(error)}.") from error
        self._turn = metadata.turn(self._image)
        self.size = (self._image if self._turn is None else self._image.transpose(self._turn)).size
        self.look = Look(1 / self._lasts(), Fraction(1, 1000))
        loop = self._image.info.get("loop", 0 if self._image.format == "AVIF" else None)
        self.loop = None if loop == 1 and self._image.format != "GIF" else loop
        self.clear = self._image.format == "GIF" or self._image.has_transparency_data

    @property
    def missing(self) -> str | None:
        return self._missing

    def __iter__(self) -> Iterator[Frame]:
        time = Fraction(0)
        for number in range(self.expected or 1):
            try:
                self._image.seek(self._first + number)
                frame = srgb.convert(self._image.copy()).convert("RGBA")
            except (OSError, ValueError, SyntaxError, EOFError, IndexError):
                self._missing = f"only {number} of {self.expected} frames can be read"
                return
            frame = frame if self._turn is None else frame.transpose(self._turn)
            lasts = self._lasts()
            alpha = np.asarray(frame.getchannel("A"))
            white = Image.new("RGBA", frame.size, "white")
            white.alpha_composite(frame)
            kept = alpha if alpha.min() < 255 or (self.clear and self._image.format != "GIF") else None
            yield Frame(np.array(white.convert("RGB")), time, lasts, kept)
            time += lasts

    def close(self) -> None:
        self._image.close()

    def _lasts(self) -> Fraction:
        """How long the frame at hand is shown, in seconds."""
        duration = Fraction(round(float(self._image.info.get("duration", 0)) * 1000), 10**6)
        return duration if duration >= FASTEST.get(str(self._image.format), FAST) else SLOW


class Writer(FilmSink):
    """Writes an animated picture as its frames come.

    ``loop``: how often it is shown, 0 for ever, None once. ``clear``: whether frames may be transparent. ``quality``: 1
    to 100, of WebP. Frames that are shown for less than the format can say are left out, as they would slow the others
    down.
    """

    ticks = 1000  # a second
    shortest = 11  # ticks that a frame is shown for at least
    longest = 2**24 - 1

    def __init__(self, path: str | Path, look: Look, loop: int | None = 0, clear: bool = True, quality: int = 95):
        self._clear, self._quality = clear, quality
        self._file: BinaryIO = open(path, "wb")
        self._loop, self._last = loop, 1 / look.rate
        self._begin: Fraction | None = None
        self._held: tuple[bytes, int] | None = None  # the frame that waits to know when the next one comes
        self._end = Fraction(0)
        self._sides = 0, 0
        self._count = 0

    @classmethod
    def like(cls, path: Path, source: FilmSource, quality: int) -> "Writer":
        """A writer for the stylized frames of ``source``."""
        return cls(path, source.look, source.loop, source.clear, quality)

    def add(self, item: Item) -> None:
        """Write a frame. Raises UserError where the format does not hold pictures of its size."""
        if not isinstance(item, Frame):
            return
        self._begin = item.time if self._begin is None else self._begin
        # Whole ticks are what the format knows: rounded at the frame's moment, no error adds up.
        moment = round((item.time - self._begin) * self.ticks)
        self._end = item.time - self._begin + (item.duration or self._last)
        if self._held is None:
            self._sides = item.rgb.shape[1], item.rgb.shape[0]
            self._start()
        elif moment - self._held[1] < self.shortest:
            return
        else:
            self._write(moment)
        self._held = self._encoded(item), moment

    def close(self) -> None:
        """Finish the file. Raises UserError where no frame was added."""
        if self._held is None:
            self.drop()
            raise UserError("There are no frames to write.")
        self._write(round(self._end * self.ticks))
        self._finish()
        self._file.close()

    def drop(self) -> None:
        self._file.close()

    def _write(self, until: int) -> None:
        """Write the frame that waits, shown until a moment in ticks."""
        assert self._held is not None
        data, moment = self._held
        self._put(data, min(self.longest, max(self.shortest, until - moment)))
        self._count += 1

    @abstractmethod
    def _start(self) -> None:
        """Write what comes before the first frame."""
        raise NotImplementedError

    @abstractmethod
    def _encoded(self, frame: Frame) -> bytes:
        """A frame in the format's own bytes."""
        raise NotImplementedError

    @abstractmethod
    def _put(self, data: bytes, lasting: int) -> None:
        """Write an encoded frame, shown for so many ticks."""
        raise NotImplementedError

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes after the last frame."""
        raise NotImplementedError

    def _saved(self, frame: Frame, format: str, **options: int) -> bytes:
        """A frame as the file of a still picture."""
        image = Image.fromarray(srgb.eight_bit(frame.rgb))
        if self._clear:
            full = np.full(frame.rgb.shape[:2], 255, np.uint8)
            image.putalpha(Image.fromarray(full if frame.alpha is None else srgb.eight_bit(frame.alpha)))
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()


class GifWriter(Writer):
    """A GIF, each frame with 256 colours of its own; see the format's own description (GIF89a)."""

    ticks, shortest, longest = 100, 2, 65535

    def _start(self) -> None:
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", *self._sides, 0x70, 0, 0))
        if self._loop is not None:
            self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", self._loop, 0))

    def _encoded(self, frame: Frame) -> bytes:
        still = io.BytesIO()
        _in_256_colours(frame).save(still, "GIF", optimize=False)  # or it would leave out colours that do not occur
        return still.getvalue()

    def _put(self, data: bytes, lasting: int) -> None:
        start = 13 + 3 * 256
        palette, place = data[13:start], start
        while data[place] == 0x21:  # an extension: a kind, then blocks up to an empty one
            place += 2
            while data[place]:
                place += data[place] + 1
            place += 1
        # Disposal 2: each frame is cleared before the next one, which may be transparent where it is not.
        kind = 0x09 if self._clear else 0x04
        self._file.write(b"\x21\xf9\x04" + struct.pack("<BHBB", kind, lasting, CLEAR, 0))
        self._file.write(data[place : place + 9] + bytes([data[place + 9] | 0x87]) + palette)
        self._file.write(data[place + 10 : -1])

    def _finish(self) -> None:
        self._file.write(b"\x3b")


class WebpWriter(Writer):
    """An animated WebP (https://developers.google.com/speed/webp/docs/riff_container)."""

    def _start(self) -> None:
        if max(self._sides) > 16383:
            raise UserError(f"WEBP holds sides up to 16383 pixels, not {max(self._sides)}: take .gif or size=.")
        about = struct.pack("<B3x", 0x02 | 0x10 * self._clear) + b"".join(_three(side - 1) for side in self._sides)
        repeats = 1 if self._loop is None else min(self._loop, 65535)
        self._file.write(b"RIFF\0\0\0\0WEBP" + _piece(b"VP8X", about))
        self._file.write(_piece(b"ANIM", struct.pack("<IH", 0, repeats)))

    def _encoded(self, frame: Frame) -> bytes:
        still = self._saved(frame, "WEBP", quality=self._quality)
        place, kept = 12, b""
        while place < len(still):
            name, length = struct.unpack_from("<4sI", still, place)
            end = place + 8 + length + length % 2
            kept += still[place:end] if name in (b"ALPH", b"VP8 ", b"VP8L") else b""
            place = end
        return kept

    def _put(self, data: bytes, lasting: int) -> None:
        sides = b"".join(_three(side - 1) for side in self._sides)
        # 2: it takes the place of what was there, instead of lying over it.
        self._file.write(_piece(b"ANMF", bytes(6) + sides + _three(lasting) + b"\x02" + data))

    def _finish(self) -> None:
        size = self._file.tell() - 8
        self._file.seek(4)
        self._file.write(struct.pack("<I", size))


class ApngWriter(Writer):
    """An animated PNG (https://www.w3.org/TR/png-3/)."""

    longest = 65535

    def _start(self) -> None:
        self._file.write(
            _PNG + _chunk(b"IHDR", struct.pack(">IIBBBBB", *self._sides, 8, 6 if self._clear else 2, 0, 0, 0))
        )
        self._number = 0  # of chunks of the animation
        self._counted = self._file.tell()
        self._say_count()

    def _say_count(self) -> None:
        repeats = 1 if self._loop is None else self._loop
        self._file.write(_chunk(b"acTL", struct.pack(">II", self._count, repeats)))

    def _encoded(self, frame: Frame) -> bytes:
        still = self._saved(frame, "PNG")
        place, kept = len(_PNG), b""
        while place < len(still):
            length, name = struct.unpack_from(">I4s", still, place)
            kept += still[place + 8 : place + 8 + length] if name == b"IDAT" else b""
            place += 12 + length
        return kept

    def _put(self, data: bytes, lasting: int) -> None:
        about = struct.pack(">IIIIIHHBB", self._number, *self._sides, 0, 0, lasting, self.ticks, 0, 0)
        self._file.write(_chunk(b"fcTL", about))
        self._number += 1
        if self._count == 0:
            self._file.write(_chunk(b"IDAT", data))
            return
        self._file.write(_chunk(b"fdAT", struct.pack(">I", self._number) + data))
        self._number += 1

    def _finish(self) -> None:
        self._file.write(_chunk(b"IEND", b""))
        self._file.seek(self._counted)
        self._say_count()


WRITERS: dict[str, type[Writer]] = {"GIF": GifWriter, "WEBP": WebpWriter, "PNG": ApngWriter}
"""What writes an animated picture, by the format of ``stylenet.images.suffixes.ANIMATION_FORMATS``."""


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _piece(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _in_256_colours(frame: Frame) -> Image.Image:
    """A frame with a palette of 256 colours. The last of them stands for what is transparent."""
    made = Image.fromarray(srgb.eight_bit(frame.rgb)).quantize(CLEAR, Image.Quantize.MEDIANCUT)
    levels, palette = np.asarray(made), (made.getpalette() or [])[: 3 * CLEAR]
    if frame.alpha is not None:
        levels = np.where(srgb.eight_bit(frame.alpha) < 128, np.uint8(CLEAR), levels)
    made = Image.fromarray(levels)
    made.putpalette(palette + [0] * (768 - len(palette)))
    return made
