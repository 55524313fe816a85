"""Smoothing by the matting Laplacian against the equations of the papers, as dense matrices."""

import numpy as np
import torch

from stylenet.images.matting import Affinity, smoothed


def dense(photo: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """W of Levin et al. (2008), eq. 12, for (h, w, 3)."""
    height, width = photo.shape[:2]
    numbers = np.arange(height * width).reshape(height, width)
    made = np.zeros((height * width, height * width))
    for y in range(height - 2):
        for x in range(width - 2):
            window = numbers[y : y + 3, x : x + 3].reshape(-1)
            colors = photo.reshape(-1, 3)[window]
            apart = colors - colors.mean(0)
            inverse = np.linalg.inv(apart.T @ apart / 9 + eps / 9 * np.eye(3))
            made[np.ix_(window, window)] += (1 + apart @ inverse @ apart.T) / 9
    return made


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).float().permute(2, 0, 1)[None]


def test_the_affinity_is_that_of_levin():
    random = np.random.default_rng(0)
    photo, vector = random.random((2, 5, 6, 3))
    affinity, matrix = Affinity(as_tensor(photo)[0]), dense(photo)
    np.testing.assert_allclose(affinity.windows.reshape(-1), matrix.sum(1), atol=1e-4)
    np.testing.assert_allclose(affinity.diagonal.reshape(-1), matrix.diagonal(), atol=1e-4)
    expected = (matrix @ vector.reshape(-1, 3)).reshape(photo.shape)
    found = affinity.times(as_tensor(vector)[0]).permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_the_solution_is_that_of_equation_9():
    random = np.random.default_rng(1)
    photo, target = random.random((2, 9, 8, 3))
    matrix, alpha = dense(photo), 0.99
    affinity = matrix / matrix.sum(1, keepdims=True)
    expected = (1 - alpha) * np.linalg.solve(np.eye(len(affinity)) - alpha * affinity, target.reshape(-1, 3))
    found = smoothed(as_tensor(photo), as_tensor(target), alpha, 1e-5)[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.reshape(-1, 3).numpy(), expected, atol=2e-4)


def test_flat_colours_stay_flat_at_the_borders():
    torch.manual_seed(0)
    made = smoothed(torch.rand(1, 3, 12, 10), torch.full((1, 3, 12, 10), 0.6))
    torch.testing.assert_close(made, torch.full_like(made, 0.6), atol=1e-3, rtol=0)


def test_a_noisy_target_gets_the_edges_of_the_photo():
    """Larger than the size from which a smaller one is solved first."""
    torch.manual_seed(0)
    photo = torch.full((1, 3, 40, 160), 0.2)
    photo[..., 80:] = 0.7
    photo += 0.01 * torch.rand_like(photo)
    target = 1 - photo + 0.2 * (torch.rand_like(photo) - 0.5)
    made = smoothed(photo, target)
    left, right = made[..., :80], made[..., 80:]
    assert (left.mean() - 0.795).abs() < 0.01 and (right.mean() - 0.295).abs() < 0.01
    assert max(left.std(), right.std()) < 0.3 * target[..., :80].std()
    assert (made[..., 79] - made[..., 80]).mean() > 0.45


def test_pictures_without_a_window_stay_as_they_are():
    target = torch.rand(1, 3, 2, 9)
    assert smoothed(torch.rand(1, 3, 2, 9), target) is target
