"""Features take the mean and the covariance of others, as a whole and region by region."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stylenet.nets.transport import FEWEST, moved


def features(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Channels that depend on each other, with means of their own."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(channels, channels, generator=random) @ torch.randn(channels, height * width, generator=random)
    return (mixed + torch.arange(channels)[:, None] * 3.0).view(1, channels, height, width)


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    places = x[0].flatten(1).numpy()
    return places.mean(1), np.cov(places, bias=True)


def test_one_channel_by_hand():
    """1 and 3 have the mean 2 and the deviation 1; with the mean 5 and the deviation 0.5 they are 4.5 and 5.5."""
    content, style = torch.tensor([[1.0, 3.0]]).view(1, 1, 1, 2), torch.tensor([[4.5, 5.5, 5.5, 4.5]]).view(1, 1, 2, 2)
    torch.testing.assert_close(moved(content, style).flatten(), torch.tensor([4.5, 5.5]), rtol=0, atol=1e-5)


def test_mean_and_covariance_are_the_styles():
    content, style = features(6, 20, 30, 0), features(6, 17, 23, 1)
    for found, wanted in zip(moments(moved(content, style)), moments(style), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_features_stay_where_they_have_these_statistics():
    content = features(6, 20, 30, 0)
    torch.testing.assert_close(moved(content, content), content, rtol=0, atol=1e-3)


def test_features_move_less_than_by_whitening_and_colouring():
    content, style = features(6, 20, 30, 0), features(6, 17, 23, 1)
    (mean, covariance), (other_mean, other) = moments(content), moments(style)

    def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * values**exponent) @ vectors.T

    places = content[0].flatten(1).numpy()
    coloured = power(other, 0.5) @ power(covariance, -0.5) @ (places - mean[:, None]) + other_mean[:, None]
    np.testing.assert_allclose(np.cov(coloured, bias=True), other, rtol=1e-3, atol=1e-3)  # the same statistics
    mine = moved(content, style)[0].flatten(1).numpy()
    assert np.square(mine - places).mean() < 0.95 * np.square(coloured - places).mean()


@pytest.mark.parametrize("constant", ["content", "style", "both"])
def test_one_colour_gives_numbers(constant: str):
    content, style = features(4, 9, 9, 0), features(4, 9, 9, 1)
    flat = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 9, 9)
    content = flat if constant in ("content", "both") else content
    style = flat if constant in ("style", "both") else style
    found = moved(content, style)
    assert found.isfinite().all()
    np.testing.assert_allclose(moments(found)[0], moments(style)[0], atol=1e-2)
    assert float(found.var((2, 3)).max()) < 1e-3


def test_a_channel_that_is_always_0_stays_so():
    content, style = features(4, 9, 9, 0), features(4, 9, 9, 1)
    content[:, 2], style[:, 2] = 0, 0
    torch.testing.assert_close(moved(content, style)[:, 2], torch.zeros(1, 9, 9), rtol=0, atol=1e-4)


def test_each_region_takes_the_statistics_of_its_own():
    """The labels have eight times the size of the features, as those of a photo have at relu4_1."""
    content, style = features(3, 12, 16, 0), features(3, 10, 10, 1)
    mine, theirs = torch.zeros(96, 128, dtype=torch.long), torch.zeros(80, 80, dtype=torch.long)
    mine[:, 64:], theirs[40:] = 7, 7
    found = moved(content, style, (mine, theirs))
    for here, there in ((found[..., :8], style[:, :, :5]), (found[..., 8:], style[:, :, 5:])):
        for mine_, theirs_ in zip(moments(here), moments(there), strict=True):
            np.testing.assert_allclose(mine_, theirs_, rtol=1e-3, atol=1e-3)


def test_a_region_that_the_style_lacks_takes_those_of_the_whole():
    content, style = features(3, 12, 16, 0), features(3, 10, 10, 1)
    mine, theirs = torch.zeros(12, 16, dtype=torch.long), torch.zeros(10, 10, dtype=torch.long)
    mine[:, 8:] = 3
    found = moved(content, style, (mine, theirs))
    for mine_, theirs_ in zip(moments(found[..., 8:]), moments(style), strict=True):
        np.testing.assert_allclose(mine_, theirs_, rtol=1e-3, atol=1e-3)


def test_a_tiny_region_moves_with_the_whole_picture():
    """A few places have no covariance to speak of."""
    content, style = features(3, 12, 16, 0), features(3, 10, 10, 1)
    mine, theirs = torch.zeros(12, 16, dtype=torch.long), torch.zeros(10, 10, dtype=torch.long)
    mine[0, : FEWEST - 1] = 1
    theirs[0, 0] = 1
    found = moved(content, style, (mine, theirs))
    torch.testing.assert_close(found[0, :, 0, :7], moved(content, style)[0, :, 0, :7])
