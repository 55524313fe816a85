"""Several styles in one pass: masks say where each is, and each region has statistics of its own."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.nets import regions, registry
from stylenet.nets.layers import EPS, InstanceNorm, Noise
from stylenet.nets.regions import NOWHERE, Regions
from stylenet.runtime import tiling
from stylenet.runtime.scratch import Scratch


def halves(n_styles: int, size: tuple[int, int], left: int = 0, right: int = 1) -> Regions:
    """One style on the left half, another on the right."""
    mask = torch.zeros(size)
    mask[:, : size[1] // 2] = 1
    return Regions(torch.eye(n_styles)[[left, right]], torch.stack([mask, 1 - mask]), size)


def test_shares_lie_between_the_cells_of_a_mask():
    """Eight pixels over a mask of four cells: their middles lie at -0.25, 0.25, 0.75 ... of its cells."""
    mask = torch.tensor([[1.0, 1, 0, 0]])
    shares = Regions(torch.eye(2), torch.stack([mask, 1 - mask]), (4, 8)).shares(4, 8)
    left = torch.tensor([1, 1, 1, 0.75, 0.25, 0, 0, 0])
    torch.testing.assert_close(shares[0], ((left + NOWHERE) / (1 + 2 * NOWHERE)).expand(4, 8))
    torch.testing.assert_close(shares.sum(0), torch.ones(4, 8))


def test_a_frame_lies_outside_of_the_picture():
    """Of a picture of 8 by 8 with 4 pixels around it, a quarter of the size are 4 by 4 cells: two of them inside."""
    mask = torch.eye(2)[:, None].expand(2, 8, 2).repeat_interleave(4, 2)  # the first style in the left half
    shares = Regions(torch.eye(2), mask, (8, 8)).framed(4).shares(4, 4)
    assert shares[0, 0].round().tolist() == [1, 1, 0, 0]


def test_where_no_mask_is_white_all_styles_have_a_share():
    shares = Regions(torch.eye(2), torch.zeros(2, 3, 3), (6, 6)).shares(6, 6)
    torch.testing.assert_close(shares, torch.full((2, 6, 6), 0.5))


@torch.no_grad()
def test_each_region_has_the_statistics_of_its_own(photo: Tensor):
    """As if each half were a picture by itself."""
    norm = InstanceNorm(3, 2, relu=True)
    norm.weight.data, norm.bias.data = torch.tensor([[1.0, 2, 3], [3, 2, 1]]), torch.tensor([[0.0, 1, 0], [1, 0, 1]])
    photo[..., 20:] = photo[..., 20:] * 0.1 + 5
    made = norm(photo, halves(2, (40, 40)))
    for style, part in ((0, slice(0, 20)), (1, slice(20, 40))):
        half = photo[..., part]
        alone = F.instance_norm(half, eps=EPS) * norm.weight[style][:, None, None] + norm.bias[style][:, None, None]
        assert (made[..., part] - alone.relu())[..., 1:-1].abs().mean() < 0.05
    whole = F.instance_norm(photo, eps=EPS)
    assert (made[..., :20] - (whole * norm.weight[0][:, None, None]).relu()[..., :20]).abs().mean() > 0.5


def test_one_mask_that_is_white_everywhere_is_that_style_alone(photo: Tensor):
    net = johnson()
    white = torch.stack([torch.zeros(1, 1), torch.ones(1, 1)])
    made = net(photo, Regions(torch.eye(3)[:2], white, (40, 40)))
    torch.testing.assert_close(made, net(photo, torch.eye(3)[1:2]), atol=0.02, rtol=0)
    assert (made - net(photo)).abs().max() > 0.1


def test_noise_is_that_of_each_region(photo: Tensor):
    noise = Noise(3, 2).eval()
    noise.weight.data = torch.tensor([[0.0, 1, 2], [5, 0, 0]])
    added = noise(photo, halves(2, (40, 40))) - photo
    every = noise(torch.zeros(1, 3, 40, 40), torch.tensor([[1.0, 0]]))
    torch.testing.assert_close(added[..., :19], every[..., :19], atol=0.02, rtol=0)
    assert added[:, 0, :, 21:].abs().round().unique().tolist() == [5]


@pytest.mark.parametrize("size", [(71, 64), (18, 45)])
@pytest.mark.parametrize("name", ["johnson", "adain"])
def test_strips_paint_what_the_whole_gives(name: str, size: tuple[int, int]):
    net = johnson(frame=8) if name == "johnson" else adain()
    content = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    style = halves(3, size)
    if name == "adain":
        one = net.style_of(content).detach()
        style = Regions(torch.cat([one, one * 1.5]), style.masks, size)
    with torch.inference_mode():
        whole = net(content, style)
        strips = torch.empty_like(content)

        def write(top: int, rows: Tensor) -> None:
            strips[:, :, top : top + rows.shape[2]] = rows

        with Scratch(memory=2**30) as scratch:
            tiling.in_strips(net, size, lambda top, bottom: content[:, :, top:bottom], write, scratch, style, 8)
    torch.testing.assert_close(strips, whole, atol=2e-5, rtol=0)


def test_moments_far_from_zero_keep_their_digits():
    """float32 has no digits left for the squares of numbers near 1000 that differ by a hundredth."""
    x = 1000 + 0.01 * torch.randn(1, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    mean, var = regions.moments(x, Regions(torch.eye(2), torch.ones(2, 1, 1), (30, 30)))
    torch.testing.assert_close(var[0, 0], x.double().var((0, 2, 3), correction=0).float(), rtol=1e-3, atol=0)
    torch.testing.assert_close(mean[0, 0], x.mean((0, 2, 3)))


@pytest.fixture
def photo() -> Tensor:
    return torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def johnson(**more: Any) -> Any:
    torch.manual_seed(0)
    net = registry.build("johnson", widths=[8, 8, 8], blocks=1, n_styles=3, noise=1, **more).eval()
    with torch.no_grad():
        for name in registry.of_styles(net):
            net.get_parameter(name).add_(torch.randn(net.get_parameter(name).shape) * 0.5)
    return net


def adain() -> Any:
    torch.manual_seed(0)
    return registry.build("adain", widths=[4, 4, 4]).eval()
