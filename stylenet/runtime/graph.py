"""A network as a graph that other programs can run: TorchScript, torch.export, OpenVINO, ONNX. Knows no files.

Height, width and batch stay open in all of them: any ``(b, 3, h, w)`` from 1x1 up gives the same size again, unless a
size is asked for. A network with several styles takes their weights ``(b, n_styles)`` as a second input.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.johnson import SMALLEST
from stylenet.nets.layers import EPS, InstanceNorm
from stylenet.system.errors import UserError

OPSET = 18  # of ONNX: the first in which all that the networks do has an operator; onnxruntime-web has them all
NAMES = ("content", "style")
STEPS_KEPT = 256  # that OpenVINO has made ready for sizes it met: about ten of them. Its own 5,000 take some 200 MB
TRIAL = (2, 66, 83)  # batch, height and width of the picture by which a graph is made: nothing of them stays in it


def inputs(
    net: nn.Module, dtype: torch.dtype = torch.float32, size: tuple[int, int, int] = TRIAL
) -> tuple[Tensor, ...]:
    """What to try the network on: a picture, and weights where it has several styles. ``size``: (b, h, w)."""
    batch, height, width = size
    content = torch.zeros(batch, 3, height, width, dtype=dtype)
    n_styles = getattr(net, "n_styles", 1)
    return (content,) if n_styles == 1 else (content, torch.full((batch, n_styles), 1 / n_styles))


@cache
def openvino_core() -> Any:
    """OpenVINO's Core, the only one of the process, and kept to its end. Raises UserError where it is not installed.

    A Core moves the stack that signals are handled on. Of two, the first to go takes the stack along that the second
    then goes back to, and the next signal (the end of a child, with a DataLoader in use) kills the process.
    """
    core = require("openvino", "openvino").Core()
    with suppress(RuntimeError):  # a version that has it no more
        core.set_property("CPU", {"CPU_RUNTIME_CACHE_CAPACITY": str(STEPS_KEPT)})
    return core


def has_parts(net: nn.Module) -> bool:
    """Whether a network sees first and then paints, as :class:`stylenet.nets.johnson.Johnson` does."""
    return hasattr(net, "see") and hasattr(net, "paint")


def parts(net: nn.Module) -> list[nn.Module]:
    """A network that :func:`has_parts` as these two, for :func:`script` and :func:`openvino`; any other as itself. What
    the last gives is to be cut to the picture's size.
    """
    return [Seeing(net), Painting(net)] if has_parts(net) else [net]


def script(net: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network, or one of its ``parts``, in TorchScript."""
    traced = net if isinstance(net, _WithNorms) else AnySize(net)
    with torch.no_grad(), _quiet():
        return torch.jit.trace(traced, example, check_trace=False)


def openvino(net: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network, or one of its ``parts``, as an ``openvino.Model``. Raises UserError without that package."""
    convert_model = require("openvino", "openvino").convert_model
    with _quiet():
        model = convert_model(script(net, example))
    for port, name in zip([*model.inputs, *model.outputs], [*NAMES[: len(example)], "image"], strict=True):
        port.get_tensor().set_names({name})
    return model


def program(net: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network as a ``torch.export.ExportedProgram``."""
    from torch.fx.experimental import _config as config

    shapes = _dynamic(example, torch.export.Dim.DYNAMIC)
    # Else it refuses sizes of which a cut happens to be contiguous where that of the example was not.
    with torch.no_grad(), _quiet(), config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(_WithNorms(net), example, dynamic_shapes=shapes)


def onnx(net: nn.Module, example: tuple[Tensor, ...], fixed: bool = False) -> Any:
    """The network as a ``torch.onnx.ONNXProgram``; ``fixed``: for the sizes of ``example`` alone, which makes constants
    of all that follows from them. Raises UserError without the packages onnx and onnxscript.
    """
    require("onnx", "onnx")
    require("onnxscript", "onnx")
    options: dict[str, Any] = {"input_names": NAMES[: len(example)], "output_names": ["image"]}
    options |= {
        "dynamic_shapes": None if fixed else _dynamic(example),
        "opset_version": OPSET,
        "dynamo": True,
        "verbose": False,
    }
    with torch.no_grad(), _quiet():
        made = torch.onnx.export(_WithNorms(net), example, **options)
    assert made is not None  # only where it writes a file itself
    return made


def require(module: str, extra: str) -> Any:
    """An optional package. Raises UserError that names what to install."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"The package {module} is not installed: pip install 'stylenet[{extra}]'.") from error


def _dynamic(example: tuple[Tensor, ...], kind: Any = None) -> tuple[dict[int, Any], ...]:
    picture, weights = {0: "batch", 2: "height", 3: "width"}, {0: "batch"}
    shapes = (picture, weights)[: len(example)]
    return tuple({axis: kind or name for axis, name in shape.items()} for shape in shapes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of while it makes a graph: that it will be made otherwise one day, and of sizes that
    become numbers, which :class:`AnySize` sees to.
    """
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.getLogger("torch").setLevel(level)


class _WithNorms(nn.Module):
    """A copy of the network that says "instance norm" where it computes one: runtimes know that, and are fast at it."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        for parent in list(self.net.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, InstanceNorm):
                    setattr(parent, name, _Norm(layer))

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(content, style)


class AnySize(_WithNorms):
    """The same for tracing, which cannot follow what a network does with small pictures: they are made large enough
    before it, as :class:`stylenet.nets.johnson.Johnson` makes them, and cut after it.
    """

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        sides = torch.ops.aten._shape_as_tensor(content)[2:]
        return self.net(_large_enough(content, self.net), style)[..., : sides[0], : sides[1]]


class Seeing(_WithNorms):
    """The first part of a network, at any size."""

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net.see(_large_enough(content, self.net), style)  # type: ignore[operator]


class Painting(_WithNorms):
    """The second part of a network."""

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net.paint(content, style)  # type: ignore[operator]


def _large_enough(content: Tensor, net: nn.Module) -> Tensor:
    smallest = getattr(net, "smallest", SMALLEST)
    for axis, side in zip((2, 3), torch.ops.aten._shape_as_tensor(content)[2:], strict=True):
        places = torch.arange(side.clamp(min=smallest))  # type: ignore[arg-type]  # a number would not stay open
        content = content.index_select(axis, places.minimum(side - 1))
    return content


class _Norm(nn.Module):
    """:class:`stylenet.nets.layers.InstanceNorm` by torch's own function; the statistics in float32."""

    def __init__(self, norm: InstanceNorm):
        super().__init__()
        self.weight, self.bias, self.relu = norm.weight, norm.bias, norm.relu

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if style is None:
            y = F.instance_norm(x.float(), weight=self.weight[0].float(), bias=self.bias[0].float(), eps=EPS)
        else:
            weight, bias = ((style @ rows.float())[..., None, None] for rows in (self.weight, self.bias))
            y = F.instance_norm(x.float(), eps=EPS) * weight + bias
        return (F.relu(y) if self.relu else y).to(x.dtype)
