"""ONNX files of other makers, by onnxruntime: a picture in, something out. Knows nothing about what it means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stylenet.runtime import graph
from stylenet.system.errors import UserError, one_line

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def opened(model: str | bytes, name: object) -> Any:
    """An onnxruntime session of a file or of its bytes. ``name``: what messages call it. Raises UserError if it cannot
    be used, or onnxruntime is not installed.
    """
    onnxruntime = graph.require("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as exceptions
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(model, options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(f"{name} cannot be used as ONNX: {one_line(error):.200}. Export it again.") from error


def picture_input(name: object, inputs: Sequence[Any]) -> Any:
    """The only input of a session, if it is a picture of floats. Raises UserError otherwise."""
    signature = "; ".join(f"{given.name} {given.shape} {given.type}" for given in inputs)
    if len(inputs) == 1:
        shape = inputs[0].shape
        if inputs[0].type in FLOATS and len(shape) == 4 and (shape[1] == 3 or shape[3] == 3 or not _fixed(shape[1])):
            return inputs[0]
    raise UserError(f"{name} takes {signature}: use a network with one input of floats (b, 3, h, w) or (b, h, w, 3).")


def _fixed(side: Any) -> bool:
    return isinstance(side, int)
