"""Networks of other makers: ONNX files whose arithmetic is known, and our own network as such a file."""

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from their_network import their_output, their_weights
from torch import Tensor, nn

from stylenet.data.paintings import open_painting
from stylenet.evaluation.candidates import candidate
from stylenet.evaluation.metrics import evaluate, squares
from stylenet.evaluation.onnx_net import OnnxNet
from stylenet.nets.registry import build
from stylenet.system.errors import UserError

CPU = torch.device("cpu")


def onnx_file(
    path: Path, operations: list[tuple], shape: list, inputs: int = 1, floats: int = TensorProto.FLOAT
) -> Path:
    """A chain of operations ("Mul", 2.0) on the first of ``inputs``; ("Sign",) and the like take no number."""
    nodes, constants, at = [], [], "x0"
    for number, (name, *values) in enumerate(operations):
        constants += [helper.make_tensor(f"c{number}", floats, [], values)] if values else []
        nodes.append(helper.make_node(name, [at, f"c{number}"][: 1 + len(values)], [f"y{number}"]))
        at = f"y{number}"
    given = [helper.make_tensor_value_info(f"x{i}", floats, shape) for i in range(inputs)]
    graph = helper.make_graph(
        nodes, "g", given, [helper.make_tensor_value_info(at, floats, ["a", "b", "c", "d"])], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


ANY, ANY_LAST, FIXED = [1, 3, "h", "w"], [1, "h", "w", 3], [1, 3, 48, 64]
SQUASHED = {  # what comes out does not follow the scale of what goes in: sign(x) is 1 for all but black
    "0-1": [("Sign",), ("Mul", 0.25)],
    "0-255": [("Sign",), ("Mul", 63.75)],
    "-1-1": [("Sign",), ("Mul", -0.5)],
}


@pytest.fixture
def photo() -> Tensor:
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1)) * 0.9 + 0.05


@pytest.mark.parametrize("range", ["0-1", "0-255", "-1-1"])
def test_the_range_is_found_by_what_comes_out(tmp_path: Path, photo: Tensor, range: str):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", SQUASHED[range], ANY))
    assert net.range == range and f"pixels in {range} (detected from the output), any size" in net.notes
    if range != "-1-1":
        assert torch.allclose(net(photo), torch.full_like(photo, 0.25), atol=1e-6)


@pytest.mark.parametrize(("range", "expected"), [("0-1", lambda x: x + 0.5), ("0-255", lambda x: x + 0.5 / 255)])
def test_the_range_that_is_given_is_that_of_what_goes_in_and_comes_out(tmp_path: Path, photo: Tensor, range, expected):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", [("Add", 0.5)], ANY), range)
    assert torch.allclose(net(photo), expected(photo), atol=1e-6)


def test_minus_one_to_one_is_brought_there_and_back(tmp_path: Path, photo: Tensor):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", [("Neg",)], ANY), "-1-1")  # there a negative is 1 - x
    assert torch.allclose(net(photo), 1 - photo, atol=1e-6)


def test_where_the_range_cannot_be_told_one_is_asked_for_it(tmp_path: Path):
    file = onnx_file(tmp_path / "net.onnx", [("Add", 0.5)], ANY)
    with pytest.raises(UserError, match="use range=0-1, range=0-255 or range=-1-1"):
        OnnxNet(file)
    with pytest.raises(UserError, match="range=7: no such range. Allowed: auto, 0-1"):
        OnnxNet(file, "7")


def test_a_network_to_which_the_range_is_all_the_same_needs_none(tmp_path: Path, photo: Tensor):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", [("Mul", 0.5)], ANY))
    assert torch.allclose(net(photo), photo / 2, atol=1e-6)


def test_colours_last_and_half_precision(tmp_path: Path, photo: Tensor):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", [("Mul", 0.5)], ANY_LAST, floats=TensorProto.FLOAT16), "0-1")
    assert "NHWC" in net.notes
    assert torch.allclose(net(photo), photo / 2, atol=1e-3)


def test_a_file_of_one_size_gets_that_size_and_says_so(tmp_path: Path):
    net = OnnxNet(onnx_file(tmp_path / "net.onnx", [("Mul", 0.5)], FIXED))
    assert net.size == (48, 64) and "64x48 pixels only" in net.notes
    flat = torch.full((1, 3, 100, 100), 0.5)
    assert torch.allclose(net(flat), flat / 2, atol=1e-4)
    judged = candidate(str(tmp_path / "net.onnx"), "great_wave.jpg", CPU, {"loss": {}, "size": 96})
    assert judged.fixed_size == 48


@pytest.mark.parametrize(
    ("operations", "shape", "inputs", "message"),
    [
        ([("Mul", 1.0)], [1, 4, 8, 8], 1, r"takes x0 \[1, 4, 8, 8\] tensor\(float\): use a network with one input"),
        ([("Mul", 1.0)], ANY, 2, "use a network with one input"),
        ([("ReduceSum",)], ANY, 1, "which is not an RGB picture"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, operations, shape, inputs, message):
    file = onnx_file(tmp_path / "net.onnx", operations, shape, inputs)
    with pytest.raises(UserError, match=message):
        OnnxNet(file)


def test_a_damaged_file_is_reported(tmp_path: Path):
    (tmp_path / "net.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="net.onnx cannot be used as ONNX"):
        OnnxNet(tmp_path / "net.onnx")


def exported(path: Path, net: nn.Module) -> Path:
    """For squares of 96 px."""
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(net, (torch.rand(1, 3, 96, 96),), str(path), verbose=False)
    return path


def the_same_figures(one: nn.Module, other: nn.Module) -> None:
    photos, painting = squares(None, 96, 2), open_painting("great_wave.jpg", 128)
    figures, others = (evaluate(net, photos, painting) for net in (one, other))
    assert others.pop("style_by_layer") == pytest.approx(figures.pop("style_by_layer"), rel=1e-3)
    del figures["out_of_range"]  # a checkpoint of pytorch/examples gives the picture as it would be written
    for name, value in figures.items():
        assert others[name] == pytest.approx(value, rel=1e-3, abs=2e-3), name


def test_our_network_has_the_same_figures_as_onnx(tmp_path: Path):
    torch.manual_seed(0)
    net = build("johnson", widths=(4, 6, 8), blocks=1).eval()
    the_same_figures(net, OnnxNet(exported(tmp_path / "net.onnx", net)))


class Theirs(nn.Module):
    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        self.state = state

    def forward(self, x: Tensor) -> Tensor:
        return their_output(self.state, x)


def test_a_network_of_pytorch_examples_has_the_same_figures_as_onnx_and_as_a_checkpoint(tmp_path: Path):
    state = their_weights(widths=(4, 6, 8), blocks=1)
    torch.save(state, tmp_path / "mosaic.pth")
    exported(tmp_path / "mosaic.onnx", Theirs(state))
    otherwise = {"loss": {"scale": "johnson"}, "size": 96}
    one, other = (candidate(str(tmp_path / f), "great_wave.jpg", CPU, otherwise) for f in ("mosaic.pth", "mosaic.onnx"))
    assert one.notes == "pytorch/examples" and "pixels in 0-255 (detected from the output)" in other.notes
    assert one.judge["loss"] == other.judge["loss"] == {"scale": "johnson"}
    the_same_figures(one.net, other.net)
