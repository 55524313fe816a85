"""stylenet: train feed-forward fast style transfer networks and put them to use.

``stylenet.load("starry_night")(image)`` is all that most users need.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylenet.system.version import __version__

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import device as Device

    from stylenet.stylizing.controls import Masked
    from stylenet.stylizing.stylizer import Stylizer

__all__ = ["__version__", "load"]


def load(
    ckpt: str | Path | Sequence[str | Path],
    device: "str | Device" = "auto",
    tile: str | int = "auto",
    scratch: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    strength: float = 1.0,
    color: str = "style",
    stroke: float = 1.0,
    mask: "str | Path | Image | Sequence[str | Path | Image] | None" = None,
    mask_invert: bool = False,
    mix: str | Sequence[float] | None = None,
) -> "Stylizer | Masked":
    """Load a style once; the result turns images into stylized images (see :func:`stylenet.stylizing.stylizer.load`).

    ``mask``: a grey picture, a file or a Pillow image, white where the style goes (``mask_invert``: black), stretched
    to each photo; of several checkpoints each needs one, as in ``load(["starry_night", "udnie"], mask=["sky.png",
    "sea.png"])``. ``mix``: of a checkpoint with several styles the name of one, or weights.
    """
    from functools import partial

    from stylenet.stylizing import controls, stylizer  # torch costs seconds: not paid by `import stylenet`

    styles, masks = controls.styles_and_masks(ckpt, mask, mask_invert)
    options: Any = {"device": device, "tile": tile, "scratch": scratch, "backend": backend, "precision": precision}
    options |= {"strength": strength, "color": color, "stroke": stroke, "mix": mix}
    return stylizer.load_each(styles, masks, partial(stylizer.load, **options))
