"""Export a style for other programs: ONNX, TorchScript, torch.export, OpenVINO. Stylizing needs none of this.

A file accepts pictures of any size and number, and returns as many of the same size; an ONNX file can have one fixed
size, for programs without shape arithmetic, and be for an engine (:mod:`stylenet.runtime.engines`). It contains the
metadata of the style file. Before it is kept, its program runs it on awkward sizes.
"""

import importlib.util
import json
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.fuse import fast
from stylenet.runtime import engines, export_style, graph
from stylenet.runtime.export_options import PIXELS, ExportOptions, Kind
from stylenet.system import console
from stylenet.system.atomic import is_pipe, replacing, writable
from stylenet.system.errors import UserError, one_line
from stylenet.system.options import grouped

KEY = "stylenet"  # of the metadata
SIZES = [(1, 61, 97), (2, 64, 48), (1, 7, 130)]  # batch, height and width that each file is tried on
# The largest and the mean difference from the network that a file may have there, in [0, 1]. Half a level of 8 bits is
# 0.002; a picture in uint8 may be a level off where the float is between two.
ALLOWED = {"float": (1e-3, 1e-4), "uint8": (1.01 / 255, 2e-4)}
SIZE_OPERATORS = {"Shape", "Size", "Gather", "GatherElements", "GatherND", "Range", "Mod", "NonZero", "ConstantOfShape"}
ALLOWED_HALF = (0.1, 0.01)

Arrays = list[np.ndarray]
Runner = Callable[[Arrays], np.ndarray]


class Format(NamedTuple):
    """A kind of file: its suffix, how one is written with a text inside, and how it is opened to be run."""

    suffix: str
    write: Callable[["Exported | ExportedStyle", tuple[Tensor, ...], Path, str], None]
    open: Callable[[Path], Runner]
    needs: tuple[str, ...] = ()
    extra: str = ""


def export(
    ckpt: str | Path,
    format: str,
    output: str | Path | None = None,
    overwrite: bool = False,
    *,
    options: ExportOptions | None = None,
    **fields: Any,
) -> Path:
    """Write the style ``ckpt`` as ``format`` (a name of ``FORMATS``) and return the path.

    A network for any style becomes two files: the network, whose second input is a style, and beside it
    ``<name>_style``, which makes a style ``(b, n_styles)`` of paintings ``(b, 3, h, w)``, 32 pixels a side or more.
    With ``style``, a picture or its file, it becomes one file like any other, for the style of that picture.

    ``output``: None for ``<style>.<suffix>`` in the present folder, ``<style>_<target>.onnx`` for an engine.
    ``options``: see :class:`ExportOptions`, whose fields may be keywords instead: ``export("udnie", "onnx",
    size="512x384")``. The operators of a file of one size are told on stderr. Raises UserError for an option there is
    not, for a program that is not installed, a file that exists without ``overwrite``, and where what was exported does
    not give the network's pictures; TypeError for a keyword that there is not.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise UserError(f"format={format}: allowed are {', '.join(FORMATS)}.")
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")
    chosen: ExportOptions = grouped(fields, {ExportOptions: options})[0]
    kind = chosen.kind(format)
    if not isinstance(ckpt, str | Path):
        raise UserError(f"ckpt={ckpt!r:.80}: give one style, its name or its file.")
    made = FORMATS[format]
    for package in made.needs:
        graph.require(package, made.extra)
    end = f"_{chosen.target}" if chosen.target else ""
    target = Path(os.path.expanduser(output or f"{checkpoint.resolve(ckpt).stem}{end}{made.suffix}"))
    _check_target(target, made.suffix, overwrite)
    net, info = export_style.with_style(*checkpoint.load_style(ckpt), chosen, ckpt)
    net = kind.wrapped(net)
    if net.any_style:
        _check_target(target.with_stem(f"{target.stem}_style"), made.suffix, overwrite)
    with tempfile.TemporaryDirectory() as folder:
        _write(net, info, kind, made, Path(folder), format, chosen.target)
        for part in sorted(Path(folder).iterdir(), key=lambda path: (path.stem == "image", path.suffix == made.suffix)):
            named = target if part.stem == "image" else target.with_stem(f"{target.stem}_style")
            with replacing(named.with_suffix(part.suffix)) as temp:  # the one that is returned last
                shutil.copyfile(part, temp)
    return target


def _write(
    net: StyleNet,
    info: dict[str, Any],
    kind: Kind,
    made: "Format",
    folder: Path,
    format: str,
    target: str | None,
) -> None:
    """Write the files into ``folder``, and raise UserError unless they give the network's pictures."""
    file = folder / f"image{made.suffix}"
    example = graph.inputs(net, PIXELS[kind.pixels], (1, *kind.size) if kind.size else _trial(net, kind))
    text = json.dumps(describe(info, format, kind), allow_nan=False)
    made.write(Exported(net, kind), example, file, text)
    if target:
        _fit_engine(file, target)
    check(made.open(file), net, kind)
    if kind.size:
        _tell_operators(file, net, kind, target)
    if net.any_style:
        _write_style(net, made, folder, replace(kind, size=None), text)


