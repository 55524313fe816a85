"""The guided filter: as its paper defines it, window by window."""

import numpy as np
import torch

from stylenet.images.guided_filter import LUMA, guided


def by_definition(mask: np.ndarray, guide: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Eqs. 5, 6 and 8 of He, Sun and Tang 2013 for arrays (h, w)."""
    height, width = mask.shape

    def windows(array: np.ndarray, i: int, j: int) -> np.ndarray:
        return array[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]

    a, b = np.zeros_like(mask), np.zeros_like(mask)
    for i in range(height):
        for j in range(width):
            light, given = windows(guide, i, j), windows(mask, i, j)
            a[i, j] = ((light * given).mean() - light.mean() * given.mean()) / (light.var() + eps)
            b[i, j] = given.mean() - a[i, j] * light.mean()
    means = [
        [windows(a, i, j).mean() * guide[i, j] + windows(b, i, j).mean() for j in range(width)] for i in range(height)
    ]
    return np.clip(means, 0, 1)


def test_the_filter_is_the_papers():
    photo = torch.rand(1, 3, 11, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = (photo[:, :1] + 0.3 * photo[:, 1:2]).clamp(0, 1)
    guide = (photo[0] * torch.tensor(LUMA)[:, None, None]).sum(0).numpy()
    made = guided(mask, photo, radius=2, eps=0.01)[0, 0].numpy()
    np.testing.assert_allclose(made, by_definition(mask[0, 0].numpy(), guide, 2, 0.01), atol=1e-6)


def test_a_coarse_mask_gets_the_photos_edge():
    """An edge in the middle of a square of the coarse mask."""
    photo = torch.zeros(1, 3, 64, 64)
    photo[..., 28:] = 1
    coarse = torch.zeros(1, 1, 8, 8)
    coarse[..., 3] = 0.5  # half of this square is bright
    coarse[..., 4:] = 1
    made = guided(coarse, photo)[0, 0, 32]
    assert made[27] < 0.2 and made[28] > 0.8
