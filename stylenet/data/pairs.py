"""Photos paired with paintings, for networks that learn any style. Knows nothing about networks, losses or Lightning.

Like a crop, a painting is a function of (seed, k), see :mod:`stylenet.data.crops`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stylenet.data.crops import Crops

OTHER_SEED = 2**32  # added to the run's: paintings come in another order than photos
PARTS = (0.1, 1.0)  # least and largest share of a painting's area in a crop: strokes of several sizes
RATIOS = (0.8, 1.25)
RECOLOURED = 0.5  # share of the crops
LUMA = (0.299, 0.587, 0.114)


class PaintingCrops(Crops):
    """Random crops of paintings, uint8 (3, size, size), by sample number; half of them in other colours."""

    def __init__(self, paintings: list[Any], size: int, seed: int) -> None:
        super().__init__(paintings, size, seed + OTHER_SEED, PARTS, RATIOS, flip=True)

    def __getitem__(self, k: int) -> Tensor:
        crop = super().__getitem__(k)
        drawn = np.random.default_rng((self.seed, 5, k)).random(4)
        return recoloured(crop, *drawn[1:]) if drawn[0] < RECOLOURED else crop


def recoloured(crop: Tensor, hue: float, saturation: float, contrast: float) -> Tensor:
    """The picture, uint8 (3, h, w), with all hues turned by ``hue`` of a full circle, which keeps the luminance, and
    with 0.5 to 1.5 times the saturation and 0.7 to 1.3 times the contrast; all three are given from 0 to 1.
    """
    x = crop.numpy().astype(np.float32)
    luma = np.tensordot(np.array(LUMA, np.float32), x, 1)
    red, blue = x[0] - luma, x[2] - luma  # what is left has two dimensions: the hue is an angle there
    angle, strength = 2 * np.pi * hue, 0.5 + saturation
    turned = [
        strength * (np.cos(angle) * red - np.sin(angle) * blue),
        strength * (np.sin(angle) * red + np.cos(angle) * blue),
    ]
    mean = luma.mean()
    luma = mean + (0.7 + 0.6 * contrast) * (luma - mean)
    green = -(LUMA[0] * turned[0] + LUMA[2] * turned[1]) / LUMA[1]  # so that the luminance is what it was
    made = np.stack([luma + turned[0], luma + green, luma + turned[1]])
    return torch.from_numpy(made.round().clip(0, 255).astype(np.uint8))


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """``(photo, painting)`` of each sample: item k of both. The paintings begin anew after the last."""

    def __init__(self, photos: Any, paintings: Any, repeat: bool = False) -> None:
        self.photos, self.paintings, self.repeat = photos, paintings, repeat

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        return self.photos[k], self.paintings[k % len(self.paintings) if self.repeat else k]
