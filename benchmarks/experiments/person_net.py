"""Make the weights of mask=person (stylenet/assets/masks) from the file that MediaPipe publishes.

    npm pack @mediapipe/selfie_segmentation@0.1.1675465747 && tar xzf mediapipe-selfie_segmentation-*.tgz
    pip install tflite
    python -m benchmarks.experiments.person_net file=package/selfie_segmentation.tflite out=person.safetensors

The layers of stylenet.nets.person_net are declared in the order in which that graph computes them. Refuses any other
file.
"""

import hashlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from benchmarks.experiments import trainings
from stylenet.nets.person_net import PersonNet
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {"file": "selfie_segmentation.tflite", "out": "person.safetensors"}
SHA256 = "8d13b7fae74af625c641226813616a2117bd6bca19eb3b75574621fc08557f27"
SOURCE = {
    "title": "MediaPipe Selfie Segmentation (general)",
    "author": "Google (the MediaPipe authors)",
    "licence": "Apache-2.0",
    "source": "npm @mediapipe/selfie_segmentation 0.1.1675465747, selfie_segmentation.tflite",
    "changes": "weights in safetensors, renamed",
}
ORDERS = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2), "CUSTOM": (3, 0, 1, 2)}  # of axes, torch's


def main() -> None:
    chosen = trainings.options(OPTIONS)
    data = Path(chosen["file"]).expanduser().read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UserError(f"file={chosen['file']} is not the file that this is written for: SHA-256 {SHA256}.")
    arrays = [*_arrays(data)]
    names = [*PersonNet().state_dict()]
    state = {name: torch.from_numpy(array.copy()) for name, array in zip(names, arrays, strict=True)}
    PersonNet().load_state_dict(state)  # refuses other shapes
    with replacing(chosen["out"]) as temp:
        temp.write_bytes(save(state, SOURCE))


def _arrays(data: bytes) -> Iterator[np.ndarray]:
    """Weight and bias of each convolution, in the order of the graph, as torch lays them out."""
    tflite: Any = import_module("tflite")
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if not name.startswith("_")}
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    stored: dict[int, int] = {}  # what a DEQUANTIZE gives, and what it takes
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs = [int(index) for index in operator.InputsAsNumpy()]
        if name == "DEQUANTIZE":
            stored[int(operator.OutputsAsNumpy()[0])] = inputs[0]
        elif name in ORDERS:
            weight, bias = (_stored(model, graph, stored[index]) for index in inputs[1:3])
            yield weight.transpose(ORDERS[name])
            yield bias


def _stored(model: Any, graph: Any, index: int) -> np.ndarray:
    tensor = graph.Tensors(index)
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    return np.frombuffer(data.tobytes(), np.float16).reshape(tensor.ShapeAsNumpy())


if __name__ == "__main__":
    trainings.answering(main)
