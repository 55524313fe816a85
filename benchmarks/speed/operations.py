"""Operations of a training step, and the peak matrix multiplication rate of this machine."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.measuring import Clock
from stylenet.training.module import StyleTransfer

SIDES = {"cuda": 8192, "cpu": 2048}  # of the matrices: large enough to reach the greatest rate
REPETITIONS = 5


def operations(settings: dict[str, Any], styles: list[dict[str, Any]], margin: int = 0) -> float:
    """Multiplications and additions that one image of our training needs, forward and backward, in convolutions and
    matrix products. The rest is left out: it is little arithmetic, and no matrix unit does it. ``margin``: pixels by
    which the network's picture is larger than the loss's.
    """
    model = StyleTransfer(settings["net"], settings["loss"], styles, settings["optimizer"], 1)
    model.loss.get_buffer("is_calibrated").fill_(True)
    size = settings["data"]["size"]
    content = torch.rand(1, 3, size + margin, size + margin)
    with FlopCounterMode(display=False) as counter:
        output, content = (image[..., :size, :size] for image in (model.net(content, framed=False), content))
        torch.stack([*model.loss(output, content).values()]).sum().backward()
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the product of two large square matrices, at best."""
    side = SIDES.get(device.type, 4096)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    clock, count = Clock(device), 1 if device.type == "cpu" else 20
    clock.time(lambda: a @ b, count)
    return 2 * side**3 / min(clock.time(lambda: a @ b, count) for _ in range(REPETITIONS))
