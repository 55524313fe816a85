"""Exports of a network for any style: in two files, or with one style of a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_export import onnx_run, openvino_run, photo, torch_export_run, torchscript_run

import stylenet
from stylenet.images.image_io import fit, open_rgb, to_tensor
from stylenet.nets import checkpoint, registry
from stylenet.nets.style_prediction import Predicted
from stylenet.runtime.export import export
from stylenet.system.errors import UserError

PAINTING = Path(__file__).parents[2] / "stylenet/assets/styles/great_wave.jpg"
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
RUNS = {"torchscript": torchscript_run, "torch_export": torch_export_run, "openvino": openvino_run, "onnx": onnx_run}
SUFFIX = {"torchscript": ".pt", "torch_export": ".pt2", "openvino": ".xml", "onnx": ".onnx"}


@pytest.fixture(scope="module")
def any_style(tmp_path_factory) -> tuple[Path, Predicted]:
    torch.manual_seed(0)
    net = registry.build("predicted", widths=(4, 6, 8), blocks=1, code=4, hidden=8, noise=1, frame=4)
    assert isinstance(net, Predicted)
    torch.nn.init.normal_(net.predict[-1].weight, std=2.0)  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("any") / "any.safetensors"
    return checkpoint.save(path, net, {"styles": []}), net.eval()


def test_two_files_paint_in_the_style_of_a_painting(any_style, tmp_path):
    ckpt, net = any_style
    file = export(ckpt, "onnx", tmp_path / "any.onnx")
    painting, content = photo(1, 40, 66), photo(1, 61, 45)
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "any_style.onnx")
    style = torch.from_numpy(session.run(["style"], {"painting": painting.numpy()})[0])
    with torch.no_grad():
        expected = net(content, net.style_of(painting))
        torch.testing.assert_close(style, net.style_of(painting), rtol=1e-3, atol=1e-4)
    assert np.abs(onnx_run(file, content, style) - expected.numpy()).max() < 1e-3
    assert file.stat().st_size < 0.2e6 < (tmp_path / "any_style.onnx").stat().st_size  # VGG is in the one alone


@pytest.mark.parametrize("format", RUNS)
def test_the_style_of_a_picture_in_one_file(any_style, tmp_path, format):
    ckpt, _ = any_style
    file = export(ckpt, format, tmp_path / f"wave{SUFFIX[format]}", style=PAINTING)
    content = photo(1, 33, 50)
    expected = stylenet.load(ckpt, style=PAINTING, backend="torch")(content)
    assert np.abs(RUNS[format](file, content) - expected.numpy()).max() < 1e-3
    assert not [*tmp_path.glob("*_style*")]


def test_that_file_is_a_style_like_any_other(any_style, tmp_path):
    ckpt, _ = any_style
    file = export(ckpt, "onnx", tmp_path / "wave.onnx", style=PAINTING)
    net, info = checkpoint.load(file)
    assert not net.any_style and info["styles"] == [{"name": "great_wave"}]
    content = torch.rand(1, 3, 30, 41)
    expected = stylenet.load(ckpt, style=PAINTING, backend="torch")(content)
    torch.testing.assert_close(stylenet.load(file, backend="torch")(content), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("format", ["torchscript", "openvino"])
def test_the_style_network_in_other_programs(any_style, tmp_path, format):
    ckpt, net = any_style
    export(ckpt, format, tmp_path / f"any{SUFFIX[format]}")
    painting = to_tensor(fit(open_rgb(PAINTING), 80))
    found = torch.tensor(RUNS[format](tmp_path / f"any_style{SUFFIX[format]}", painting))
    torch.testing.assert_close(found, net.style_of(painting), rtol=1e-3, atol=1e-3)


def test_mistakes(any_style, tmp_path):
    ckpt, _ = any_style
    with pytest.raises(UserError, match="ckpt=udnie_lite has its own: leave style= out"):
        export("udnie_lite", "onnx", tmp_path / "a.onnx", style=PAINTING)
    with pytest.raises(UserError, match="no such file"):
        export(ckpt, "onnx", tmp_path / "a.onnx", style="nowhere.jpg")
    (tmp_path / "b_style.onnx").write_text("mine")
    with pytest.raises(UserError, match="b_style.onnx exists"):
        export(ckpt, "onnx", tmp_path / "b.onnx")
    assert not (tmp_path / "a.onnx").exists() and not (tmp_path / "b.onnx").exists()