def _trial(net: StyleNet, kind: Kind) -> tuple[int, int, int]:
    batch, *sides = graph.TRIAL
    return batch, *kind.fitting(net, (sides[0], sides[1]))


def _write_style(net: StyleNet, made: "Format", folder: Path, kind: Kind, text: str) -> None:
    """Write the style network, and raise UserError unless it gives the styles of ``net``."""
    file = folder / f"style{made.suffix}"
    module = ExportedStyle(net, kind)
    made.write(module, (graph.inputs(net, PIXELS[kind.pixels])[0],), file, text)
    run = made.open(file)
    for height, width in ((61, 97), (64, 48), (40, 130)):
        levels = (torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255).round()
        given = levels.to(torch.uint8) if kind.pixels == "uint8" else levels / 255
        expected = net.style_of(levels / 255).detach().numpy()
        found = run([given.numpy()])
        difference = np.abs(found - expected).max()
        if not (found.shape == expected.shape and difference <= 1e-3 * (1 + np.abs(expected).max())):
            raise UserError(f"The export's style differs from the network's by {difference:.3g}: it was not kept.")


def _check_target(target: Path, suffix: str, overwrite: bool) -> None:
    if target.suffix != suffix:
        raise UserError(f"output={target}: the name must end in {suffix}.")
    for file in [target, target.with_suffix(".bin")] if suffix == ".xml" else [target]:
        if os.path.lexists(file) and not (overwrite or is_pipe(file)):
            raise UserError(f"{file} exists: give overwrite=true to replace it, or another output=.")
    writable(target)


def describe(info: dict[str, Any], format: str, kind: Kind) -> dict[str, Any]:
    """The metadata of the file, as JSON: the style file's, the range of the pixels, and the program."""
    packages = ("stylenet", "torch", *FORMATS[format].needs)
    made_by = {"python": platform.python_version()} | {name: version(name) for name in packages}
    range_ = {"float": "RGB in [0, 1]", "uint8": "RGB in 0..255"}[kind.pixels]
    picture = {"type": {"float": "float32"}.get(kind.pixels, kind.pixels), "layout": "b 3 h w", "values": range_}
    picture |= {"size": f"{kind.size[1]}x{kind.size[0]}"} if kind.size else {}
    picture |= {"wrap": kind.wrap} if kind.wrap else {}
    return info | {"picture": picture, "half": kind.half, "exported": {"format": format, "versions": made_by}}


