"""A network rearranged for inference: the same function of a picture, up to rounding, with less arithmetic.

Two layers waste most of a pass:

- A convolution with three outputs takes as long as one with sixteen, the number that a processor handles at once. One
with a stride of 2 that computes four pixels at a time has twelve outputs, and takes a third of the time.

- A convolution after nearest-neighbour doubling multiplies each number by several weights and adds the products. The
sum of the weights can be computed beforehand: a transposed convolution with 4 weights instead of 9.

Knows the layers of the networks; nothing about the networks. Not for training.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.layers import Conv, Down, Residual, Up, upsample_nearest
from stylenet.nets.regions import Regions

COLOURS = 3

Net = TypeVar("Net", bound=nn.Module)


def fast(net: Net) -> Net:
    """A rearranged copy of ``net`` in eval mode. Layers that are not known stay as they are."""
    net = copy.deepcopy(net).eval().requires_grad_(False)
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Up) and layer.upsample is upsample_nearest:
                setattr(parent, name, Doubling(layer))
            elif isinstance(layer, Conv) and not isinstance(parent, Down | Residual | Up) and _gives_pixels(layer):
                setattr(parent, name, FourPixels(layer))
    return net


def _gives_pixels(conv: Conv) -> bool:
    return conv.out_channels == COLOURS and conv.stride == (1, 1)


class FourPixels(nn.Module):
    """A :class:`Conv` of stride 1 with few outputs, two by two pixels at a time. Height and width are even."""

    def __init__(self, conv: Conv):
        super().__init__()
        outputs, inputs, size, _ = conv.weight.shape
        weight = conv.weight.new_zeros(outputs, 2, 2, inputs, size + 1, size + 1)
        for y in (0, 1):
            for x in (0, 1):
                weight[:, y, x, :, y : y + size, x : x + size] = conv.weight.detach()
        self.weight = nn.Parameter(weight.flatten(0, 2), requires_grad=False)
        bias = None if conv.bias is None else conv.bias.detach().repeat_interleave(4)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.border = size // 2

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.border,) * 4, mode="reflect")
        return F.pixel_shuffle(F.conv2d(padded, self.weight, self.bias, stride=2), 2)


class Doubling(nn.Module):
    """An :class:`Up` by nearest neighbour as one transposed convolution.

    Along one axis the doubled row is a a b b c c: an even place and its neighbours see (a, b, b), an odd place
    (b, b, c). Its border, reflected, is that of the small row with its ends repeated.
    """

    def __init__(self, up: Up):
        super().__init__()
        self.norm = up.norm
        sums = up.conv.weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # parity, place, tap
        phases = torch.einsum("atk,bul,oikl->iotaub", sums, sums, up.conv.weight.detach())
        inputs, outputs = phases.shape[:2]
        # Place t of parity a is reached from 3 - a - 2 t of the transposed kernel: both axes run backwards.
        weight = phases.reshape(inputs, outputs, 4, 4).flip(2, 3)
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)

    def forward(self, x: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return self.norm(F.conv_transpose2d(padded, self.weight, stride=2, padding=3), style)
