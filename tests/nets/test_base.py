"""What networks say about themselves, and modules that say nothing."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from benchmarks.experiments.light_nets import Lite
from stylenet.nets.base import StyleNet, as_style_net
from stylenet.nets.registry import build

SMALL = {"widths": (4, 6, 8), "blocks": 1}


class Negative(nn.Module):
    def forward(self, content: Tensor, style: None = None) -> Tensor:
        return 1 - content


def test_a_network_says_what_it_is():
    net = build("johnson", **SMALL, n_styles=3, frame=24)
    assert (net.n_styles, net.smallest, net.bytes_per_pixel) == (3, 25, (4 * 10 + 20) * 4)
    assert net.config == {
        "widths": [4, 6, 8], "blocks": 1, "n_styles": 3, "upsample": "blur", "output": "sigmoid", "frame": 24
    }  # fmt: skip
    assert build("johnson").smallest == 16
    light = Lite(widths=(5, 6, 7), n_styles=2)
    assert (light.n_styles, light.smallest, light.bytes_per_pixel) == (2, 16, (5 * 10 + 20) * 4)


@pytest.mark.parametrize("size", [(1, 1), (37, 50)])
@torch.no_grad()
def test_the_two_parts_are_the_whole(size: tuple[int, int]):
    style, content = torch.tensor([[0.3, 0.7]]), torch.rand(1, 3, *size)
    for net in (build("johnson", **SMALL, n_styles=2, noise=1, frame=8).eval(), Lite(n_styles=2).eval()):
        for framed in (True, False):
            features = net.encode(content, style, framed)
            assert net.in_parts == (features is not content)
            image = net.decode(features, style, framed)[..., : size[0], : size[1]]
            assert torch.equal(image, net(content, style, framed))


@torch.no_grad()
def test_any_module_becomes_a_network_with_one_style():
    net, content = as_style_net(Negative()), torch.rand(2, 3, 5, 7)
    assert isinstance(net, StyleNet) and as_style_net(net) is net
    assert (net.n_styles, net.config, net.bytes_per_pixel, net.in_parts) == (1, {}, None, False)
    net.begin_noise_at(1, 2)  # it has none
    for made in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(made(content), 1 - content)
        assert torch.equal(made.decode(made.encode(content), None), 1 - content)


def test_the_noise_begins_where_it_is_told():
    net = build("johnson", **SMALL, noise=1)
    net.begin_noise_at(12, 34)
    assert net.get_submodule("noise").get_buffer("place").tolist() == [12, 34]
    build("johnson", **SMALL).begin_noise_at(12, 34)