class Exported(StyleNet):
    """The network with pixels of the ``kind`` as its input and output. ``net`` itself is not changed."""

    def __init__(self, net: StyleNet, kind: Kind):
        super().__init__(net.config, net.n_styles, net.smallest)
        self.kind = kind
        self.net = fast(net).half() if kind.half else fast(net)
        for name in net.style_parts:  # the style is an input
            delattr(self.net, name)

    def forward(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        levels = self.kind.pixels == "uint8"
        x = content.float() / 255 if levels else content
        image = self.net(x.half() if self.kind.half else x, style, framed)
        return (image * 255).round().clamp(0, 255).to(torch.uint8) if levels else image


class ExportedStyle(nn.Module):
    """A network's ``style_of`` with pixels of the ``kind`` as its input, in float32."""

    of_style = True

    def __init__(self, net: StyleNet, kind: Kind):
        super().__init__()
        self.kind, self.net = kind, graph.StyleOf(net)

    def forward(self, painting: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(painting.float() / 255 if self.kind.pixels == "uint8" else painting)


@torch.inference_mode()
def check(run: Runner, net: StyleNet, kind: Kind) -> None:
    """Raise UserError unless ``run`` gives the pictures of ``net`` at every one of ``SIZES``, or at the only one."""
    for batch, *sides in [(1, *kind.size)] if kind.size else SIZES:
        height, width = kind.fitting(net, (sides[0], sides[1]))
        generator = torch.Generator().manual_seed(0)
        levels = (torch.rand(batch, 3, height, width, generator=generator) * 255).round()
        style = torch.rand(batch, net.n_styles, generator=generator) if net.n_styles > 1 else None
        content = levels.to(torch.uint8) if kind.pixels == "uint8" else levels / 255
        found = run([array.numpy() for array in (content, style) if array is not None])
        expected = net(levels / 255, style).numpy()
        _compare(found, expected, kind, f"{width}x{height}")


def _compare(found: np.ndarray, expected: np.ndarray, kind: Kind, size: str) -> None:
    wanted = {"float": np.dtype(np.float32), "uint8": np.dtype(np.uint8)}[kind.pixels]
    if found.shape != expected.shape or found.dtype != wanted:
        raise UserError(f"The export gives {found.dtype} {found.shape} for {size} pixels: it was not kept.")
    exact = np.rint(expected * 255) / 255 if kind.pixels == "uint8" else expected
    difference = np.abs(found.astype(np.float32) / (255 if kind.pixels == "uint8" else 1) - exact)
    most, mean = ALLOWED_HALF if kind.half else ALLOWED[kind.pixels]
    if not (difference.max() <= most and difference.mean() <= mean):  # so that NaN fails it
        raise UserError(
            f"The export differs from the network by {difference.max():.3g} at {size} pixels ({most:.3g} is allowed): "
            "it was not kept." + (" Without half=true it may do." if kind.half else "")
        )


# --- the formats: write(module, example, file, text) and open(file)


def _write_onnx(module: Exported | ExportedStyle, example: tuple[Tensor, ...], file: Path, text: str) -> None:
    onnx = graph.require("onnx", "onnx")
    fixed = module.kind.size is not None
    model = graph.onnx(module, example, fixed).model_proto
    operators = _sorted(model)
    if fixed and (left := SIZE_OPERATORS & operators.keys()):
        raise UserError(f"The network works out sizes even where these are fixed ({', '.join(sorted(left))}).")
    for node in [*model.graph.node, *model.graph.input, *model.graph.output]:
        del node.metadata_props[:]  # paths of this machine are in there
    del model.graph.value_info[:]
    if isinstance(module, Exported):
        model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)  # by name
    onnx.helper.set_model_props(model, {KEY: json.dumps(json.loads(text) | {"operators": operators})})
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def _open_onnx(file: Path) -> Runner:
    onnxruntime = graph.require("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def _fit_engine(file: Path, target: str) -> None:
    onnx = graph.require("onnx", "onnx")
    model = onnx.load(file)
    engines.fit(model, target)
    told = {one.key: one.value for one in model.metadata_props}
    engine = engines.engine(target)
    of_engine = {"target": target, "list": {"source": engine.source, "read": engine.read}}
    told[KEY] = json.dumps(json.loads(told[KEY]) | {"operators": _sorted(model), "engine": of_engine})
    onnx.helper.set_model_props(model, told)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def _sorted(model: Any) -> dict[str, int]:
    return dict(sorted(engines.counted(model).items()))


def _tell_operators(file: Path, net: StyleNet, kind: Kind, target: str | None) -> None:
    """On stderr, which operators an ONNX file has, for whoever looks for them in a list of what a chip can do; and
    whether OpenCV, where it is installed, gives the same picture: it has to for a file that is for OpenCV.
    """
    counted = _sorted(graph.require("onnx", "onnx").load(file))
    console.warn_line(f"operators: {', '.join(f'{name} {count}' for name, count in counted.items())}")
    if kind.pixels != "float" or kind.half or importlib.util.find_spec("cv2") is None:
        return  # OpenCV has no other pixels, and no half precision on a CPU
    import cv2

    try:
        check(_opencv(cv2, file), net, kind)
    except (UserError, cv2.error) as error:
        said = f"OpenCV {cv2.__version__} does not give this picture: {one_line(error):.200}"
        if target == "opencv":
            raise UserError(said) from error
        console.warn_line(said)


def _opencv(cv2: Any, file: Path) -> Runner:
    net = cv2.dnn.readNetFromONNX(str(file))

    def run(arrays: Arrays) -> np.ndarray:
        for name, array in zip(graph.NAMES, arrays, strict=False):
            net.setInput(array, name)
        return net.forward()

    return run


def _write_torchscript(module: Exported | ExportedStyle, example: tuple[Tensor, ...], file: Path, text: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # torch deprecates it; asked for, it is written all the same
        torch.jit.save(graph.script(module, example), file, _extra_files={f"{KEY}.json": text})


def _open_torchscript(file: Path) -> Runner:
    with warnings.catch_warnings(action="ignore"):
        return _with_tensors(torch.jit.load(file))


def _write_torch_export(module: Exported | ExportedStyle, example: tuple[Tensor, ...], file: Path, text: str) -> None:
    torch.export.save(graph.program(module, example), file, extra_files={f"{KEY}.json": text})


def _open_torch_export(file: Path) -> Runner:
    return _with_tensors(torch.export.load(file).module())


def _with_tensors(module: Callable[..., Tensor]) -> Runner:
    return lambda arrays: module(*map(torch.from_numpy, arrays)).numpy()


def _write_openvino(module: Exported | ExportedStyle, example: tuple[Tensor, ...], file: Path, text: str) -> None:
    openvino = graph.require("openvino", "openvino")
    model = graph.openvino(module, example)
    model.set_rt_info(text, [KEY])
    openvino.save_model(model, file, compress_to_fp16=False)


def _open_openvino(file: Path) -> Runner:
    core = graph.openvino_core()
    compiled = core.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: compiled(arrays)[0]


FORMATS = {
    "onnx": Format(".onnx", _write_onnx, _open_onnx, ("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "torchscript": Format(".pt", _write_torchscript, _open_torchscript),
    "torch_export": Format(".pt2", _write_torch_export, _open_torch_export),
    "openvino": Format(".xml", _write_openvino, _open_openvino, ("openvino",), "openvino"),
}
