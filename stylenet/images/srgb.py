"""Convert Pillow images of any mode and profile to sRGB. Knows nothing about files."""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# Possible white values of each mode with more than 8 bits.
TOPS = {**dict.fromkeys(["I;16", "I;16L", "I;16B", "I;16N", "I"], (65535,)), "F": (1, 255, 65535)}
_GREY = {"1", "L", "LA", "La"}


def levels(image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits as uint16 (h, w): white is the first of TOPS above all values; if none, stretch them."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    tops = [top for top in TOPS[image.mode] if 0 <= low and high <= top]
    if tops:
        low, high = 0.0, float(tops[0])
    return np.rint((values - low) * (65535 / max(high - low, 1e-12))).astype(np.uint16)


def convert(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB in sRGB, or RGBA with transparency. A broken profile is ignored.

    ``image`` may be modified and returned.
    """
    profile, alpha = image.info.get("icc_profile"), None
    if image.mode in TOPS:
        image = Image.fromarray(eight_bit(levels(image)))
    if image.has_transparency_data:
        grey = image.mode in _GREY
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("L" if grey else "RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if image.mode in _GREY else "RGB")
    if change := transform(profile, image.mode):
        image = ImageCms.applyTransform(image, change) or image
    image = image if image.mode == "RGB" else image.convert("RGB")  # avoid copying a huge picture
    image.info.clear()  # the old profile and orientation no longer hold
    if alpha is not None:
        image.putalpha(alpha)
    return image


@lru_cache(maxsize=16)
def transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from ``mode`` in this ICC profile to sRGB; None if absent, broken or without effect."""
    srgb = ImageCms.createProfile("sRGB")
    try:
        if mode == "LAB":
            return ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
        if not profile:
            return None
        change = ImageCms.buildTransform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, mode, "RGB")
        if mode == "CMYK":
            return change
        probe = _probe(mode)
        before, after = probe.convert("RGB"), ImageCms.applyTransform(probe, change)
        moved = np.asarray(after, np.int16) - np.asarray(before, np.int16)
        return change if np.abs(moved).max() > 1 else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=1)
def profile() -> bytes:
    """The sRGB ICC profile that is embedded in written files."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # a fixed date: equal pictures give equal files
    return bytes(profile)


def _probe(mode: str) -> Image.Image:
    """A test picture of all greys, or of a grid over all colours."""
    steps = np.arange(256, dtype=np.uint8) if mode == "L" else np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(steps[None])
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3))


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    """uint16 rounded to uint8; uint8 unchanged."""
    return np.rint(pixels / 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
