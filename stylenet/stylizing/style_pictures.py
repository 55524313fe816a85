"""Pictures whose style is wanted, one or several with a share each. Knows no networks but by their ``style_of``."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stylenet.images import image_io
from stylenet.images.safe_open import once
from stylenet.nets.base import STYLE_SIDE, StyleNet
from stylenet.nets.mixes import divided, shares
from stylenet.system.errors import UserError

PHOTO = "photo"  # the name that stands for the style of the photo itself


@dataclass(frozen=True)
class StylePicture:
    """A picture, its share of the style, 0 to 1, and its name. ``image``: None for the photo that is stylized."""

    image: Image.Image | None
    share: float
    name: str


def checked(style: Any) -> None:
    """Raise UserError for what cannot be a picture whose style is wanted; no file is opened."""
    _parts(style)


def opened(style: Any) -> tuple[StylePicture, ...]:
    """The pictures of a style. ``style``: a file, a Pillow image, ``"a.jpg:0.7,b.jpg:0.3"``, a mapping of files to
    shares, or what this function has returned before. The name ``photo`` is the photo that is stylized, unless there
    is a file of that name. Raises UserError if a file cannot be read.
    """
    return tuple(_opened(one, share) for one, share in _parts(style))


def _parts(style: Any) -> list[tuple[Any, float]]:
    if isinstance(style, tuple) and style and all(isinstance(one, StylePicture) for one in style):
        return [(one, one.share) for one in style]
    try:
        if isinstance(style, Mapping) and style:
            return divided([*style.items()])
        if isinstance(style, str) and style:
            return [(style, 1.0)] if os.path.lexists(os.path.expanduser(style)) else shares(style)
    except ValueError as error:
        raise UserError(f"style={_shown(style)}: {error}.") from None
    if isinstance(style, Image.Image) or (isinstance(style, Path) and str(style)):
        return [(style, 1.0)]
    raise UserError(
        f"style={_shown(style)}: give a picture: its file, or a Pillow image; or several with a share each, such as "
        "style=a.jpg:0.7,b.jpg:0.3."
    )


def _opened(one: Any, share: float) -> StylePicture:
    if isinstance(one, StylePicture):
        return one
    if isinstance(one, Image.Image):
        return StylePicture(image_io.fit(image_io.open_rgb(one), STYLE_SIDE), share, "picture")
    path = Path(one).expanduser()
    if str(one) == PHOTO and not path.exists():
        return StylePicture(None, share, PHOTO)
    if not path.exists():
        raise UserError(f"style={one}: there is no such file. Give a picture whose style is wanted.")
    return StylePicture(image_io.fit(image_io.open_rgb(once(path)), STYLE_SIDE), share, path.stem)


@torch.inference_mode()
def weights_of(net: StyleNet, pictures: Sequence[StylePicture], device: torch.device) -> Tensor:
    """The style ``(n_styles)`` of these pictures, each with its share, in a network for any style. The share of the
    photo itself is missing in it, see :func:`own_share`.
    """
    style = torch.zeros(net.n_styles, device=device)
    for one in pictures:
        if one.image is not None:
            style += one.share * net.style_of(image_io.to_tensor(one.image).to(device))[0]
    return style


def own_share(pictures: Sequence[StylePicture]) -> float:
    """The share of the style that is the photo's own."""
    return sum(one.share for one in pictures if one.image is None)


@torch.inference_mode()
def own_style(net: StyleNet, photo: Tensor) -> Tensor:
    """The style ``(1, n_styles)`` of a photo ``(1, 3, h, w)`` in [0, 1], which is scaled down as paintings are."""
    height, width = photo.shape[2:]
    scale = STYLE_SIDE / max(height, width)
    if scale < 1:
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        photo = F.interpolate(photo, size, mode="bilinear", antialias=True)
    return net.style_of(photo)


def refuse_own(pictures: Sequence[StylePicture], option: str) -> None:
    """Raise UserError if the photo's own style has a share where there is no photo."""
    if own_share(pictures):
        raise UserError(f"{option}: the style {PHOTO!r} is that of each photo, which is not known here: give pictures.")


def name_of(pictures: Sequence[StylePicture]) -> str:
    """A name for results: those of the pictures that have a share."""
    return "+".join(dict.fromkeys(one.name for one in pictures if one.share > 0))


def _shown(style: Any) -> str:
    return style if isinstance(style, str) else f"{style!r:.80}"
