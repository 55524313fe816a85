"""Several styles of one network in one picture: a mask says where each is. The network paints them in a single pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from stylenet.nets.regions import Regions

LARGEST = 1024  # longer side in pixels of the masks that a network sees: they are soft at any size


@dataclass(frozen=True)
class Areas:
    """``weights``: the style of each mask, ``(k, n_styles)``. ``masks``: ``(k, h, w)`` of uint8, 255 where it is."""

    weights: np.ndarray
    masks: np.ndarray

    def of(self, height: int, width: int, device: torch.device) -> Regions:
        """The same for a picture of this size."""
        masks = torch.from_numpy(self.masks).to(device, torch.float32) / 255
        return Regions(torch.from_numpy(self.weights).to(device), masks, (height, width))


def areas(weights: torch.Tensor, masks: Sequence[Image.Image]) -> Areas:
    """The areas of styles ``(k, n_styles)`` with these masks of mode L."""
    size = _common(masks, LARGEST)
    return Areas(weights.float().cpu().numpy(), np.stack([_resized(mask, size) for mask in masks]))


def covered(masks: Sequence[Image.Image]) -> Image.Image | None:
    """Where masks are white together; None if that is everywhere."""
    size = _common(masks)
    total = sum(_resized(mask, size).astype(np.uint16) for mask in masks)
    cover = np.minimum(np.asarray(total), 255).astype(np.uint8)
    return None if (cover == 255).all() else Image.fromarray(cover)


def _common(masks: Sequence[Image.Image], largest: int | None = None) -> tuple[int, int]:
    """A size for all masks: that of the largest sides."""
    width, height = (max(mask.size[axis] for mask in masks) for axis in (0, 1))
    scale = min(1.0, largest / max(width, height)) if largest else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(mask: Image.Image, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(mask if mask.size == size else mask.resize(size, Image.Resampling.BICUBIC))
