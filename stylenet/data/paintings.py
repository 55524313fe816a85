"""Style images: a picture file, or a bundled painting by its name. Knows nothing about their use."""

from pathlib import Path

from PIL import Image

from stylenet.images.color import Colors, Match
from stylenet.images.image_io import fit, open_rgb, to_pil, to_tensor
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

BUNDLED = ASSETS / "styles"
STRETCH = 1.5  # above it, a low-contrast painting, such as The Scream, would become harsh
SMALLEST = 32  # pixels per side: below it, the deepest Gram matrix averages only a few positions


def find_painting(image: str | Path) -> Path:
    """The file at a path, or the bundled painting with this bare file name. Raises UserError if there is none."""
    path = Path(image).expanduser()
    if not path.exists() and path.name == str(path):
        path = BUNDLED / path.name
    if not path.exists():
        known = ", ".join(sorted(p.name for p in BUNDLED.glob("*.jpg")))
        raise UserError(f"style image {image}: there is no such file. Give a picture, or one of: {known}.")
    return path


def open_painting(image: str | Path, size: int) -> Image.Image:
    """The style image as 8-bit RGB, its longer side at most ``size`` pixels. Raises UserError if it is missing or too
    small.
    """
    picture = fit(open_rgb(find_painting(image)), size)
    if min(picture.size) < SMALLEST:
        shape = f"{picture.width}x{picture.height}"
        raise UserError(f"style image {image} is {shape} pixels at this size: give {SMALLEST} or more a side.")
    return picture


def in_colors(picture: Image.Image, colors: Colors) -> Image.Image:
    """Match the picture's mean and covariance to ``colors``, stretched at most STRETCH times (after Gatys et al. 2016,
    "Preserving color in neural artistic style transfer", section 3.1): a network that learns it paints in the photos'
    colours.
    """
    image = to_tensor(picture)
    return to_pil(Match(Colors([image]), colors, STRETCH)(image))
