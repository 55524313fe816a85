"""Networks of other makers as ONNX files: pictures in, pictures out. Knows nothing about how they were trained.

Such a file says what shape it takes, and nothing of the range of its pixels, for which there are three customs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.system.errors import UserError, one_line

RANGES = {"0-1": (0.0, 1.0), "0-255": (0.0, 255.0), "-1-1": (-1.0, 1.0)}
TRIAL = 256  # pixels a side of the picture by which the range is found out
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
SAME = 0.02  # of the range: differences below it are no differences


class OnnxNet(nn.Module):
    """``net(content) -> image``, both ``(b, 3, h, w)`` in [0, 1], by onnxruntime, in whatever layout and range the file
    wants.

    ``range``: "0-1", "0-255", "-1-1", or "auto", which looks at what comes out. ``size``: the (height, width) that the
    file insists on, None if any will do; pictures are resized to it and back. ``notes``: what was found, in words.
    Raises UserError for a file that is no such network, or of which the range cannot be told.
    """

    def __init__(self, path: str | Path, range: str = "auto"):
        super().__init__()
        if range != "auto" and range not in RANGES:
            raise UserError(f"range={range}: no such range. Allowed: auto, {', '.join(RANGES)}.")
        self.path = Path(path)
        self.session = _session(self.path)
        given = _picture_input(self.path, self.session.get_inputs())
        self.input, self.dtype = given.name, FLOATS[given.type]
        self.channels_last = given.shape[1] != 3 and given.shape[3] == 3
        sides = given.shape[1:3] if self.channels_last else given.shape[2:4]
        self.size = (int(sides[0]), int(sides[1])) if all(isinstance(side, int) for side in sides) else None
        self.range = self._found_range() if range == "auto" else range
        how = "found by what comes out" if range == "auto" else "as given"
        layout = "NHWC" if self.channels_last else "NCHW"
        takes = f"{self.size[1]}x{self.size[0]} pixels only" if self.size else "any size"
        self.notes = f"ONNX, {layout}, pixels in {self.range} ({how}), {takes}"

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        low, high = RANGES[self.range]
        fitted = _resized(content, self.size) if self.size else content
        raw = self._run(fitted.float().cpu() * (high - low) + low)
        return _resized((raw - low) / (high - low), content.shape[-2:]).to(content)

    def _run(self, pixels: Tensor) -> Tensor:
        """As the file has it: its own range, one picture at a time."""
        return torch.cat([self._one(picture[None]) for picture in pixels])

    def _one(self, picture: Tensor) -> Tensor:
        array = picture.permute(0, 2, 3, 1) if self.channels_last else picture
        try:
            output = self.session.run(None, {self.input: np.ascontiguousarray(array.numpy(), self.dtype)})[0]
        except Exception as error:  # onnxruntime has many kinds
            shape = "x".join(map(str, picture.shape[:1:-1]))
            raise UserError(f"{self.path} fails on a picture of {shape} pixels: {one_line(error):.200}.") from error
        found = torch.from_numpy(np.asarray(output, np.float32))
        found = found[None] if found.ndim == 3 else found
        if found.ndim == 4 and found.shape[1] != 3 and found.shape[3] == 3:
            found = found.permute(0, 3, 1, 2)
        if found.ndim != 4 or found.shape[1] != 3:
            raise UserError(f"{self.path} gives {tuple(output.shape)}, which is no picture of three colours.")
        return found

    def _found_range(self) -> str:
        """A network for 0..255 gives far more than 1 even for a picture in [0, 1], one for [0, 1] no more than about 1
        for whatever it gets; where the output follows the scale of the input, only a network without constants is told.
        """
        trial = torch.rand(1, 3, *(self.size or (TRIAL, TRIAL)), generator=torch.Generator().manual_seed(0))
        trial = F.avg_pool2d(F.pad(trial, (2, 2, 2, 2), mode="reflect"), 5, 1)  # noise alone is not like a photo
        small, large = self._run(trial), self._run(trial * 255)
        if _greatest(small) > 4:
            return "0-255"
        if _greatest(large) <= 4:
            return "-1-1" if float(small.flatten().quantile(0.1)) < -0.3 else "0-1"
        if float((large / 255 - small).abs().max()) < SAME:
            return "0-1"  # the scale is all the same to it
        raise UserError(
            f"{self.path} does not show which range its pixels have: give range=0-1, range=0-255 or range=-1-1."
        )


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise UserError("An ONNX file needs the onnxruntime package: pip install 'stylenet[onnx]'.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong comes as an exception
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # a file can be damaged in any way
        raise UserError(f"{path} cannot be used as ONNX: {one_line(error):.200}. Export it again.") from error


def _picture_input(path: Path, inputs: Sequence[Any]) -> Any:
    """The one input, if it is a picture of floats."""
    said = "; ".join(f"{given.name} {given.shape} {given.type}" for given in inputs)
    if len(inputs) == 1:
        shape = inputs[0].shape
        if inputs[0].type in FLOATS and len(shape) == 4 and (shape[1] == 3 or shape[3] == 3 or not _fixed(shape[1])):
            return inputs[0]
    raise UserError(f"{path} takes {said}: give a network with one input of floats (b, 3, h, w) or (b, h, w, 3).")


def _fixed(side: Any) -> bool:
    return isinstance(side, int)


def _greatest(pixels: Tensor) -> float:
    """All but the last percent, for a few pixels may be anywhere."""
    return float(pixels.abs().flatten()[:: max(1, pixels.numel() // 100_000)].quantile(0.99))


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, tuple(size), mode="bicubic", antialias=True, align_corners=False)
