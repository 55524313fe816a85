"""Pictures that go on at their other side: a rolled picture gives the rolled result."""

from typing import Any

import pytest
import torch
from torch import Tensor

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import registry
from stylenet.nets.base import as_style_net
from stylenet.nets.fuse import fast
from stylenet.runtime import backends, tiling
from stylenet.runtime.scratch import Scratch

SIZE = (48, 64)
NETS: dict[str, dict[str, Any]] = {
    "johnson": {"widths": [8, 8, 8], "blocks": 1, "frame": 8},
    "nearest": {"widths": [8, 8, 8], "blocks": 1, "upsample": "nearest"},
    "adain": {"widths": [4, 4, 4]},
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    net: Any = registry.build("adain" if name == "adain" else "johnson", **NETS[name]).eval()
    if name == "adain":
        net.encoder.take(vgg_weights("vgg16").state)
    net.last.weight.data.mul_(10)  # so that pictures have some contrast
    return net


@pytest.fixture
def photo() -> Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def rolled(x: Tensor, wrap: str, down: int = 24, across: int = 32) -> Tensor:
    return x.roll((down * ("y" in wrap), across * ("x" in wrap)), (2, 3))


@pytest.mark.parametrize("wrap", ["x", "y", "xy"])
@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_a_rolled_picture_gives_the_rolled_result(name: str, wrap: str, photo: Tensor):
    net = made(name)
    around = net.wrapped(wrap)
    torch.testing.assert_close(around(rolled(photo, wrap)), rolled(around(photo), wrap), atol=1e-5, rtol=0)
    assert (net(rolled(photo, wrap)) - rolled(net(photo), wrap)).abs().max() > 0.01
    torch.testing.assert_close(fast(around)(photo), around(photo), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_other_axis_has_the_borders_it_had(photo: Tensor):
    """Of a picture that repeats itself, the result does so too; beside borders it does not."""
    photo = photo[..., :16].repeat(1, 1, 1, 4)
    net = made("nearest")
    around, bordered = net.wrapped("x")(photo), net(photo)
    torch.testing.assert_close(around[..., :16], around[..., 16:32], atol=1e-5, rtol=0)
    assert (bordered[..., :16] - bordered[..., 16:32]).abs().max() > 0.05
    assert (around.roll(24, 2) - net.wrapped("x")(photo.roll(24, 2))).abs().max() > 0.05


@pytest.mark.parametrize("wrap", ["x", "xy"])
@pytest.mark.parametrize("name", NETS)
@torch.inference_mode()
def test_strips_paint_what_the_whole_gives(name: str, wrap: str, photo: Tensor):
    around, strips = made(name).wrapped(wrap), torch.empty_like(photo)

    def write(top: int, rows: Tensor) -> None:
        strips[:, :, top : top + rows.shape[2]] = rows

    with Scratch(memory=2**30) as scratch:
        tiling.in_strips(around, SIZE, lambda top, bottom: photo[:, :, top:bottom], write, scratch, None, 8)
    torch.testing.assert_close(strips, around(photo), atol=2e-5, rtol=0)


@torch.inference_mode()
def test_a_graph_wraps_too(photo: Tensor, tmp_path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path))
    net = made("johnson")
    around = net.wrapped("x")
    for one in (net, around):  # each has a graph of its own in the cache
        run = backends.start(one, torch.device("cpu"), "openvino", "fp32")
        torch.testing.assert_close(run(photo, None), one(photo), atol=1e-3, rtol=0)


def test_a_network_that_is_no_stylenet_cannot():
    with pytest.raises(ValueError, match="cannot wrap around"):
        as_style_net(torch.nn.Identity()).wrapped("x")
