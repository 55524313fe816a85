"""Operations of a training step, and the peak matrix multiplication rate of this machine."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.measuring import Clock
from stylenet.training.module import StyleTransfer

SIDES = {"cuda": 8192, "cpu": 2048}  # of the matrices: large enough to reach the greatest rate
REPETITIONS = 5


def operations(settings: dict[str, Any], styles: list[dict[str, Any]]) -> float:
    """Multiplications and additions that one image of our training needs, forward and backward, in convolutions and
    matrix products. The rest is left out: it is little arithmetic, and no matrix unit does it.
    """
    model = StyleTransfer(settings["net"], settings["loss"], styles, settings["optimizer"], 1)
    model.loss.get_buffer("is_calibrated").fill_(True)
    content = torch.rand(1, 3, settings["data"]["size"], settings["data"]["size"])
    with FlopCounterMode(display=False) as counter:
        torch.stack([*model.loss(model.net(content, framed=False), content).values()]).sum().backward()
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the product of two large square matrices, at best."""
    side = SIDES.get(device.type, 4096)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    clock, count = Clock(device), 1 if device.type == "cpu" else 20
    clock.time(lambda: a @ b, count)
    return 2 * side**3 / min(clock.time(lambda: a @ b, count) for _ in range(REPETITIONS))
