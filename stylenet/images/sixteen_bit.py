"""PNG and TIFF files with 16 bits per channel. Pillow reads them in 8 bits and cannot write them."""

import os
import struct
import sys
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, TiffTags

_BAND = 256  # rows compressed at a time: no second copy of a huge picture


def claims(image: Image.Image) -> bool:
    """Whether a Pillow image, not yet loaded, has more than 8 bits per channel."""
    return image.mode.startswith(("I", "F")) or any(";16" in raw for raw in _raw_modes(image))


def halves(image: Image.Image, source: str | os.PathLike[str] | BinaryIO) -> tuple[Image.Image, Image.Image] | None:
    """The high and the low bytes of a 16-bit RGB or RGBA file, as two 8-bit images; None for other files.

    Pillow keeps one of the two bytes. The byte order it is given selects which, so reading with both orders gives both.
    ``image``: the file as opened, not yet loaded; ``source``: the same file again.
    """
    modes = _raw_modes(image)
    if not modes <= {f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in "LBN"} or len(modes) != 1:
        return None
    with Image.open(source) as low:
        order = modes.pop()[-1]
        big = order == "B" or (order == "N" and sys.byteorder == "big")
        _read_as(low, "L" if big else "B")
        _read_as(image, "B" if big else "L")
        low.load()
        image.load()
        return image, low


def join(high: Image.Image, low: Image.Image) -> np.ndarray:
    """Two 8-bit images as one uint16 array (h, w, channels)."""
    joined = np.empty((high.height, high.width, len(high.mode)), np.uint16)
    for top in range(0, high.height, _BAND):
        box = (0, top, high.width, min(top + _BAND, high.height))
        joined[box[1] : box[3]] = np.asarray(high.crop(box)).astype(np.uint16) << 8 | np.asarray(low.crop(box))
    return joined


def _raw_modes(image: Image.Image) -> set[str]:
    """The raw modes of the file, in Pillow's notation, such as RGB;16B."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return {str(tile.args if isinstance(tile.args, str) else tile.args[0]) for tile in tiles if tile.args}


def _read_as(image: Image.Image, order: str) -> None:
    assert isinstance(image, ImageFile.ImageFile)
    for index, tile in enumerate(image.tile):
        raw, *rest = [tile.args] if isinstance(tile.args, str) else tile.args or [""]
        mode = raw[:-1] + order
        image.tile[index] = tile._replace(args=mode if isinstance(tile.args, str) else (mode, *rest))


def write_png(file: BinaryIO, pixels: np.ndarray, icc: bytes, exif: bytes, dpi: tuple[float, float] | None) -> None:
    """Write uint16 (h, w, 3 or 4) as PNG (W3C recommendation: https://www.w3.org/TR/png-3/)."""
    height, width, channels = pixels.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0))
    _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if dpi:
        _chunk(file, b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))
    if exif:
        _chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    packer = zlib.compressobj()
    for top in range(0, height, _BAND):
        rows = pixels[top : top + _BAND].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        step = 2 * channels
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = 1  # filter Sub: each byte minus the same byte of the pixel to its left
        filtered[:, 1 : 1 + step] = rows[:, :step]
        np.subtract(rows[:, step:], rows[:, :-step], out=filtered[:, 1 + step :])
        if data := packer.compress(filtered.tobytes()):
            _chunk(file, b"IDAT", data)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def write_tiff(file: BinaryIO, pixels: np.ndarray, icc: bytes, exif: bytes, dpi: tuple[float, float] | None) -> None:
    """Write uint16 or uint8 (h, w, 3 or 4) as TIFF 6.0: one deflated strip, horizontal differences as predictor."""
    height, width, channels = pixels.shape
    packer, strip = zlib.compressobj(), []
    for top in range(0, height, _BAND):
        rows = pixels[top : top + _BAND].astype(f"<u{pixels.itemsize}")
        rows[:, 1:] = rows[:, 1:] - rows[:, :-1]
        strip.append(packer.compress(rows.tobytes()))
    strip.append(packer.flush())
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    if exif:
        old = Image.Exif()
        old.load(exif)
        for tag, value in old.items():
            tags[tag] = old.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else value
    tags.update(
        {
            256: width,
            257: height,
            258: (8 * pixels.itemsize,) * channels,
            259: 8,
            262: 2,
            277: channels,
            278: height,
            317: 2,
        }
    )
    tags.update({273: 0, 279: sum(map(len, strip)), 34675: icc})  # Pillow corrects 273 when the tags' length is known
    if channels == 4:
        tags[338] = 2  # the fourth channel is unassociated alpha
    if dpi:
        tags.update({282: dpi[0], 283: dpi[1], 296: 2})
    tags.save(file)
    file.writelines(strip)
