"""The metadata of a picture, and the part that a stylized copy keeps.

Kept: the camera, exposure, date, place, author and copyright of EXIF; the resolution. Dropped: orientation and profile
(both are applied), thumbnail, maker's notes, XMP and comments (they describe the old pixels, or cannot be copied
safely).
"""

import math

from PIL import ExifTags, Image

_KEPT = [
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
]
_DROPPED = {  # from the EXIF block
    ExifTags.Base.MakerNote,
    ExifTags.Base.ColorSpace,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
}
_MOST = 65000  # bytes; a JPEG file holds at most 65,533
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn(image: Image.Image) -> Image.Transpose | None:
    """The transpose that makes the picture upright, by its EXIF; None if none is needed or the EXIF is broken."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF raises nearly anything; the pixels are fine without it
        return None


def exif(image: Image.Image) -> bytes:
    """The EXIF to keep, as bytes; empty if there is none or it is broken."""
    try:
        old, new = image.getexif(), Image.Exif()
        for tag in _KEPT:
            if tag in old:
                new[tag] = old[tag]
        for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if kept := {tag: value for tag, value in old.get_ifd(block).items() if tag not in _DROPPED}:
                new[block] = kept
        data = new.tobytes() if len(new) else b""
        return data if len(data) <= _MOST else b""
    except Exception:  # as above
        return b""


def dpi(image: Image.Image) -> tuple[float, float] | None:
    """Pixels per inch, horizontal and vertical; None if absent or implausible."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sensible = all(math.isfinite(value) and 1 <= value < 65535 for value in (x, y))
    return (x, y) if sensible else None
