"""The network that finds people in a photo: MediaPipe's selfie segmentation, with its own weights. Knows no pictures.

Small and quick rather than exact: 108 thousand weights, one pass at 256x256. An encoder after MobileNetV3 (Howard et
al. 2019), and a decoder that adds the encoder's features back at each resolution, weighted by channel.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from stylenet.system.places import ASSETS

WEIGHTS = ASSETS / "masks" / "person.safetensors"
SIDE = 256  # of the photos that it was trained on, in pixels
STRIDE = 16  # sides are multiples of it


class PersonNet(nn.Module):
    """``net(photo) -> mask``: ``(b, 3, h, w)`` in [0, 1] to ``(b, 1, h, w)``, 1 where a person is. Sides are multiples
    of STRIDE.
    """

    def __init__(self):
        super().__init__()
        self.first = _Conv(3, 16, 3, stride=2)
        self.second = _Bottleneck(16, 16, 16, 3, stride=2, squeezed=8)
        self.third = nn.Sequential(_Bottleneck(16, 72, 24, 3, stride=2), _Bottleneck(24, 88, 24, 3))
        self.deep = nn.Sequential(
            _Bottleneck(24, 96, 32, 5, stride=2, squeezed=24, swish=True),
            _Bottleneck(32, 128, 32, 5, squeezed=32, swish=True),
            _Bottleneck(32, 128, 32, 5, squeezed=32, swish=True),
            _Bottleneck(32, 96, 32, 5, squeezed=24, swish=True),
            _Bottleneck(32, 96, 32, 5, squeezed=24, swish=True),
        )
        self.scene, self.scene_gate = _Conv(32, 128), _Conv(32, 128)
        self.decoders = nn.ModuleList([_Decoder(128, 24), _Decoder(24, 16), _Decoder(16, 16)])
        self.last = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, photo: Tensor) -> Tensor:
        first = F.hardswish(self.first(photo))
        second = self.second(first)
        third = self.third(second)
        deep = self.deep(third)
        y = F.relu(self.scene(deep)) * torch.sigmoid(self.scene_gate(_mean(deep)))
        for decoder, skip in zip(self.decoders, (third, second, first), strict=True):
            y = decoder(y, skip)
        return torch.sigmoid(self.last(y))


def load() -> PersonNet:
    """The network with the weights that come with the package, in float32 on the CPU, for use."""
    net = PersonNet()
    net.load_state_dict({name: weight.float() for name, weight in load_file(Path(WEIGHTS)).items()})
    return net.eval().requires_grad_(False)


class _Conv(nn.Conv2d):
    """A convolution with zeros around the picture, as many as TensorFlow's "same" puts there: with a stride, more of
    them below and to the right.
    """

    def __init__(self, channels: int, out: int, size: int = 1, stride: int = 1, groups: int = 1):
        super().__init__(channels, out, size, stride, groups=groups)
        around = size - stride
        self.around = (around // 2, around - around // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around) if any(self.around) else x)


class _Bottleneck(nn.Module):
    """1x1 to ``wide`` channels, a convolution of each channel, weights by channel (``squeezed``), and 1x1 to ``out``;
    added to the input if it has the same shape. ``swish``: hard swish, else ReLU.
    """

    def __init__(
        self, channels: int, wide: int, out: int, size: int, stride: int = 1, squeezed: int = 0, swish: bool = False
    ):
        super().__init__()
        self.widen, self.each = _Conv(channels, wide), _Conv(wide, wide, size, stride, groups=wide)
        self.gate = _Gate(wide, squeezed) if squeezed else None
        self.narrow = _Conv(wide, out)
        self.active = F.hardswish if swish else F.relu
        self.adds = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.active(self.each(self.active(self.widen(x))))
        y = self.narrow(y if self.gate is None else y * self.gate(y))
        return x + y if self.adds else y


class _Gate(nn.Module):
    """A weight from 0 to 1 for each channel, from the means over the picture (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.squeeze, self.excite = _Conv(channels, squeezed), _Conv(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(_mean(x)))))


class _Decoder(nn.Module):
    """Features at twice the resolution, with the encoder's (``skip``) of that resolution."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.narrow, self.gate = _Conv(channels, out), _Gate(out, out)
        self.mix, self.each = _Conv(out, out), _Conv(out, out, 3, groups=out)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        above = self.narrow(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        y = F.relu(self.mix(skip * self.gate(skip + above) + above))
        return y + F.relu(self.each(y))


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
