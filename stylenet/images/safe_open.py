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

_RUNS_PROGRAMS = {"EPS", "WMF"}  # Pillow passes these to Ghostscript or the operating system
_ONE_PICTURE = {"MPO", "PSD", "ICNS", "ICO"}  # their other pictures belong to the first
_LONGEST = 200  # characters of a reason: some decoders quote file contents
_BYTES, _BYTES_DEEP = 13, 28  # peak bytes per pixel of 8 bits, or more, when reading and resizing: measured


PATIENCE = 5.0  # seconds to wait for a writer of a pipe

_quiet_lock, _quiet_blocks = threading.Lock(), [0]
_quiet_stack = ExitStack()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings, thread-safely: the first thread to enter disables them, the last to leave restores them."""
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
    """The file may be intact, but is not accepted; the message says why."""


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """Open a Pillow image. Any exception of its decoder inside the block becomes a UserError with the file's name."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "filename", "") or "the picture"
    try:
        # No warnings: a large or slightly broken picture is either read or raises an error.
        with _quiet():
            if isinstance(source, Image.Image):
                yield source
            else:
                _silence_libtiff()
                plugins.register()
                # A file object, not a path: Pillow's memory mapping scrambles a rotated 16-bit grey TIFF.
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
    """Open a file with Pillow. Raises _Refused if its kind needs a plug-in that is not installed."""
    try:
        return Image.open(file)
    except Image.UnidentifiedImageError:
        kind = plugins.kind(_head(file))
        if kind is None or plugins.installed(kind):
            raise
        raise _Refused(f"it is a {kind} picture, which needs a plug-in: {plugins.EXTRA}") from None


def _require_no_raw(file: BinaryIO, name: str) -> None:
    """Refuse camera raw files, where Pillow reads only the preview, and TIFF files that begin with a preview."""
    head, suffix = _head(file), os.path.splitext(name)[1].lower()
    maker, tiff = raw.kind(head), raw.is_tiff(head)
    pages, below = raw.directories(file) if tiff and maker is None else ([], [])
    if maker or raw.shows_sensor(pages, below) or (tiff and suffix in raw.SUFFIXES):
        of = maker or (suffix[1:].upper() if suffix in raw.SUFFIXES else "DNG" if pages[0].dng else "")
        raise _Refused(f"it is a camera raw file{f' ({of})' if of else ''}; develop it to JPEG or TIFF first")
    if pages and pages[0].reduced and not all(page.reduced for page in [*pages, *below]):
        raise _Refused("its first page is only a preview of the picture; save the picture as a file of its own first")


def pages_left(image: Image.Image) -> str:
    """The note about a file with more than one picture; "" for a single picture.

    Smaller copies, masks, a phone's depth maps and an editor's layers do not count.
    """
    count = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and count > 1 and isinstance(file := getattr(image, "fp", None), io.IOBase):
        pages, _ = raw.directories(cast(BinaryIO, file))
        count = 1 + raw.further_pages(pages) if pages else count
    if count == 1 or image.format in _ONE_PICTURE:
        return ""
    what = {"TIFF": "pages", "HEIF": "pictures"}.get(str(image.format), "frames")
    return f"it has {count} {what}, only the first is used"


def _head(file: BinaryIO) -> bytes:
    place = file.tell()
    file.seek(0)
    head = file.read(plugins.HEAD)
    file.seek(place)
    return head


def once(source: Source) -> Source:
    """``source`` itself, or the whole contents of a pipe as BytesIO. Raises UserError if nothing writes to the pipe
    within PATIENCE seconds.
    """
    if not (isinstance(source, str | os.PathLike) and Path(source).is_fifo()):
        return source
    parts: list[bytes] = []
    end = time.monotonic() + PATIENCE
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        while (part := pipe.read(2**20)) != b"" or not parts:  # None: a writer is connected; b"": none (left)
            if part:
                parts.append(part)
            elif part is None:
                select.select([pipe], [], [])
            elif time.monotonic() < end:
                time.sleep(0.01)
            else:
                raise UserError(f"Cannot read {shown(source)}: it is a pipe, and nothing was written to it.")
    return io.BytesIO(b"".join(parts))


def _file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file. Raises _Refused for others: reading a pipe could block forever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _Refused("it is a folder" if os.path.isdir(path) else "it is a pipe or a device, not a file")
    return open(path, "rb")


@lru_cache(maxsize=1)
def _silence_libtiff() -> None:
    """Stop libtiff from writing to stderr about broken files: Pillow raises an error anyway."""
    with suppress(OSError, AttributeError, TypeError):  # some Pillow builds hide libtiff
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)  # type: ignore[attr-defined]


def _require_memory(image: Image.Image) -> None:
    """Refuse a picture that does not fit into the free memory."""
    free, pixels = free_memory(), image.width * image.height
    needed = pixels * (_BYTES_DEEP if sixteen_bit.claims(image) else _BYTES)
    if free is not None and needed > free:
        raise _Refused(
            f"its {pixels / 1e6:,.4g} million pixels take {needed / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free"
        )


_limit_lock = threading.Lock()
_limits: list[int] = []  # of active blocks
_own_limit: int | None = None  # the process's own, while blocks are active


@contextmanager
def allowed(megapixels: float | None) -> Iterator[None]:
    """Inside the block, refuse pictures above this many million pixels, instead of 179 (Pillow's own limit).

    None changes nothing. Small files may claim any size ("decompression bombs"). Pictures too large for the free memory
    are always refused. Pillow has one limit per process: the largest of all active blocks applies. Raises UserError for
    an invalid number.
    """
    if megapixels is None:
        yield
        return
    check(megapixels)
    limit = math.ceil(megapixels * 1e6 / 2)  # Pillow warns above it, and refuses above twice as many
    global _own_limit
    with _limit_lock:
        if not _limits:
            _own_limit = Image.MAX_IMAGE_PIXELS
        _limits.append(limit)
        Image.MAX_IMAGE_PIXELS = max(_limits)
    try:
        yield
    finally:
        with _limit_lock:
            _limits.remove(limit)
            Image.MAX_IMAGE_PIXELS = max(_limits, default=_own_limit)


def check(megapixels: float) -> None:
    """Raise UserError unless ``megapixels`` is a finite number above 0."""
    number = isinstance(megapixels, int | float) and not isinstance(megapixels, bool)
    if not (number and 0 < megapixels < math.inf):
        raise UserError(f"megapixels={megapixels}: give the limit in million pixels, such as megapixels=1000.")


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
    message = shown(" ".join(str(error).split())).rstrip(".")[:_LONGEST] or type(error).__name__
    return message if isinstance(error, _Refused) else f"it is damaged ({message})"
