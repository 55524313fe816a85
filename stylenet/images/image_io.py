"""Read image files into pixels, and write pixels into image files. Knows nothing about networks.

Pixels are always upright (EXIF applied), RGB, in sRGB (ICC profile applied).
"""

import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import metadata, sixteen_bit, srgb
from stylenet.images.safe_open import Source, opened, pages_left
from stylenet.images.suffixes import PICTURE_FORMATS
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

_KINDS = {"MPO": "JPEG", "DIB": "BMP"}  # Pillow's names for variants of a format
_LONGEST = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "TGA": 65535, "AVIF": 65536}  # maximum sides, in pixels
_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "QOI"}
_QUALITY = {"JPEG", "WEBP", "AVIF"}
_TAGGED = {"JPEG", "PNG", "WEBP", "AVIF"}  # can hold a profile and EXIF
ROWS = 256  # per strip


Box = tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Picture:
    """A picture with the metadata to keep.

    ``rgb``: (h, w, 3) and ``alpha``: (h, w) or None, both uint8, or both uint16 if the file has 16 bits per channel.
    ``format``: Pillow's name of the file's format. ``exif``: the EXIF to write again. ``dpi``: horizontal, vertical.
    ``note``: a message for the user, such as that the file has more pages; "" for none.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    note: str = ""

    def pil(self) -> Image.Image:
        """The pixels as an 8-bit Pillow image of mode RGB, or RGBA with alpha."""
        image = Image.fromarray(srgb.eight_bit(self.rgb))
        if self.alpha is not None:
            image.putalpha(Image.fromarray(srgb.eight_bit(self.alpha)))
        return image


# --- reading


def open_rgb(source: Source, at_least: int | None = None) -> Image.Image:
    """Read a picture as 8-bit RGB: upright, sRGB, transparency over white; the first frame of several.

    ``at_least``: decode a JPEG at 1/2, 1/4 or 1/8 of its size, much faster, if its shorter side keeps this many pixels.
    Raises UserError with the file's name and the reason if it cannot be read.
    """
    with opened(source) as image:
        if at_least and not isinstance(source, Image.Image):
            scale = at_least / min(image.size)
            image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        image = srgb.convert(_upright(image, isinstance(source, Image.Image)))
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image


def read(source: Source) -> Picture:
    """Read a picture with its alpha, its 16 bits and the metadata to keep; the first frame of several.

    Grey and RGB PNG and TIFF keep 16 bits; with a profile other than sRGB, their colours are converted in 8 bits.
    Raises UserError with the file's name and the reason if it cannot be read.
    """
    if not isinstance(source, str | os.PathLike | Image.Image):
        source = io.BytesIO(source.read())  # a pipe cannot be read twice
    with opened(source) as image:
        deep, note = sixteen_bit.claims(image), "" if isinstance(source, Image.Image) else pages_left(image)
        halves = _halves(image, source)
        upright = _upright(image, isinstance(source, Image.Image))
        kept = metadata.exif(image), metadata.dpi(image)
        if halves and srgb.transform(image.info.get("icc_profile"), "RGB") is None:
            pixels = sixteen_bit.join(*(_turned(half, image) for half in halves))
        elif upright.mode in srgb.TOPS and srgb.transform(image.info.get("icc_profile"), "L") is None:
            pixels = np.repeat(srgb.levels(upright)[..., None], 3, axis=2)
        else:
            pixels = _array(srgb.convert(upright))
            pixels = pixels * np.uint16(257) if deep else pixels
        alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
        return Picture(pixels[..., :3], alpha, image.format or "PNG", *kept, note)


def _halves(image: Image.Image, source: Source) -> tuple[Image.Image, Image.Image] | None:
    if isinstance(source, Image.Image):
        return None  # Pillow has dropped the low bytes already
    return sixteen_bit.halves(image, io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source)


def _upright(image: Image.Image, copied: bool) -> Image.Image:
    """The loaded pixels, rotated by the EXIF orientation; ``copied``: never return ``image`` itself."""
    image.load()  # first: Pillow rotates a TIFF on loading and drops the tag
    upright = _turned(image, image)
    return upright.copy() if copied and upright is image else upright


def _turned(pixels: Image.Image, tagged: Image.Image) -> Image.Image:
    turn = metadata.turn(tagged)
    return pixels if turn is None else pixels.transpose(turn)


def _array(image: Image.Image) -> np.ndarray:
    """The pixels (h, w, channels) of an RGB or RGBA image, in bands: Pillow would hold three copies."""
    pixels = np.empty((image.height, image.width, len(image.mode)), np.uint8)
    for top in range(0, image.height, ROWS):
        bottom = min(top + ROWS, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


# --- pixels and tensors


def to_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """An RGB image, or an array (h, w, 3) of uint8 or uint16, as a float tensor (1, 3, h, w) in [0, 1]."""
    pixels = np.array(image)  # a copy: torch warns of Pillow's read-only buffer
    scale = 65535 if pixels.dtype == np.uint16 else 255
    return torch.from_numpy(pixels.astype(np.float32) if scale > 255 else pixels).permute(2, 0, 1)[None].float() / scale


def to_array(image: Tensor, dtype: type = np.uint8) -> np.ndarray:
    """A tensor (1, 3, h, w) or (3, h, w) as an array (h, w, 3) of uint8 or uint16, clamped to [0, 1] and rounded."""
    top = np.iinfo(dtype).max
    pixels = (image.detach().squeeze(0) if image.ndim == 4 else image.detach()).float().clamp(0, 1) * top
    return pixels.round().permute(1, 2, 0).cpu().numpy().astype(dtype)


def to_pil(image: Tensor) -> Image.Image:
    """A tensor (1, 3, h, w) or (3, h, w) as an 8-bit RGB image, clamped to [0, 1] and rounded."""
    return Image.fromarray(to_array(image))


def fit(image: Image.Image, size: int) -> Image.Image:
    """The image with its longer side reduced to at most ``size`` pixels, aspect ratio kept."""
    shape = _fitted(image.size, size)
    return image if shape == image.size else image.resize(shape, Image.Resampling.LANCZOS)


def fit_picture(picture: Picture, size: int) -> Picture:
    """As :func:`fit`, for a Picture; bit depth and alpha are kept."""
    shape = _fitted(picture.rgb.shape[1::-1], size)
    if shape == picture.rgb.shape[1::-1]:
        return picture
    alpha = None if picture.alpha is None else _resized(picture.alpha, shape)
    return replace(picture, rgb=resized(picture.rgb, shape), alpha=alpha)


def resized(pixels: np.ndarray, shape: tuple[int, int], box: Box = None) -> np.ndarray:
    """Resize an array (h, w, c) of uint8 or uint16 to ``shape``, (width, height). ``box``: (left, top, right, bottom)
    of the part that fills it; what lies around it counts at its edges.
    """
    return np.stack([_resized(channel, shape, box) for channel in np.moveaxis(pixels, -1, 0)], axis=-1)


def resampled(channel: np.ndarray, shape: tuple[int, int], box: Box = None) -> np.ndarray:
    """Resize an array (h, w) to ``shape``, (width, height), as float32, by Lanczos. All other resizing uses it."""
    image = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    return np.array(image.resize(shape, Image.Resampling.LANCZOS, box))


def strips(*arrays: np.ndarray) -> Iterator[tuple[Tensor, ...]]:
    """Yield arrays (h, w, c) of uint8 or uint16 in strips, as tensors (1, c, rows, w) in [0, 1]."""
    for top in range(0, len(arrays[0]), ROWS):
        yield tuple(to_tensor(array[top : top + ROWS]) for array in arrays)


def over(result: np.ndarray, arrays: Sequence[np.ndarray], made: Callable[..., Tensor]) -> None:
    """Apply ``made`` to strips of the arrays and write into ``result``, which may be one of them."""
    for number, rows in enumerate(strips(*arrays)):
        result[number * ROWS : (number + 1) * ROWS] = to_array(made(*rows), result.dtype.type)


def _fitted(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    scale = min(1.0, size / max(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _resized(channel: np.ndarray, shape: tuple[int, int], box: Box = None) -> np.ndarray:
    return np.rint(np.clip(resampled(channel, shape, box), 0, np.iinfo(channel.dtype).max)).astype(channel.dtype)


# --- writing


def write(file: str | Path | BinaryIO, picture: Picture, quality: int = 95, format: str | None = None) -> None:
    """Write a picture, as sRGB, in the format of the file's suffix, or in ``format``, a value of PICTURE_FORMATS.

    ``quality``: 1 to 100, for JPEG, WebP and AVIF. PNG and TIFF keep 16 bits; JPEG, BMP, PPM and GIF get white
    for transparency. Raises UserError if the format is unknown or too small for the picture, or the file cannot be
    written.
    """
    if not isinstance(file, str | os.PathLike):
        file.write(encode(picture, format or "PNG", quality))
        return
    format = format or format_of(file)
    require_sides(picture.rgb.shape, format)
    with replacing(file) as temp, temp.open("wb") as opened:
        _encode(opened, picture, format, quality)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a file suffix. Raises UserError for suffixes that cannot be written."""
    try:
        return PICTURE_FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise UserError(
            f"Cannot write {path}: the name must end in one of {' '.join(sorted(PICTURE_FORMATS))}."
        ) from None


