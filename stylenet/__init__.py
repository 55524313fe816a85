"""stylenet: train feed-forward fast style transfer networks and put them to use.

``stylenet.load("starry_night")(image)`` is all that most users need.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import device as Device

    from stylenet.stylize import Stylizer

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    ckpt: str | Path,
    device: "str | Device" = "auto",
    tile: str | int = "auto",
    scratch: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    strength: float = 1.0,
    color: str = "style",
    stroke: float = 1.0,
) -> "Stylizer":
    """Load a style once; the result turns images into stylized images (see :func:`stylenet.stylize.load`)."""
    from stylenet.stylize import load  # torch costs seconds: not paid by `import stylenet`

    return load(ckpt, device, tile, scratch, backend, precision, strength, color, stroke)
