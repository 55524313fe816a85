"""A network as a graph for other programs: TorchScript, torch.export, OpenVINO, ONNX. Knows no files.

Height, width and batch stay dynamic: any ``(b, 3, h, w)`` from 1x1 up returns the same size, unless a size is fixed. A
network with several styles takes their weights ``(b, n_styles)`` as a second input.
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

from stylenet.nets.base import StyleNet
from stylenet.nets.layers import EPS, NOISE_SIDES, AdaptiveNorm, InstanceNorm, Noise, add_noise
from stylenet.system.errors import UserError

OPSET = 18  # of ONNX: the first in which all that the networks do has an operator; onnxruntime-web has them all
NAMES = ("content", "style")
STEPS_KEPT = 256  # that OpenVINO has made ready for sizes it met: about ten of them. Its own 5,000 take some 200 MB
TRIAL = (2, 66, 83)  # batch, height and width of the picture by which a graph is made: nothing of them stays in it


def inputs(net: StyleNet, dtype: torch.dtype = torch.float32, size: tuple[int, int, int] = TRIAL) -> tuple[Tensor, ...]:
    """An example input of the network: a picture, and style weights if it has several styles. ``size``: (b, h, w)."""
    batch, height, width = size
    content = torch.zeros(batch, 3, height, width, dtype=dtype)
    n = net.n_styles
    return (content,) if n == 1 else (content, torch.full((batch, n), 1 / n))


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


def parts(net: StyleNet) -> list["StyleNet | Part"]:
    """The two parts of a network, for :func:`script` and :func:`openvino`; a network in one piece as itself.

    The caller cuts the result of the last part to the picture's size.
    """
    return [Encoder(net), Decoder(net)] if net.in_parts else [net]


class StyleOf(nn.Module):
    """The style network of a network for any style: ``(painting (b, 3, h, w)) -> (b, n_styles)``, 32x32 or more."""

    def __init__(self, net: StyleNet):
        super().__init__()
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        for name in [name for name, _ in self.net.named_children() if net.style_parts and name not in net.style_parts]:
            delattr(self.net, name)

    def forward(self, painting: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net.style_of(painting)


def names_of(net: nn.Module, example: tuple[Tensor, ...]) -> tuple[tuple[str, ...], str]:
    """What a graph's inputs and its output are called."""
    of_style = isinstance(net, StyleOf) or getattr(net, "of_style", False)
    return (("painting",), "style") if of_style else (NAMES[: len(example)], "image")


def script(net: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network, or one of its :func:`parts`, in TorchScript."""
    traced = AnySize(net) if isinstance(net, StyleNet) else net
    with torch.no_grad(), _quiet():
        return torch.jit.trace(traced, example, check_trace=False)


def openvino(net: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """The network, or one of its :func:`parts`, as an ``openvino.Model``. Raises UserError without that package."""
    convert_model = require("openvino", "openvino").convert_model
    with _quiet():
        model = convert_model(script(net, example))
    inputs, output = names_of(net, example)
    for port, name in zip([*model.inputs, *model.outputs], [*inputs, output], strict=True):
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
    inputs, output = names_of(net, example)
    options: dict[str, Any] = {"input_names": inputs, "output_names": [output]}
    options |= {
        "dynamic_shapes": None if fixed else _dynamic(example),
        "opset_version": OPSET,
        "dynamo": True,
        "verbose": False,
    }
    module = _WithNorms(net)
    with torch.no_grad(), _quiet():
        if fixed:
            _fix_noise(module, example)
        made = torch.onnx.export(module, example, **options)
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
    """A copy of the network whose graph has "instance norm" as one operator: runtimes have fast code for it."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net: Any = copy.deepcopy(net).eval().requires_grad_(False)
        for parent in list(self.net.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, InstanceNorm):
                    setattr(parent, name, _Adaptive(layer) if isinstance(layer, AdaptiveNorm) else _Norm(layer))

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(content, style)


def _fix_noise(module: _WithNorms, example: tuple[Tensor, ...]) -> None:
    """Make a constant of the noise, for pictures of the size of ``example``: else it is looked up place by place."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Noise):
                setattr(parent, name, _FixedNoise(layer))
    if any(isinstance(layer, _FixedNoise) for layer in module.modules()):
        module(*example)


class _FixedNoise(nn.Module):
    """:class:`stylenet.nets.layers.Noise` at the size of the first features that it sees."""

    def __init__(self, noise: Noise):
        super().__init__()
        self.noise, self.weight = [noise], noise.weight  # in a list: its parameters are not this one's
        self.register_buffer("signs", None)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        if self.signs is None:
            blank = x.new_zeros(1, 1, *x.shape[2:])
            squares = [self.noise[0].get_buffer(f"signs_{side}") for side in NOISE_SIDES]
            self.signs = add_noise(blank, blank.new_ones(1, 1), squares[0], squares[1])
        weight = self.noise[0].of(style)[..., None, None]
        return x + weight.to(x.dtype) * self.signs.to(x.dtype)


class AnySize(_WithNorms):
    """The same for tracing, which cannot record what a network does with small pictures. They are enlarged to its
    ``smallest`` side before it, as the network itself would enlarge them, and cut after it.
    """

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        sides = torch.ops.aten._shape_as_tensor(content)[2:]
        return self.net(_large_enough(content, self.net.smallest), style)[..., : sides[0], : sides[1]]


class Encoder(_WithNorms):
    """The first part of a network, at any size."""

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net.encode(_large_enough(content, self.net.smallest), style)


class Decoder(_WithNorms):
    """The second part of a network."""

    def forward(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net.decode(features, style)


Part = Encoder | Decoder


def _large_enough(content: Tensor, smallest: int) -> Tensor:
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


class _Adaptive(nn.Module):
    """The same for :class:`stylenet.nets.layers.AdaptiveNorm`, whose scale and shift are the style."""

    def __init__(self, norm: AdaptiveNorm):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        weight, bias = (each.float()[..., None, None] for each in self.norm.of(style))
        return (F.instance_norm(x.float(), eps=EPS) * weight + bias).to(x.dtype)
