"""Stylize any image container: Pillow images, paths, arrays, tensors. Knows nothing about networks."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylenet.images import image_io, safe_open
from stylenet.images.image_io import Picture
from stylenet.system.errors import UserError

log = logging.getLogger(__name__)
Style = Tensor | Sequence[float] | str | os.PathLike[str] | Image.Image | Mapping[Any, float] | None
Progress = Callable[[float], object]


class ImageStylizer:
    """Stylizes any image container; the result has the same kind and size.

    ``it(image)`` takes a Pillow image or a path (result: Pillow, upright, sRGB, alpha kept), a numpy array (h, w, 3) of
    uint8 or of floats in [0, 1], or a tensor (b, 3, h, w) of floats in [0, 1], on any device. ``style``: for a network
    with several styles, the name of one, or weights (n_styles) or (b, n_styles); for a network for any style, a picture
    as :class:`stylenet.stylizing.controls.Controls` takes it; None for the default.

    ``stylize_arrays`` and ``stylize_tensor`` do the work, on ``device``. ``name``: used in the names of results.
    ``megapixels``: refuse larger files; None for Pillow's limit of 179 million pixels.
    """

    name: str
    device: torch.device
    megapixels: float | None = None

    def stylize_arrays(self, photos: Sequence[np.ndarray], style: Style, progress: Progress | None) -> list[np.ndarray]:
        """Stylize photos (h, w, 3) of one shape, all uint8 or all uint16; the results have the same type."""
        raise NotImplementedError

    def stylize_tensor(self, photos: Tensor, style: Style) -> Tensor:
        """Stylize photos (b, 3, h, w) of floats in [0, 1]; the result has the same shape."""
        raise NotImplementedError

    def require_style(self) -> None:
        """Raise UserError if no style was chosen, and the network has no default."""

    def batch_size(self, height: int, width: int) -> int:
        """The best number of pictures of this size for one call of :meth:`pictures`."""
        return 1

    @overload
    def __call__(self, image: str | os.PathLike[str] | Image.Image, style: Style = None) -> Image.Image: ...
    @overload
    def __call__(self, image: np.ndarray, style: Style = None) -> np.ndarray: ...
    @overload
    def __call__(self, image: Tensor, style: Style = None) -> Tensor: ...
    def __call__(self, image: Any, style: Style = None) -> Any:
        """The stylized image; see the class. Raises UserError for other types, shapes or ranges, and out of memory."""
        if isinstance(image, str | os.PathLike | Image.Image):
            with safe_open.allowed(self.megapixels):
                picture = image_io.read(image)
            made = self.picture(replace(picture, note=""), style)
            if made.note:
                log.warning("%s.", made.note.capitalize())
            return made.pil()
        if isinstance(image, np.ndarray):
            return self._array(image, style)
        if isinstance(image, Tensor):
            _check(image.ndim == 4 and image.shape[1] == 3 and image.numel() > 0, image, "(b, 3, h, w) of floats")
            _check(image.is_floating_point(), image, "float, in [0, 1]")
            _check_range(image)
            made = self.stylize_tensor(image.detach(), style)
            return made.to(image, copy=True)  # a copy can be used in training, unlike an inference tensor
        allowed = "a Pillow image, a path, a numpy array or a tensor"
        raise UserError(f"Cannot stylize a {type(image).__name__}: give {allowed}.")

    def picture(self, picture: Picture, style: Style = None, progress: Progress | None = None) -> Picture:
        """Stylize a picture as ``image_io.read`` returns it. Alpha, 16 bits and metadata are kept.

        ``progress`` is called with the finished fraction, 0 to 1, if the picture is processed in strips.
        """
        (made,) = self.pictures([picture], style, progress)
        return made

    def pictures(
        self, pictures: Sequence[Picture], style: Style = None, progress: Progress | None = None
    ) -> list[Picture]:
        """Stylize pictures of one size and bit depth as a batch, which is faster for small pictures."""
        made = self.stylize_arrays([picture.rgb for picture in pictures], style, progress)
        return [replace(picture, rgb=rgb) for picture, rgb in zip(pictures, made, strict=True)]

    def _array(self, image: np.ndarray, style: Style) -> np.ndarray:
        _check(image.ndim == 3 and image.shape[2] == 3 and image.size > 0, image, "(h, w, 3)")
        _check(image.dtype == np.uint8 or image.dtype.kind == "f", image, "uint8, or float in [0, 1]")
        if image.dtype == np.uint8:
            return self.stylize_arrays([image], style, None)[0]
        content = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        _check_range(content)
        return self.stylize_tensor(content, style)[0].permute(1, 2, 0).cpu().numpy().astype(image.dtype)


def _check(right: bool, image: np.ndarray | Tensor, allowed: str) -> None:
    if not right:
        given = f"{type(image).__name__} of shape {tuple(image.shape)} and type {image.dtype}"
        raise UserError(f"Cannot stylize a {given}: give {allowed}.")


def _check_range(image: Tensor) -> None:
    low, high = image.min().item(), image.max().item()
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails it
        raise UserError(f"The image holds values from {low:g} to {high:g}; give floats in [0, 1], or a uint8 array.")
