"""Exported files, opened by the programs they are for: the network's pictures at any size, and what is inside."""

import json
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import fit, open_rgb, to_tensor
from stylenet.nets import checkpoint, registry
from stylenet.runtime.export import FORMATS, Kind, check, export
from stylenet.system.errors import UserError

SIZES = [(1, 1, 1), (2, 37, 53), (1, 16, 16), (3, 5, 64), (1, 100, 52)]
INFO = {"styles": [{"name": "tiny"}], "licence": "CC0-1.0"}
NODE = Path(__file__).parent / "node_export.mjs"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A style file and its network, with norms that differ and the two layers that are rearranged."""
    torch.manual_seed(0)
    net = registry.build(
        "johnson", widths=(4, 6, 8), blocks=1, upsample="nearest", output="linear", noise=1, frame=8
    ).eval()
    with torch.no_grad():
        net.last.bias += 0.5  # type: ignore[operator,union-attr]
        for name, parameter in net.named_parameters():
            if ".norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return checkpoint.save(tmp_path_factory.mktemp("ckpt") / "tiny.safetensors", net, INFO), net


@pytest.fixture(scope="module")
def onnx_file(tiny, tmp_path_factory):
    return export(tiny[0], "onnx", tmp_path_factory.mktemp("onnx") / "tiny.onnx")


def photo(batch, height, width):
    picture = to_tensor(fit(open_rgb(PHOTOS / "castle.jpg"), 300))
    return torch.cat([picture[..., 9 * i : 9 * i + height, 7 * i : 7 * i + width] for i in range(batch)])


def expected(net, content, style=None):
    with torch.inference_mode():
        return net(content, style).numpy()


def onnx_run(file, content, style=None):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = {"content": content.numpy()} | ({} if style is None else {"style": style.numpy()})
    (image,) = session.run(["image"], given)
    return image


def openvino_run(file, content):
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # left to itself, it takes bfloat16 where a CPU has that
    return pytest.importorskip("openvino").Core().compile_model(file, "CPU", exact)(content.numpy())[0]


def torchscript_run(file, content):
    return torch.jit.load(file)(content).numpy()


def torch_export_run(file, content):
    return torch.export.load(file).module()(content).numpy()


RUNS = {"openvino": openvino_run, "torchscript": torchscript_run, "torch_export": torch_export_run}


# --- pictures


def test_onnx_gives_the_networks_pictures_at_any_size(tiny, onnx_file):
    for size in SIZES:
        content = photo(*size)
        assert np.abs(onnx_run(onnx_file, content) - expected(tiny[1], content)).max() < 1e-3


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("format", RUNS)
def test_the_others_do_too(tiny, format, tmp_path):
    file = export(tiny[0], format, tmp_path / f"it{FORMATS[format].suffix}")
    for size in SIZES:
        content = photo(*size)
        assert np.abs(RUNS[format](file, content) - expected(tiny[1], content)).max() < 1e-3


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("format", ["torchscript", "openvino"])
def test_whole_levels_in_float16(tiny, format, tmp_path):
    """Half the size in 8 bits in and out: no picture is more than a few levels off."""
    suffix = FORMATS[format].suffix
    plain = export(tiny[0], format, tmp_path / f"plain{suffix}", pixels="uint8")
    half = export(tiny[0], format, tmp_path / f"half{suffix}", pixels="uint8", half=True)
    levels = (photo(2, 37, 53) * 255).round().to(torch.uint8)
    wanted = np.rint(expected(tiny[1], levels / 255) * 255)
    for file, most in ((plain, 1), (half, 12)):
        found = RUNS[format](file, levels)
        assert found.dtype == np.uint8 and found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= most


def test_onnx_takes_the_weights_of_several_styles(tmp_path):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=0, n_styles=2).eval()
    with torch.no_grad():
        net.down[0].norm.bias[1] += 1  # type: ignore[index,union-attr]
    file = checkpoint.save(tmp_path / "two.safetensors", net, INFO)
    exported = export(file, "onnx", tmp_path / "two.onnx", half=True)
    content, style = photo(2, 33, 47), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    found = onnx_run(exported, content, style)
    assert np.abs(found - expected(net, content, style)).max() < 0.02
    assert np.abs(found - expected(net, content)).max() > 0.05
    assert exported.stat().st_size < 60_000


# --- one size


def opencv_run(file, content, style=None):
    cv2 = pytest.importorskip("cv2")
    net = cv2.dnn.readNetFromONNX(str(file))
    for name, array in (("content", content), ("style", style)):
        if array is not None:
            net.setInput(array.numpy(), name)
    return net.forward()


@pytest.mark.parametrize("size", ["64x48", "97x61", "7x130", 33])
def test_a_fixed_size_in_onnxruntime_and_opencv(tiny, tmp_path, size, capsys):
    """Width and height odd, small and even; the network has noise, doubles by nearest neighbour and gives 4 pixels."""
    onnx = pytest.importorskip("onnx")
    file = export(tiny[0], "onnx", tmp_path / "fixed.onnx", size=size)
    width, height = (33, 33) if size == 33 else map(int, size.split("x"))
    content = photo(1, height, width)
    wanted = expected(tiny[1], content)
    assert np.abs(onnx_run(file, content) - wanted).max() < 1e-3
    assert np.abs(opencv_run(file, content) - wanted).max() < 1e-3
    model = onnx.load(file)
    for picture in (model.graph.input[0], model.graph.output[0]):
        assert [dim.dim_value for dim in picture.type.tensor_type.shape.dim] == [1, 3, height, width]
    operators = {node.op_type for node in model.graph.node}
    assert operators <= {
        *("Conv", "ConvTranspose", "InstanceNormalization", "Relu", "Pad", "Add", "Mul", "Clip", "Slice", "Concat"),
        *("DepthToSpace", "Reshape", "Transpose"),
    }
    told = json.loads({entry.key: entry.value for entry in model.metadata_props}["stylenet"])
    assert told["operators"].keys() == operators and told["picture"]["size"] == f"{width}x{height}"
    said = capsys.readouterr().err
    assert said.startswith("operators: Add ") and "OpenCV" not in said and said.count("\n") == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_a_picture_smaller_than_the_frame_goes_through_torchscript(tmp_path):
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=0, frame=24).eval()
    file = export(checkpoint.save(tmp_path / "it.safetensors", net, INFO), "torchscript", tmp_path / "it.pt")
    for size in ((1, 1), (7, 130)):
        content = photo(1, *size)
        assert np.abs(torchscript_run(file, content) - expected(net, content)).max() < 5e-3


@pytest.mark.parametrize("kind", ["blur", "styles", "uint8", "half"])
def test_a_fixed_size_of_other_networks_and_pixels(tmp_path, kind):
    torch.manual_seed(0)
    count = 2 if kind == "styles" else 1
    net = registry.build("johnson", widths=(4, 6, 8), blocks=1, noise=1, frame=8, n_styles=count).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    file = checkpoint.save(tmp_path / "it.safetensors", net, INFO)
    pixels = "uint8" if kind == "uint8" else "float"
    exported = export(file, "onnx", tmp_path / "it.onnx", pixels=pixels, half=kind == "half", size="50x42")
    content = photo(1, 42, 50)
    style = torch.tensor([[0.25, 0.75]]) if kind == "styles" else None
    levels = (content * 255).round().to(torch.uint8)
    found = onnx_run(exported, levels if pixels == "uint8" else content, style)
    if pixels == "uint8":
        assert np.abs(found - expected(net, levels / 255) * 255).max() <= 1.01
        return
    assert np.abs(found - expected(net, content, style)).max() < (0.02 if kind == "half" else 1e-3)
    if kind != "half":
        assert np.abs(opencv_run(exported, content, style) - expected(net, content, style)).max() < 1e-3


# --- what is inside


def test_onnx_tells_what_it_is_and_names_its_open_sizes(onnx_file):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    told = json.loads({entry.key: entry.value for entry in model.metadata_props}["stylenet"])
    assert (told["licence"], told["styles"]) == ("CC0-1.0", [{"name": "tiny"}])
    assert told["picture"] == {"type": "float32", "layout": "b 3 h w", "values": "RGB in [0, 1]"}
    assert told["exported"]["versions"]["torch"] == version("torch")
    for picture in (model.graph.input[0], model.graph.output[0]):
        shape = picture.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in shape] == ["batch", 3, "height", "width"]
    assert model.opset_import[0].version >= 17
    data = onnx_file.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data and b"site-packages" not in data


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_the_others_tell_it_too(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = {"stylenet.json": ""}
    torch.jit.load(export(tiny[0], "torchscript"), _extra_files=extra)
    assert json.loads(extra["stylenet.json"])["licence"] == "CC0-1.0"
    model = pytest.importorskip("openvino").Core().read_model(export(tiny[0], "openvino"))
    assert json.loads(model.get_rt_info(["stylenet"]).astype(str))["licence"] == "CC0-1.0"
    assert sorted(os.listdir(tmp_path)) == ["tiny.bin", "tiny.pt", "tiny.xml"]


# --- what is not kept


def test_a_file_that_gives_other_pictures_is_not_kept(tiny, tmp_path, monkeypatch):
    target = tmp_path / "tiny.pt"
    target.write_text("what was there")
    format = FORMATS["torchscript"]
    wrong = [
        (lambda run: lambda arrays: run(arrays) + 0.01, "differs from the network by 0.01"),
        (lambda run: lambda arrays: run(arrays) * np.nan, "differs from the network by nan"),
        (lambda run: lambda arrays: run(arrays)[..., :-1], "gives float32"),
    ]
    for change, message in wrong:
        opened = lambda file, change=change: change(format.open(file))  # noqa: E731
        monkeypatch.setitem(FORMATS, "torchscript", format._replace(open=opened))
        with pytest.raises(UserError, match=message):
            export(tiny[0], "torchscript", target, overwrite=True)
    assert target.read_text() == "what was there" and os.listdir(tmp_path) == ["tiny.pt"]


def test_the_check_is_on_odd_sizes_and_several_pictures(tiny):
    seen = []

    def run(arrays):
        seen.append(arrays[0].shape)
        return expected(tiny[1], torch.from_numpy(arrays[0]))

    check(run, tiny[1], Kind())
    assert len(seen) == 3 and {shape[0] for shape in seen} == {1, 2}
    assert any(shape[2] % 2 and shape[3] % 2 for shape in seen) and any(shape[2] < 16 for shape in seen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "format=tflite: allowed are onnx, torchscript, torch_export, openvino."),
        ({"format": ["onnx", "openvino"]}, "format=['onnx', 'openvino']: allowed are onnx, torchscript"),
        ({"format": "onnx", "pixels": "int8"}, "pixels=int8: allowed are float, uint8."),
        ({"format": "onnx", "half": 1}, "half=1: give true or false."),
        ({"format": "onnx", "ckpt": ["a", "b"]}, "ckpt=['a', 'b']: give one style, its name or its file."),
        ({"format": "onnx", "output": "x.pt"}, "output=x.pt: the name must end in .onnx."),
        ({"format": "torchscript", "output": "there.pt"}, "there.pt exists: give overwrite=true"),
        ({"format": "openvino", "output": "there.xml"}, "there.bin exists: give overwrite=true"),
        ({"format": "openvino", "size": "64x64"}, "size=64x64 is for format=onnx: leave it out"),
        ({"format": "onnx", "size": "64,64"}, "size=64,64: give width and height in pixels, 1 to 16384"),
        ({"format": "onnx", "size": "0x64"}, "size=0x64: give width and height"),
        ({"format": "onnx", "size": True}, "size=True: give width and height"),
    ],
)
def test_mistakes(tiny, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("there.pt").touch()
    Path("there.bin").touch()
    with pytest.raises(UserError) as error:
        export(**{"ckpt": tiny[0], **options})
    assert message in str(error.value)


def test_a_program_that_is_not_installed_is_named_with_its_extra(tiny, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript is not installed: pip install 'stylenet\[onnx\]'"):
        export(tiny[0], "onnx")


# --- JavaScript


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_onnx_under_node(tiny, onnx_file, package):
    """Wants the package in the folder NODE_PATH names, or in node_modules beside this file."""
    folders = [*os.environ.get("NODE_PATH", "").split(os.pathsep), str(NODE.parent / "node_modules")]
    found = next((Path(folder) / package for folder in folders if folder and (Path(folder) / package).is_dir()), None)
    if shutil.which("node") is None or found is None:
        pytest.skip(f"needs node, and {package} where NODE_PATH says: npm install {package}")
    command = ["node", str(NODE), str(found), str(onnx_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for result in json.loads(done.stdout):
        count = int(np.prod(result["dims"]))
        content = torch.tensor([i * 7919 % 256 for i in range(count)]).reshape(result["dims"]) / 255
        difference = np.array(result["data"], np.float32).reshape(result["dims"]) - expected(tiny[1], content)
        assert np.abs(difference).max() < 1e-3
