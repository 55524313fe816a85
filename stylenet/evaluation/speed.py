"""Speed of a network: the pass alone, and from file to file. Knows networks and files; nothing about quality."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylenet.images.image_io import Picture, read, to_array, to_tensor, write
from stylenet.system.timing import Clock


@torch.inference_mode()
def speed(net: nn.Module, photo: Tensor) -> dict[str, Any]:
    """Seconds (median, minimum, maximum) of ``net`` on ``photo`` ``(1, 3, h, w)``, after warm-up and synchronized:
    "pass_s" is the pass alone, "file_s" includes decoding and encoding a JPEG file.
    """
    clock = Clock(photo.device)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "photo.jpg", Path(folder) / "painted.jpg"
        write(source, Picture(to_array(photo), format="JPEG"))

        def file_to_file() -> None:
            output = net(to_tensor(read(source).rgb).to(photo.device))
            write(target, Picture(to_array(output), format="JPEG"))

        return {"pass_s": clock.repeated(lambda: net(photo)), "file_s": clock.repeated(file_to_file)}
