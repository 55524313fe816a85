"""Third-party networks as ONNX files: pictures in, pictures out. Knows nothing about their training.

Such a file states its input shape but not its pixel range; three ranges are common.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.runtime import onnx_file
from stylenet.system.errors import UserError, one_line

RANGES = {"0-1": (0.0, 1.0), "0-255": (0.0, 255.0), "-1-1": (-1.0, 1.0)}
TRIAL = 256  # side of the test picture that detects the range, in pixels
SAME = 0.02  # of the range: smaller differences count as equal


class OnnxNet(nn.Module):
    """``net(content) -> image``, both ``(b, 3, h, w)`` in [0, 1], by onnxruntime, in the layout and range of the file.

    ``range``: "0-1", "0-255", "-1-1", or "auto", which examines the output. ``size``: the fixed (height, width) of the
    file, None for any; pictures are resized to it and back. ``notes``: layout, range and size in words. Raises
    UserError for any other file, or if the range cannot be detected.
    """

    def __init__(self, path: str | Path, range: str = "auto"):
        super().__init__()
        if range != "auto" and range not in RANGES:
            raise UserError(f"range={range}: no such range. Allowed: auto, {', '.join(RANGES)}.")
        self.path = Path(path)
        self.session = onnx_file.opened(str(self.path), self.path)
        given = onnx_file.picture_input(self.path, self.session.get_inputs())
        self.input, self.dtype = given.name, onnx_file.FLOATS[given.type]
        self.channels_last = given.shape[1] != 3 and given.shape[3] == 3
        sides = given.shape[1:3] if self.channels_last else given.shape[2:4]
        self.size = (int(sides[0]), int(sides[1])) if all(isinstance(side, int) for side in sides) else None
        self.range = self._found_range() if range == "auto" else range
        how = "detected from the output" if range == "auto" else "as given"
        layout = "NHWC" if self.channels_last else "NCHW"
        takes = f"{self.size[1]}x{self.size[0]} pixels only" if self.size else "any size"
        self.notes = f"ONNX, {layout}, pixels in {self.range} ({how}), {takes}"

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        low, high = RANGES[self.range]
        fitted = _resized(content, self.size) if self.size else content
        raw = self._run(fitted.float().cpu() * (high - low) + low)
        return _resized((raw - low) / (high - low), content.shape[-2:]).to(content)

    def _run(self, pixels: Tensor) -> Tensor:
        """The raw output, in the file's range; one picture at a time."""
        return torch.cat([self._one(picture[None]) for picture in pixels])

    def _one(self, picture: Tensor) -> Tensor:
        array = picture.permute(0, 2, 3, 1) if self.channels_last else picture
        try:
            output = self.session.run(None, {self.input: np.ascontiguousarray(array.numpy(), self.dtype)})[0]
        except Exception as error:  # onnxruntime has many exception types
            shape = "x".join(map(str, picture.shape[:1:-1]))
            raise UserError(f"{self.path} fails on a picture of {shape} pixels: {one_line(error):.200}.") from error
        found = torch.from_numpy(np.asarray(output, np.float32))
        found = found[None] if found.ndim == 3 else found
        if found.ndim == 4 and found.shape[1] != 3 and found.shape[3] == 3:
            found = found.permute(0, 3, 1, 2)
        if found.ndim != 4 or found.shape[1] != 3:
            raise UserError(f"{self.path} gives {tuple(output.shape)}, which is not an RGB picture.")
        return found

    def _found_range(self) -> str:
        """The pixel range, from the outputs for a test picture in [0, 1] and in 0..255. A network for 0..255 returns
        far more than 1 for both, one for [0, 1] about 1 at most. If the output scales with the input, the range is
        detected only for a scale-invariant network.
        """
        trial = torch.rand(1, 3, *(self.size or (TRIAL, TRIAL)), generator=torch.Generator().manual_seed(0))
        trial = F.avg_pool2d(F.pad(trial, (2, 2, 2, 2), mode="reflect"), 5, 1)  # smoother than noise, like a photo
        small, large = self._run(trial), self._run(trial * 255)
        if _greatest(small) > 4:
            return "0-255"
        if _greatest(large) <= 4:
            return "-1-1" if float(small.flatten().quantile(0.1)) < -0.3 else "0-1"
        if float((large / 255 - small).abs().max()) < SAME:
            return "0-1"  # scale-invariant
        raise UserError(f"{self.path} does not reveal its pixel range: use range=0-1, range=0-255 or range=-1-1.")


def _greatest(pixels: Tensor) -> float:
    """The 99th percentile of the absolute values: single pixels can be outliers."""
    return float(pixels.abs().flatten()[:: max(1, pixels.numel() // 100_000)].quantile(0.99))


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, tuple(size), mode="bicubic", antialias=True, align_corners=False)
