"""net=lite, a tenth of the cost; and the light networks of benchmarks/, which must stay fit for comparison."""

from typing import Any

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from benchmarks.experiments.light_nets import Lite
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.nets.cost import multiply_adds, parameters
from stylenet.nets.registry import build
from stylenet.system.errors import UserError

DESIGNS: dict[str, dict[str, Any]] = {
    "folded": {"widths": (8, 12, 16, 24), "blocks": 1},
    "separable": {"widths": (8, 16, 24), "blocks": 1, "block": "separable", "kernel": 5},
    "bottleneck": {"widths": (8, 12, 24), "blocks": 1, "block": "bottleneck", "mid": 8, "stem": 2, "detail": False},
    "late": {"widths": (8, 12, 24), "blocks": 1, "stem": 1, "order": "upsample_conv", "detail": False},
}
every_design = pytest.mark.parametrize("design", DESIGNS)


def photo(side: int) -> torch.Tensor:
    return to_tensor(open_rgb(ROOT / "stylenet/assets/photos/val/castle.jpg").resize((side, side)))


def net(design: str, **args: Any) -> nn.Module:
    """A network as unlike a fresh one as training makes it: norms that scale and shift."""
    torch.manual_seed(0)
    made = Lite(**(DESIGNS[design] | args)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return made


# --- net=lite


def test_net_lite_costs_a_tenth_of_johnson():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        args: Any = OmegaConf.to_container(compose("train", ["style=starry_night", "net=lite"]).net)
    lite, johnson = build(**args), build("johnson", frame=args["frame"])
    for side in (256, 1000):
        assert multiply_adds(lite, side, side) <= multiply_adds(johnson, side, side) / 10
    assert parameters(lite) < parameters(johnson) / 10


COUNTS = [((32, 64, 128), 10_148_642_816), ((8, 18, 36), 977_780_736), ((8, 16, 32), 838_467_584)]


@pytest.mark.parametrize(("widths", "expected"), COUNTS)
def test_johnsons_multiply_adds_by_hand(widths: tuple[int, int, int], expected: int):
    a, b, c = widths
    down = 81 * 3 * a * 256**2 + 9 * a * b * 128**2 + 9 * b * c * 64**2
    trunk = 10 * 9 * c * c * 64**2
    up = 9 * c * b * 128**2 + 9 * b * a * 256**2 + 81 * a * 3 * 256**2
    filters = 25 * c * 64**2 + 9 * c * 128**2 + 9 * b * 256**2
    made = build("johnson", widths=widths)
    assert multiply_adds(made) == down + trunk + up + filters == expected
    assert multiply_adds(build("johnson", widths=widths, upsample="nearest")) == down + trunk + up
    assert next(made.parameters()).device.type == "cpu"  # counted on a copy


# --- the light networks


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            {"widths": (2, 3, 4, 5), "blocks": 2},  # at 64 x 64: 256 places at a quarter, 64 at an eighth
            9 * 48 * 4 * 256 + 9 * 4 * 5 * 64 + 2 * 2 * 9 * 5 * 5 * 64 + 25 * 5 * 64  # folded, halved, blocks, Nyquist
            + 9 * 5 * 4 * 64 + 9 * 4 * 256  # convolution, low-pass
            + 9 * 4 * 3 * 256 + 9 * 3 * 1024
            + 9 * 3 * 2 * 1024 + 9 * 2 * 4096
            + 9 * 3 * 2 * 4096 + 9 * 2 * 3 * 4096,  # the picture joins in, last
        ),
        (
            {"widths": (2, 4), "blocks": 1, "block": "bottleneck", "mid": 3, "stem": 1, "kernel": 9,
             "detail": False, "upsample": "nearest"},
            81 * 3 * 2 * 4096 + 9 * 2 * 4 * 1024 + (4 * 3 + 9 * 3 * 3 + 3 * 4) * 1024
            + 9 * 4 * 2 * 1024 + 81 * 2 * 3 * 4096,
        ),
    ],
)  # fmt: skip
def test_multiply_adds_by_hand(args: dict[str, Any], expected: int):
    assert multiply_adds(Lite(**args), 64, 64) == expected


def test_width_depth_and_styles_make_the_parameters():
    made = Lite(widths=(2, 3, 4), blocks=1, block="separable", n_styles=3)
    folded, trunk, up, ends = 9 * 48 * 4, 2 * (9 * 4 + 16), 9 * 4 * 3 + 9 * 3 * 2, 9 * 3 * 2 + 9 * 2 * 3 + 3
    assert parameters(made) == folded + trunk + up + ends + 3 * 2 * (4 + 4 + 4 + 3 + 2)


@every_design
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (1, 200), (66, 131)])
@torch.no_grad()
def test_any_size_in_the_same_size_out(size: tuple[int, int], design: str):
    out = net(design)(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, *size)
    assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1


@every_design
@torch.no_grad()
def test_a_block_adds_to_what_it_gets(design: str):
    """Blocks whose last norm gives nothing change nothing: the network is that without them."""
    made, none = net(design), net(design, blocks=0)
    for key, parameter in made.get_submodule("trunk").named_parameters():
        if key.startswith("0.norm3" if design == "bottleneck" else "0.norm2"):
            parameter.zero_()
    none.load_state_dict({key: value for key, value in made.state_dict().items() if "trunk" not in key})
    torch.testing.assert_close(made(photo(48)), none(photo(48)))


@every_design
@torch.no_grad()
def test_each_style_of_several_is_a_network_of_its_own(design: str):
    several, image = net(design, n_styles=3), photo(48)
    both = several(image.expand(2, -1, -1, -1), torch.eye(3)[[2, 0]])
    for row, k in zip(both, (2, 0), strict=True):
        single = net(design)
        state = several.state_dict()
        single.load_state_dict({key: x[k : k + 1] if "norm" in key else x for key, x in state.items()})
        torch.testing.assert_close(row[None], single(image), atol=1e-5, rtol=0)
    assert (both[0] - both[1]).abs().mean() > 0.01


def test_the_package_knows_them_only_when_they_are_registered():
    with pytest.raises(UserError, match="net=lite: no such network. Known: .*johnson"):
        build("lite")
