"""Masks in which each colour is a region: the pictures of a pair as numbers, equal where their colours are.

A mask may have been saved with losses, or have soft edges: each pixel then counts as the nearest of its frequent
colours.
"""

import numpy as np
from PIL import Image, ImageFilter

from stylenet.images import image_io
from stylenet.images.safe_open import Source, once
from stylenet.system.errors import UserError

MOST = 64  # colours of a mask that is taken as it is, and regions at most
LEAST = 0.002  # of a picture: the smallest region of a mask with more colours than that
APART = 48  # distance in 8-bit RGB, below which two frequent colours of such a mask are one
NEAR, BETWEEN = 24, 0.25  # distance in 8-bit RGB, and the part of a mask that may be farther from all of these colours
SIDE = 1024  # longer side at which such a mask is looked at, in pixels

Labels = tuple[np.ndarray, np.ndarray]
Color = tuple[int, int, int]


def open_mask(source: Source, option: str) -> Image.Image:
    """A mask as an RGB picture. ``option``: its name, for messages. Raises UserError if it cannot be read."""
    try:
        return image_io.open_rgb(once(source))
    except UserError as error:
        raise UserError(f"{option}=: {error}") from error


def labels(content: Image.Image, style: Image.Image) -> tuple[Labels, str]:
    """The regions of two masks, each (h, w) of int64, equal numbers for equal colours; and a note about colours that
    only one of them has, "" for none.

    Raises UserError if a mask has too many colours to be one, or the two share none.
    """
    (first, colors, clean), (second, others, also) = _regions(content, "content_mask"), _regions(style, "style_mask")
    nearest = [_nearest(color, colors, 0 if clean and also else APART) for color in others]
    if all(number is None for number in nearest):
        raise UserError(
            f"content_mask= has the colours {_named(colors)}, style_mask= {_named(others)}: they share none. Give what "
            "belongs together the same colour in both."
        )
    free = iter(range(len(colors), len(colors) + len(others)))
    table = np.array([next(free) if number is None else number for number in nearest], np.int64)
    alone = [color for number, color in enumerate(colors) if number not in nearest]
    unused = [color for color, number in zip(others, nearest, strict=True) if number is None]
    notes = [f"only content_mask= has {_named(alone)}: matched with the whole style photo"] if alone else []
    notes += [f"only style_mask= has {_named(unused)}: not used"] if unused else []
    return (first, table[second]), "; ".join(notes)


def resized(regions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Regions (h, w) at another ``shape``, height and width; each pixel takes the nearest."""
    down, across = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(shape, regions.shape, strict=True)
    )
    return regions[down[:, None], across]


def _regions(mask: Image.Image, option: str) -> tuple[np.ndarray, list[Color], bool]:
    """The regions of a mask, the colour of each, and whether the mask has no other colours."""
    colors = mask.getcolors(MOST)
    if colors is not None:
        exact: list[Color] = sorted(color for _, color in colors)  # type: ignore[misc]
        return _by_palette(mask, exact), exact, True
    small = mask if max(mask.size) <= SIDE else mask.resize(_fitted(mask), Image.Resampling.NEAREST)
    pixels = np.asarray(small).reshape(-1, 3)
    found = _frequent(pixels[_flat(small)], LEAST * len(pixels))
    far = _distances(pixels, found).min(1) > NEAR if found else np.ones(len(pixels), bool)
    if len(found) > MOST or far.mean() > BETWEEN:
        raise UserError(f"{option}= is a picture with too many colours for a mask. Give one colour to each region.")
    return _by_palette(mask, found), found, False


def _flat(mask: Image.Image) -> np.ndarray:
    """Whether each pixel, in order, is inside of a region and not on a soft edge."""
    most, least = (
        np.asarray(mask.filter(kind(5)), np.int16) for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    return ((most - least).max(-1) <= APART).reshape(-1)


def _frequent(pixels: np.ndarray, least: float) -> list[Color]:
    """The frequent colours among pixels (n, 3), the most frequent first: those of ``least`` pixels or more, and apart
    from those before.
    """
    cells = pixels.astype(np.int64) // 16 @ np.array([256, 16, 1])
    palette: list[Color] = []
    counts = np.bincount(cells, minlength=4096)
    for number in np.argsort(-counts, kind="stable"):
        if counts[number] < least or len(palette) > MOST:
            break
        red, green, blue = (int(level) for level in np.median(pixels[cells == number], axis=0))
        if _nearest((red, green, blue), palette, APART) is None:
            palette.append((red, green, blue))
    return palette


def _fitted(mask: Image.Image) -> tuple[int, int]:
    scale = SIDE / max(mask.size)
    return max(1, round(mask.width * scale)), max(1, round(mask.height * scale))


def _by_palette(mask: Image.Image, palette: list[Color]) -> np.ndarray:
    """The number of the nearest colour of ``palette`` for each pixel."""
    pixels = np.asarray(mask)
    return np.stack([_distances(row, palette).argmin(1) for row in pixels]).astype(np.int64)


def _distances(pixels: np.ndarray, palette: list[Color]) -> np.ndarray:
    apart = pixels[:, None].astype(np.float32) - np.array(palette, np.float32)
    return np.sqrt((apart**2).sum(-1))


def _nearest(color: tuple[int, ...], palette: list[Color], most: float) -> int | None:
    """The number of the nearest colour that is at most so far away."""
    if not palette:
        return None
    distances = _distances(np.array([color]), palette)[0]
    return int(distances.argmin()) if distances.min() <= most else None


def _named(colors: list[Color]) -> str:
    shown = ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in colors[:6])
    return f"{shown} and {len(colors) - 6} more" if len(colors) > 6 else shown
