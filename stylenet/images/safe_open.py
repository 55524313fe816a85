"""Open untrusted picture files. Any fault of a file becomes a UserError with its name.

No file can run a program, block the reader, exhaust the memory or write to the terminal.
"""

import ctypes
import io
import math
import os
import re
import select
import stat
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from stylenet.images import plugins, raw, sixteen_bit
from stylenet.system.errors import UserError, shown
from stylenet.system.memory import free_memory

Source = str | os.PathLike[str] | BinaryIO | Image.Image

_RUNS_PROGRAMS = {"EPS", "WMF"}  # Pillow hands these to Ghostscript or the operating system: drawings, not photos
_ONE_PICTURE = {"MPO", "PSD", "ICNS", "ICO"}  # whose other pictures belong to the first
_LONGEST = 200  # letters of a reason: some decoders quote what they found in the file
_BYTES, _BYTES_DEEP = 13, 28  # of memory for each pixel of 8 bits or more, reading and resizing: measured


PATIENCE = 5.0  # seconds until somebody writes into a pipe

_quiet_lock, _quiet_blocks = threading.Lock(), [0]
_quiet_stack = ExitStack()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, also where several threads read: the first in silences them, the last out undoes that."""
    with _quiet_lock:
        _quiet_blocks[0] += 1
        if _quiet_blocks[0] == 1:
            _quiet_stack.enter_context(warnings.catch_warnings(action="ignore"))
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_blocks[0] -= 1
            if _quiet_blocks[0] == 0:
                _quiet_stack.close()


class _Refused(Exception):
    """The file may be whole, but it is not taken; why."""


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """An open Pillow image. Any exception of its decoder inside the block becomes a UserError with the file's name."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "filename", "") or "the picture"
    try:
        # No warnings: a large or slightly broken picture can either be read, or an error says why not.
        with _quiet():
            if isinstance(source, Image.Image):
                yield source
            else:
                _silence_libtiff()
                plugins.register()
                # Not by its name: Pillow would map it into memory, which scrambles a deep grey TIFF that is turned.
                handle = _file(source) if isinstance(source, str | os.PathLike) else nullcontext(source)
                with handle as file:
                    _require_no_raw(file, str(name))
                    with _identified(file) as image:
                        if image.format in _RUNS_PROGRAMS:
                            raise _Refused("it is a drawing, not a photo; save it as PNG first")
                        _require_memory(image)
                        yield image
    except UserError:
        raise
    except Exception as error:  # a hostile file can make a decoder raise nearly anything
        raise UserError(f"Cannot read {shown(name)}: {_reason(error, source)}.") from error


def _identified(file: BinaryIO) -> Image.Image:
    """What Pillow makes of an opened file. A kind that a plug-in would read is named."""
    try:
        return Image.open(file)
    except Image.UnidentifiedImageError:
        kind = plugins.kind(_head(file))
        if kind is None or plugins.installed(kind):
            raise
        raise _Refused(f"it is a {kind} picture, which needs a plug-in: {plugins.EXTRA}") from None


def _require_no_raw(file: BinaryIO, name: str) -> None:
    """Refuse camera raw files, of which Pillow shows only the preview, and TIFF files that begin with a preview."""
    head, suffix = _head(file), os.path.splitext(name)[1].lower()
    maker, tiff = raw.kind(head), raw.is_tiff(head)
    pages, below = raw.directories(file) if tiff and maker is None else ([], [])
    if maker or raw.shows_sensor(pages, below) or (tiff and suffix in raw.SUFFIXES):
        of = maker or (suffix[1:].upper() if suffix in raw.SUFFIXES else "DNG" if pages[0].dng else "")
        raise _Refused(f"it is a camera raw file{f' ({of})' if of else ''}; develop it to JPEG or TIFF first")
    if pages and pages[0].reduced and not all(page.reduced for page in [*pages, *below]):
        raise _Refused("its first page is only a preview of the picture; save the picture as a file of its own first")


def pages_left(image: Image.Image) -> str:
    """What is said where a file holds more pictures than the one that Pillow shows first; "" where it does not.

    Smaller copies, masks, a phone's depth maps and an editor's layers are not counted.
    """
    count = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and count > 1 and isinstance(file := getattr(image, "fp", None), io.IOBase):
        pages, _ = raw.directories(cast(BinaryIO, file))
        count = 1 + raw.further_pages(pages) if pages else count
    if count == 1 or image.format in _ONE_PICTURE:
        return ""
    what = {"TIFF": "pages", "HEIF": "pictures"}.get(str(image.format), "frames")
    return f"it has {count} {what}, and only the first is done"