def format_like(picture: Picture) -> str:
    """The format of a result without a file name: the photo's, or PNG if that cannot be written or has only 256
    colours.
    """
    format = _KINDS.get(picture.format, picture.format)
    return format if format in PICTURE_FORMATS.values() and format != "GIF" else "PNG"


def encode(picture: Picture, format: str, quality: int = 95) -> bytes:
    """The picture as the bytes of a file; see :func:`write`."""
    require_sides(picture.rgb.shape, format)
    file = io.BytesIO()
    _encode(file, picture, format, quality)
    return file.getvalue()


def require_sides(shape: Sequence[int], format: str) -> None:
    """Raise UserError if ``format`` cannot hold a picture of this ``shape``: two sides in pixels come first."""
    longest = max(shape[:2])
    if longest > _LONGEST.get(format, longest):
        raise UserError(f"{format} holds sides up to {_LONGEST[format]} pixels, not {longest}: use .png or size=.")


def _encode(file: BinaryIO, picture: Picture, format: str, quality: int) -> None:
    icc = srgb.profile()
    if format == "TIFF" or (format == "PNG" and picture.rgb.dtype == np.uint16):
        pixels = picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])
        writer = sixteen_bit.write_png if format == "PNG" else sixteen_bit.write_tiff  # Pillow's fails on EXIF
        writer(file, pixels, icc, picture.exif, picture.dpi)
        return
    image = picture.pil()
    if image.mode == "RGBA" and format not in _ALPHA:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    options: dict = {"icc_profile": icc} if format in _TAGGED else {}
    options |= {"quality": quality} if format in _QUALITY else {}
    options |= {"subsampling": 0 if quality >= 90 else 2} if format == "JPEG" else {}
    options |= {"exif": picture.exif} if picture.exif and format in _TAGGED else {}
    options |= {"dpi": picture.dpi} if picture.dpi else {}
    image.save(file, format, **options)
