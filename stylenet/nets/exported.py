"""Read a style from an ONNX file of :mod:`stylenet.runtime.export`: the network's own weights and the metadata.

Such a file holds the network of :mod:`stylenet.nets.fuse` as a graph. The weights are extracted; the graph is not run.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KEY = "stylenet"  # of the metadata
PREFIX = "net.net."  # of the weights' names
OF_EXPORT = (
    "picture",
    "half",
    "exported",
    "operators",
    "engine",
)  # what the metadata says of the file, not of the style
# How one axis of a kernel of 3 becomes one of 4 that does the doubling too, see nets.fast.Doubling, and back.
_DOUBLED = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=torch.float64)
_UNDOUBLED = torch.linalg.pinv(_DOUBLED)


def style(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """What the file says and the weights under the network's names; None where it is no such file, is damaged, or
    the onnx package is not installed. Raises OSError.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError:
        return None
    data = path.read_bytes()
    try:
        model: Any = onnx.load_model_from_string(data)  # no other files are read
        told = {one.key: one.value for one in model.metadata_props}
        info = json.loads(told[KEY])
        held = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in model.graph.initializer}
        state = dict(_weights(model.graph, held))
        if info["net"]["name"] == "adain":  # its norm has no weights
            state = {key: value for key, value in state.items() if not key.startswith("norm.")}
        if info["net"]["args"].get("noise"):
            state["noise.weight"] = _noise(info["net"]["args"], held)
    except Exception:  # a stranger's file can make the reader fail in any way
        return None
    return {key: value for key, value in info.items() if key not in OF_EXPORT}, state


def _weights(graph: Any, held: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The weights by their names. Those of norms and noise may have lost theirs. A norm's are the scale and offset of
    its operator with one style, and the last two that the style was multiplied by with several.
    """
    convolution, of_styles = "", []
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1].startswith(PREFIX):
            convolution, weight = node.input[1].removeprefix(PREFIX), held[node.input[1]]
            if node.op_type == "ConvTranspose":
                convolution = f"{convolution.removesuffix('weight')}conv.weight"
                yield convolution, _undoubled(weight)
            elif weight.shape[-1] % 2 == 0:
                yield convolution, _one_pixel(weight)
                yield f"{convolution.removesuffix('weight')}bias", held[node.input[2]][::4]
            else:
                yield convolution, weight
                if len(node.input) > 2:
                    yield f"{convolution.removesuffix('weight')}bias", held[node.input[2]]
        elif node.op_type == "MatMul":
            of_styles.append(held.pop(node.input[1]))
        elif node.op_type == "InstanceNormalization":
            pair = of_styles[-2:] or [held[name][None] for name in node.input[1:]]
            yield from zip((f"{_norm(convolution)}.{name}" for name in ("weight", "bias")), pair, strict=True)
            of_styles.clear()


def _noise(args: dict[str, Any], held: dict[str, Tensor]) -> Tensor:
    """The only tensor of its shape that is left."""
    shape = args.get("n_styles", 1), args["widths"][-1]
    (found,) = [one for one in held.values() if one.shape in (shape, (*shape, 1, 1)) and one.is_floating_point()]
    return found.reshape(shape)


def _norm(convolution: str) -> str:
    """The norm after a convolution: down.0.norm after down.0.conv.weight, norm2 after conv2; norm after VGG."""
    if convolution.startswith("encoder."):
        return "norm"
    parent, _, layer = convolution.removesuffix(".weight").rpartition(".")
    return f"{parent}.{layer.replace('conv', 'norm')}" if layer.startswith("conv") else f"{parent}.{layer}.norm"


def _one_pixel(weight: Tensor) -> Tensor:
    """The kernel of which :class:`stylenet.nets.fuse.FourPixels` holds four shifted copies."""
    outputs, inputs, size, _ = weight.shape
    return weight.reshape(outputs // 4, 2, 2, inputs, size, size)[:, 0, 0, :, : size - 1, : size - 1]


def _undoubled(weight: Tensor) -> Tensor:
    """The kernel of which :class:`stylenet.nets.fuse.Doubling` holds the sums."""
    sums = weight.flip(2, 3).double()
    return (_UNDOUBLED @ sums @ _UNDOUBLED.T).transpose(0, 1).to(weight.dtype)