def _head(file: BinaryIO) -> bytes:
    place = file.tell()
    file.seek(0)
    head = file.read(plugins.HEAD)
    file.seek(place)
    return head


def once(source: Source) -> Source:
    """What a user named as one picture: itself, or all that comes out of a pipe. Raises UserError where nobody writes
    into the pipe.
    """
    if not (isinstance(source, str | os.PathLike) and Path(source).is_fifo()):
        return source
    parts: list[bytes] = []
    end = time.monotonic() + PATIENCE
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        while (part := pipe.read(2**20)) != b"" or not parts:  # None: a writer is at work; empty: there is none (more)
            if part:
                parts.append(part)
            elif part is None:
                select.select([pipe], [], [])
            elif time.monotonic() < end:
                time.sleep(0.01)
            else:
                raise UserError(f"Cannot read {shown(source)}: it is a pipe, and nothing came out of it.")
    return io.BytesIO(b"".join(parts))


def _file(path: str | os.PathLike[str]) -> BinaryIO:
    """The opened file; what is none, such as a pipe, could keep the reader waiting forever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _Refused("it is a folder" if os.path.isdir(path) else "it is a pipe or a device, not a file")
    return open(path, "rb")


@lru_cache(maxsize=1)
def _silence_libtiff() -> None:
    """Keep libtiff from writing its own lines to stderr about each broken file: Pillow raises an error as well."""
    with suppress(OSError, AttributeError, TypeError):  # where Pillow hides its libtiff, they stay
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # type: ignore[attr-defined]


def _require_memory(image: Image.Image) -> None:
    """Refuse a picture whose pixels do not fit into the free memory."""
    free, pixels = free_memory(), image.width * image.height
    needed = pixels * (_BYTES_DEEP if sixteen_bit.claims(image) else _BYTES)
    if free is not None and needed > free:
        raise _Refused(
            f"its {pixels / 1e6:,.4g} million pixels take {needed / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free"
        )


_limit_lock = threading.Lock()
_limits: list[int] = []  # of those at work, and the process's own before them


@contextmanager
def allowed(megapixels: float | None) -> Iterator[None]:
    """Inside the block pictures of more million pixels than this are refused, instead of 179 (Pillow's own limit).

    None changes nothing. Small files may claim any size ("decompression bombs"). What the free memory cannot hold is
    refused all the same. Pillow knows one limit for a process: of several blocks at work the largest counts. Raises
    UserError for what is no such number.
    """
    if megapixels is None:
        yield
        return
    check(megapixels)
    limit = math.ceil(megapixels * 1e6 / 2)  # Pillow warns from here on, and refuses twice as many
    with _limit_lock:
        if not _limits:
            _limits.append(Image.MAX_IMAGE_PIXELS or 0)
        _limits.append(limit)
        Image.MAX_IMAGE_PIXELS = max(_limits[1:])
    try:
        yield
    finally:
        with _limit_lock:
            _limits.pop(_limits.index(limit, 1))  # the first is the process's own
            Image.MAX_IMAGE_PIXELS = max(_limits[1:]) if len(_limits) > 1 else (_limits.pop() or None)


def check(megapixels: float) -> None:
    """Raise UserError for what is no number of million pixels above 0."""
    number = isinstance(megapixels, int | float) and not isinstance(megapixels, bool)
    if not (number and 0 < megapixels < math.inf):
        raise UserError(f"megapixels={megapixels}: give the million pixels allowed at most, such as megapixels=1000.")


def _reason(error: Exception, source: Source) -> str:
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        claimed = re.search(r"\((\d+) pixels\)", str(error))
        more = max(1000, math.ceil(int(claimed[1]) / 1e8) * 100 if claimed else 0)  # enough for this one
        return f"it claims more than {limit:.4g} million pixels; if you trust it, allow more: megapixels={more}"
    if isinstance(error, Image.UnidentifiedImageError):
        empty = isinstance(source, str | os.PathLike) and Path(source).stat().st_size == 0
        return "the file is empty" if empty else "it is not a picture, or is damaged, or of a kind unknown to Pillow"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    said = shown(" ".join(str(error).split())).rstrip(".")[:_LONGEST] or type(error).__name__
    return said if isinstance(error, _Refused) else f"it is damaged ({said})"
