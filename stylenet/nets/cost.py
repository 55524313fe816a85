"""The cost of a network, counted from its shapes without computing anything. Knows nothing about training or files."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(net: nn.Module, height: int = 256, width: int = 256) -> int:
    """Multiply-adds of all convolutions and matrix products of a pass over one picture, low-pass filters included.

    Not counted: norms, sums, ReLU, bilinear upsampling.
    """
    empty = copy.deepcopy(net).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        empty(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2  # it counts a multiply-add as two


def parameters(net: nn.Module) -> int:
    """The number of trained numbers."""
    return sum(parameter.numel() for parameter in net.parameters())
