"""Colours of pictures: conversion to CIE Lab, and transfer of the colour distribution from one picture to another.

Tensors are (b, 3, h, w) of sRGB in [0, 1].
"""

from collections.abc import Iterable

import torch
from torch import Tensor

# Linear sRGB to CIE XYZ (IEC 61966-2-1); the D65 white point.
_WHITE = torch.tensor([0.95047, 1.0, 1.08883])
_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
_LAB = torch.tensor([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_KNEE = 6 / 29  # below it, Lab is linear instead of a cube root
_LEAST = 1e-5  # variance added to each channel: the covariance of a grey picture is singular


def lab(rgb: Tensor) -> Tensor:
    """CIE Lab: lightness 0 to 100, and two colour channels of about -100 to 100, 0 for grey."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4)
    xyz = _mixed(linear, _XYZ / _WHITE[:, None])
    root = torch.where(xyz > _KNEE**3, xyz.clamp(min=0) ** (1 / 3), xyz / (3 * _KNEE**2) + 4 / 29)
    made = _mixed(root, _LAB)
    made[:, 0] -= 16
    return made


def rgb(lab: Tensor) -> Tensor:
    """The inverse of :func:`lab`, clamped to the sRGB gamut."""
    lifted = torch.cat([lab[:, :1] + 16, lab[:, 1:]], 1)
    root = _mixed(lifted, torch.linalg.inv(_LAB))
    xyz = torch.where(root > _KNEE, root**3, 3 * _KNEE**2 * (root - 4 / 29))
    linear = _mixed(xyz, torch.linalg.inv(_XYZ / _WHITE[:, None])).clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _mixed(image: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", matrix.to(image), image)


def luminance(photo: Tensor, stylized: Tensor) -> Tensor:
    """The lightness of ``stylized`` with the colours of ``photo``: "luminance-only transfer" (Gatys et al. 2016,
    "Preserving color in neural artistic style transfer", section 3.2), in Lab.
    """
    return rgb(torch.cat([lab(stylized)[:, :1], lab(photo)[:, 1:]], 1))


class Colors:
    """Mean (3) and covariance (3, 3) of the colours of a picture, accumulated over parts of it."""

    def __init__(self, parts: Iterable[Tensor] = ()):
        self.count, self._sum, self._products = 0, torch.zeros(3).double(), torch.zeros(3, 3).double()
        for part in parts:
            self.add(part)

    def add(self, part: Tensor) -> None:
        pixels = part.movedim(1, -1).reshape(-1, 3).cpu()
        around = pixels - 0.5  # centred: float32 products keep their precision
        self.count += len(pixels)
        self._sum += around.sum(0, dtype=torch.float64)
        self._products += (around.T @ around).double()

    @property
    def mean(self) -> Tensor:
        return self._sum / self.count + 0.5

    @property
    def covariance(self) -> Tensor:
        mean = self._sum / self.count
        return self._products / self.count - mean[:, None] * mean


class Match:
    """The affine map from one colour distribution to another: of all that yield the mean and covariance of ``to``, the
    one that changes colours least.

    A = S_f^-1/2 (S_f^1/2 S_t S_f^1/2)^1/2 S_f^-1/2, b = m_t - A m_f (Pitie and Kokaram 2007, "The linear
    Monge-Kantorovitch linear colour mapping for example-based colour transfer"; it aligns the covariances, as CORAL
    does, Sun et al. 2016). ``most``, ``least``: limits of the stretch along any colour direction; None for none.
    """

    def __init__(self, from_: Colors, to: Colors, most: float | None = None, least: float | None = None):
        more = torch.eye(3).double() * _LEAST
        root = _root(from_.covariance + more)
        back = torch.linalg.inv(root)
        matrix = back @ _root(root @ (to.covariance + more) @ root) @ back
        if most is not None or least is not None:
            stretches, directions = torch.linalg.eigh((matrix + matrix.T) / 2)
            matrix = directions @ torch.diag(stretches.clamp(least, most)) @ directions.T
        self.matrix, self.shift = matrix, to.mean - matrix @ from_.mean

    def __call__(self, image: Tensor) -> Tensor:
        """The image with its colours mapped, clamped to [0, 1]."""
        return (_mixed(image, self.matrix) + self.shift.to(image)[:, None, None]).clamp(0, 1)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
