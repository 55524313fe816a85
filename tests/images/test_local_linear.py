"""The guided filter with a colour guide, at the size of the guide and beyond."""

import numpy as np
import pytest
import torch

from stylenet.images import local_linear
from stylenet.images.local_linear import LocalLinear, boxes


def test_sums_over_windows_are_cut_at_the_borders():
    x = torch.arange(12.0, dtype=torch.float64).reshape(1, 3, 4)
    expected = [
        [sum(x[0, i, j] for i in range(3) for j in range(4) if abs(i - r) <= 1 and abs(j - c) <= 1) for c in range(4)]
        for r in range(3)
    ]
    assert torch.equal(boxes(x, 1)[0], torch.tensor(expected, dtype=torch.float64))
    assert torch.equal(boxes(x, 9), x.sum().expand(1, 3, 4))


def by_hand(guide: np.ndarray, target: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """The filter as the paper writes it, pixel by pixel: eqs. 14 to 16; (h, w, 3)."""
    height, width = guide.shape[:2]
    maps = np.empty((height, width, 4, 3))
    windows = {}
    for y in range(height):
        for x in range(width):
            window = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
            windows[y, x] = window
            colors, targets = guide[window].reshape(-1, 3), target[window].reshape(-1, 3)
            mean, mean_target = colors.mean(0), targets.mean(0)
            covariance = np.cov(colors.T, bias=True) + eps * np.eye(3)
            slope = np.linalg.solve(covariance, colors.T @ targets / len(colors) - np.outer(mean, mean_target))
            maps[y, x] = np.concatenate([slope, (mean_target - mean @ slope)[None]])
    means = np.array([[maps[windows[y, x]].mean((0, 1)) for x in range(width)] for y in range(height)])
    return np.einsum("yxc,yxck->yxk", guide, means[:, :, :3]) + means[:, :, 3]


def test_it_is_the_filter_of_the_paper():
    random = np.random.default_rng(0)
    guide, target = random.random((2, 7, 6, 3))
    photo, made = (torch.from_numpy(x).float().permute(2, 0, 1)[None] for x in (guide, target))
    found = LocalLinear(photo, made, 2, 1e-3)(photo)[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), by_hand(guide, target, 2, 1e-3), atol=1e-5)


def test_a_map_of_colours_is_applied_at_full_size_in_any_strips():
    """The same linear map everywhere: the large result is that of the large photo, with all of its detail."""
    torch.manual_seed(0)
    large = torch.rand(1, 3, 40, 60)
    small = torch.nn.functional.avg_pool2d(large, 4)
    mixed = torch.tensor([[0.5, 0.2, 0.0], [0.1, 0.4, 0.1], [0.0, 0.3, 0.6]])

    def changed(image: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,bjhw->bihw", mixed, image) + 0.05

    model = LocalLinear(small, changed(small), 2, 1e-9)
    torch.testing.assert_close(model(large), changed(large), atol=1e-3, rtol=0)
    other = LocalLinear(small, torch.rand_like(small), 2, 1e-3)
    strips = [other(large[:, :, top : top + 16], top, 40) for top in (0, 16, 32)]
    torch.testing.assert_close(torch.cat(strips, 2), other(large))


def test_large_windows_give_about_the_same_in_a_part_of_the_pixels(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    photo = torch.rand(1, 3, 90, 130)
    target = 0.5 * photo + torch.linspace(0, 0.4, 130) + 0.1 * torch.rand_like(photo)
    some = LocalLinear(photo, target, 40, 1e-3)(photo)
    monkeypatch.setattr(local_linear, "ENOUGH", 1000)
    every = LocalLinear(photo, target, 40, 1e-3)(photo)
    assert (some - every).abs().max() < 0.02 and (every - target).abs().max() > 0.05


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2)])
def test_tiny_and_flat_pictures_keep_the_target(size: tuple[int, int]):
    photo, target = torch.full((1, 3, *size), 0.3), torch.full((1, 3, *size), 0.8)
    torch.testing.assert_close(LocalLinear(photo, target, 1, 1e-6)(photo), target)
