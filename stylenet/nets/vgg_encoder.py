"""The first layers of VGG16 as a part of a network: what it sees of a painting. They stay as they were pretrained.

Unlike the VGG of the losses, its weights are in the network's checkpoint, which so needs no other file.
"""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.layers import Conv

CONVS = {  # of VGG16 up to relu4_1 (Simonyan & Zisserman 2015, table 1, D): inputs and outputs
    "conv1_1": (3, 64),
    "conv1_2": (64, 64),
    "conv2_1": (64, 128),
    "conv2_2": (128, 128),
    "conv3_1": (128, 256),
    "conv3_2": (256, 256),
    "conv3_3": (256, 256),
    "conv4_1": (256, 512),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what it was trained with: ImageNet's


class VGGEncoder(nn.Module):
    """``encoder(image) -> {"relu1_1": features, ...}`` for images ``(b, 3, h, w)`` in [0, 1], 8 pixels a side or more;
    the features are ``(b, c, h / 2^i, w / 2^i)``.

    ``reflect``: borders are reflected instead of zeros, halved sizes are rounded up instead of down, so that all of the
    image counts, and images are 9 pixels a side or more.
    """

    def __init__(self, reflect: bool = False) -> None:
        super().__init__()
        self.reflect = reflect
        for name, (inputs, outputs) in CONVS.items():
            conv = Conv(inputs, outputs, 3, bias=True) if reflect else nn.Conv2d(inputs, outputs, 3, padding=1)
            self.add_module(name, conv)
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD, device="cpu").view(1, 3, 1, 1), persistent=False)

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Take the pretrained weights, ``conv1_1.weight`` and so on."""
        self.load_state_dict({key: state[key] for key in self.state_dict()})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return dict(self.layers(image))

    def layers(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The features one by one, as they are computed."""
        x = (image - self.get_buffer("mean")) / self.get_buffer("std")
        for name in CONVS:
            if name != "conv1_1" and name.endswith("_1"):
                x = F.max_pool2d(x, 2, ceil_mode=self.reflect)
            x = F.relu(self.get_submodule(name)(x))
            yield name.replace("conv", "relu"), x
