"""Exports for engines: the network's picture in OpenCV and ONNX Runtime, with operators of the engine's list alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylenet.nets import checkpoint, registry
from stylenet.runtime import engines
from stylenet.runtime.export import export
from stylenet.system.errors import UserError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SIZE = (44, 61)  # height and width: one divides by 4, one is odd
SHAPE_ARITHMETIC = {"Shape", "Size", "Gather", "Range", "ConstantOfShape", "Expand", "Unsqueeze", "Cast"}


def net(**args: Any) -> Any:
    """A network of which every weight differs from every other, and colours from each other."""
    torch.manual_seed(0)
    made: Any = registry.build("johnson", **{"widths": (4, 6, 8), "blocks": 1, "noise": 1, "frame": 8, **args}).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


def saved(folder: Path, made: Any) -> Path:
    styles = [{"name": f"s{number}"} for number in range(made.n_styles)]
    return checkpoint.save(folder / "it.safetensors", made, {"styles": styles})


def picture(height: int = SIZE[0], width: int = SIZE[1]) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def in_onnxruntime(file: Path, content: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return session.run(None, {given.name: content.numpy()})[0]


def in_opencv(file: Path, content: torch.Tensor) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    reader = cv2.dnn.readNetFromONNX(str(file))
    reader.setInput(content.numpy(), "content")
    return reader.forward()


@pytest.mark.parametrize("upsample", ["blur", "nearest"])
@pytest.mark.parametrize("target", engines.NAMES)
def test_an_engine_gets_the_networks_picture_in_operators_it_has(target: str, upsample: str, tmp_path: Path):
    made = net(upsample=upsample)
    file = export(saved(tmp_path, made), "onnx", tmp_path / "e.onnx", target=target, size=f"{SIZE[1]}x{SIZE[0]}")
    wanted = made(picture()).detach().numpy()
    assert wanted.std() > 0.02  # a grey picture would agree with anything
    for run in (in_onnxruntime, in_opencv):
        assert np.abs(run(file, picture()) - wanted).max() < 0.5 / 255
    model, engine = onnx.load(file), engines.engine(target)
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (15, 8)
    there = {node.op_type for node in model.graph.node}
    assert there <= engine.operators.keys() and not there & SHAPE_ARITHMETIC
    for node in model.graph.node:
        versions = engine.operators[node.op_type]
        assert not versions or onnx.defs.get_schema(node.op_type, 15).since_version in versions
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        assert all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim)
    told = json.loads({one.key: one.value for one in model.metadata_props}["stylenet"])
    assert told["engine"] == {"target": target, "list": {"source": engine.source, "read": engine.read}}
    assert set(told["operators"]) == there


def test_unreal_has_no_resize_on_a_mac_so_it_gets_none(tmp_path: Path):
    file = saved(tmp_path, net())
    of = {name: export(file, "onnx", tmp_path / f"{name}.onnx", target=name, size=64) for name in ("unreal", "unity")}
    counted = {name: engines.counted(onnx.load(path)) for name, path in of.items()}
    assert counted["unity"]["Resize"] == 2 and counted["unreal"]["Resize"] == 0
    assert counted["unreal"]["DepthToSpace"] == counted["unity"]["DepthToSpace"] + 2


def test_the_noise_of_a_large_picture_is_a_constant(tmp_path: Path):
    made = net(widths=(4, 4, 4), blocks=0)
    file = export(saved(tmp_path, made), "onnx", tmp_path / "e.onnx", target="unity", size=512)
    assert not {node.op_type for node in onnx.load(file).graph.node} & (SHAPE_ARITHMETIC | {"GatherND", "Mod"})
    content = picture(512, 512)
    assert np.abs(in_onnxruntime(file, content) - made(content).detach().numpy()).max() < 1e-3


def test_one_style_of_several_or_a_mixture_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = net(n_styles=3, noise=0)
    file = saved(tmp_path, made)
    monkeypatch.chdir(tmp_path)
    for mix, weights in (("s1", [0.0, 1, 0]), ("s0:1,s2:3", [0.25, 0, 0.75]), ([0.5, 0.5, 0], [0.5, 0.5, 0])):
        done = export(file, "onnx", None, True, target="unity", size="32x40", mix=mix)
        assert done == Path("it_unity.onnx")
        wanted = made(picture(40, 32), torch.tensor([weights])).detach().numpy()
        assert np.abs(in_onnxruntime(done, picture(40, 32)) - wanted).max() < 1e-4
        theirs, _ = checkpoint.load(done)  # the file is still a style
        assert np.abs(theirs(picture(40, 32)).detach().numpy() - wanted).max() < 1e-4
        assert np.abs(in_onnxruntime(done, picture(40, 32)) - made(picture(40, 32)).detach().numpy()).max() > 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "godot", "size": 64}, "target=godot: allowed are unreal, unity, opencv."),
        ({"target": "unity"}, "target=unity needs the size of its pictures: add size=512x512"),
        ({"target": "unity", "size": 64, "half": True}, "half=true and target=unity: engines take float32 alone"),
        ({"target": "unity", "size": 64, "format": "openvino"}, "size=64 is for format=onnx"),
        ({"target": "unity", "size": 64}, "give mix=, the style of the file: s0, s1"),
        ({"mix": "s7"}, "mix=s7: there is no style s7; there are s0, s1."),
        ({"mix": [1.0]}, "give 2 weights, or a name: s0, s1"),
        ({"wrap": "z"}, "wrap=z: give x, y or both"),
        ({"wrap": "panorama"}, "wrap=panorama is for pictures"),
        ({"wrap": "x", "size": "61x44"}, "wrap= with the width 61: give a multiple of 4"),
        ({"wrap": "x", "format": "torch_export"}, "wrap=x is not for format=torch_export"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], said: str, tmp_path: Path):
    file = saved(tmp_path, net(n_styles=2))
    with pytest.raises(UserError, match=said.replace("[", r"\[")):
        export(**{"ckpt": file, "format": "onnx", "output": None, **options})


def test_what_an_engine_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = engines.engine("unity")
    fewer = {name: versions for name, versions in engine.operators.items() if name != "InstanceNormalization"}
    monkeypatch.setattr(engines, "engine", lambda name: engines.Engine(**{**vars(engine), "operators": fewer}))
    with pytest.raises(UserError, match="Unity has no InstanceNormalization: this network is not for target=unity"):
        export(saved(tmp_path, net()), "onnx", tmp_path / "e.onnx", target="unity", size=48)
    assert not (tmp_path / "e.onnx").exists()


def test_lists_are_dated_and_name_operators_that_there_are():
    for name in engines.NAMES:
        engine = engines.engine(name)
        assert engine.source.startswith("https://") and len(engine.read.split("-")) == 3
        for operator, versions in engine.operators.items():
            every = {one.since_version for one in onnx.defs.get_all_schemas_with_history() if one.name == operator}
            assert every and {*versions} <= every, operator


def test_a_file_that_wraps(tmp_path: Path):
    """The rolled picture gives the rolled result, at the file's one size and, in another, at any."""
    made = net(widths=(8, 8, 8), noise=0, blocks=0)
    file, content = saved(tmp_path, made), picture(48, 64)
    assert (made(content.roll(32, 3)) - made(content).roll(32, 3)).abs().max() > 0.02
    fixed = {"target": "opencv", "size": "64x48"}
    kinds: list[dict[str, Any]] = [{"wrap": "x"}, {"wrap": "both", **fixed}]
    for number, options in enumerate(kinds):
        exported = export(file, "onnx", tmp_path / f"{number}.onnx", **options)
        axes = (3,) if options["wrap"] == "x" else (2, 3)
        halves = tuple(content.shape[axis] // 2 for axis in axes)
        for run in (in_onnxruntime, in_opencv) if "size" in options else (in_onnxruntime,):
            plain, rolled = (torch.from_numpy(run(exported, one)) for one in (content, content.roll(halves, axes)))
            assert (rolled - plain.roll(halves, axes)).abs().max() < 0.5 / 255
