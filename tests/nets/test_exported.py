"""ONNX files that this program exported are styles like the files that they were made from."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import RunScript
from PIL import Image

from stylenet.nets import checkpoint, exported, registry
from stylenet.runtime.export import export
from stylenet.system.errors import UserError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

KINDS: list[tuple[dict[str, Any], dict[str, Any], float]] = [
    ({}, {}, 1e-6),
    ({"n_styles": 3}, {}, 1e-6),
    ({"upsample": "nearest", "output": "linear"}, {}, 1e-5),
    ({"noise": 1}, {"pixels": "uint8"}, 1e-6),
    ({"noise": 1, "n_styles": 2, "upsample": "nearest"}, {"half": True}, 0.02),
    ({"n_styles": 2}, {"size": "40x24"}, 1e-6),
]


def made(folder: Path, net: dict[str, Any], options: dict[str, Any]) -> tuple[Path, Path]:
    """A style file and its export; every weight differs from every other."""
    torch.manual_seed(0)
    built = registry.build("johnson", widths=(4, 6, 8), blocks=2, **net)
    for weight in built.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    styles = [{"name": f"s{number}"} for number in range(net.get("n_styles", 1))]
    file = checkpoint.save(folder / "waves.safetensors", built, {"styles": styles})
    return file, export(file, "onnx", folder / "waves.onnx", **options)


@pytest.mark.parametrize(("net", "options", "most"), KINDS, ids=str)
def test_an_export_gives_the_pictures_of_its_style(
    net: dict[str, Any], options: dict[str, Any], most: float, tmp_path: Path
):
    """At any size, whatever the file was made for."""
    file, onnx_file = made(tmp_path, net, options)
    theirs, info = checkpoint.load(file)
    ours, told = checkpoint.load(onnx_file)
    assert told == info
    content = torch.rand(1, 3, 37, 50)
    for style in torch.eye(net.get("n_styles", 1)) if "n_styles" in net else [None]:
        given = None if style is None else style[None]
        assert (ours(content, given) - theirs(content, given)).abs().max() < most


def test_the_script_stylizes_with_it(tmp_path: Path, run_script: RunScript):
    file, onnx_file = made(tmp_path, {"n_styles": 2}, {})
    noise = np.random.default_rng(0).integers(256, size=(24, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    for ckpt, output in ((file, "theirs.png"), (onnx_file, "ours.png")):
        done = run_script(
            "stylize.py", f"ckpt={ckpt}:s1", "input=a.png", f"output={output}", "strength=0.8", "device=cpu"
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    theirs, ours = (np.asarray(Image.open(tmp_path / name)) for name in ("theirs.png", "ours.png"))
    assert np.array_equal(theirs, ours) and not np.array_equal(theirs, noise)


def test_without_the_onnx_package_it_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, file = made(tmp_path, {}, {})
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("stylenet.nets.mistaken.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"made by stylenet of the style s0\. .*pip install 'stylenet\[onnx\]'"):
        checkpoint.load(file)


def test_an_export_that_was_edited_is_no_style(tmp_path: Path):
    _, file = made(tmp_path, {}, {})
    model = onnx.load(file)
    (told,) = [one for one in model.metadata_props if one.key == exported.KEY]
    info = json.loads(told.value)
    info["net"]["args"]["blocks"] = 3
    told.value = json.dumps(info)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="does not fit the network that it declares: trunk.2.conv1.weight is missing"):
        checkpoint.load(file)
    told.value = '"no object"'
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="is an ONNX file"):
        checkpoint.load(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match="is an ONNX file"):
        checkpoint.load(file)
