"""The baseline: the recipe of pytorch/examples' fast_neural_style, common to most public trainers.

A new implementation from its description, with its costs: float32, eager, both pictures through the whole VGG, the
losses read back after every step, photos decoded in the training process. Its parameters have the names of that
project's files, so ``stylenet.nets.pytorch_examples`` reads them. It knows nothing of our networks,
losses and data; only the VGG weights are shared.

Pictures in this module are ``(b, 3, h, w)`` in 0..255.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.system.errors import UserError, one_line

CONTENT_WEIGHT, STYLE_WEIGHT, LEARNING_RATE, BATCH = 1e5, 1e10, 1e-3, 4
CONVOLUTIONS = (2, 2, 3, 3)  # of VGG16 in each stage up to relu4_3
CONTENT_STAGE = 1  # relu2_2
ENDLESS = 1_000_000  # times the photos are gone through


class Padded(nn.Sequential):
    """A convolution over the reflected picture."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1):
        convolution = nn.Conv2d(before, after, kernel, stride)
        super().__init__(OrderedDict(pad=nn.ReflectionPad2d(kernel // 2), conv2d=convolution))
        self.width = after


class Block(nn.Module):
    """Two convolutions and norms beside an unchanged path."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.in1 = Padded(width, width, 3), nn.InstanceNorm2d(width, affine=True)
        self.conv2, self.in2 = Padded(width, width, 3), nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class CommonNet(nn.Sequential):
    """c9s1-32, d64, d128, five residual blocks, u64, u32, c9s1-3, nothing after the last convolution."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128), blocks: int = 5):
        super().__init__()
        a, b, c = widths
        for number, conv in enumerate((Padded(3, a, 9), Padded(a, b, 3, 2), Padded(b, c, 3, 2)), 1):
            self._add(f"conv{number}", conv, number)
        for number in range(1, blocks + 1):
            self.add_module(f"res{number}", Block(c))
        for number, conv in enumerate((Padded(c, b, 3), Padded(b, a, 3)), 1):
            self.add_module(f"double{number}", nn.Upsample(scale_factor=2, mode="nearest"))
            self._add(f"deconv{number}", conv, number + 3)
        self.add_module("deconv3", Padded(a, 3, 9))

    def _add(self, name: str, conv: Padded, number: int) -> None:
        self.add_module(name, conv)
        self.add_module(f"in{number}", nn.InstanceNorm2d(conv.width, affine=True))
        self.add_module(f"relu{number}", nn.ReLU())


class CommonVGG(nn.ModuleList):
    """VGG16 from normalised pictures to relu1_2, relu2_2, relu3_3 and relu4_3, all four every time."""

    def __init__(self) -> None:
        super().__init__()
        state = vgg_weights("vgg16").state
        for stage, count in enumerate(CONVOLUTIONS, 1):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if stage > 1 else []
            for name in (f"conv{stage}_{number}" for number in range(1, count + 1)):
                layers += [_convolution(state[f"{name}.weight"], state[f"{name}.bias"]), nn.ReLU(inplace=True)]
            self.append(nn.Sequential(*layers))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self:
            features.append(x := stage(x))
        return features


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def normalised(pictures: Tensor) -> Tensor:
    """0..255 to what torchvision's VGG16 was trained on."""
    mean = pictures.new_tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
    std = pictures.new_tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    return (pictures / 255 - mean) / std


def gram(features: Tensor) -> Tensor:
    """``F F^T / (c h w)``: ``(b, c, h, w)`` -> ``(b, c, c)``."""
    b, c, h, w = features.shape
    rows = features.view(b, c, h * w)
    return rows.bmm(rows.transpose(1, 2)) / (c * h * w)


def losses(vgg: nn.Module, output: Tensor, content: Tensor, grams: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The weighted content and style loss of 0..255 pictures against the painting's Grams ``(1, c, c)``, by layer."""
    of_output, of_content = vgg(normalised(output)), vgg(normalised(content))
    content_loss = CONTENT_WEIGHT * F.mse_loss(of_output[CONTENT_STAGE], of_content[CONTENT_STAGE])
    style_loss = torch.zeros((), device=output.device)
    for features, target in zip(of_output, grams, strict=True):
        style_loss = style_loss + F.mse_loss(gram(features), target.expand(len(output), -1, -1))
    return content_loss, STYLE_WEIGHT * style_loss


class Folder(Dataset[Tensor]):
    """Photos as that recipe reads them: shorter side to ``size``, centre square, 0..255; over and over in one order."""

    def __init__(self, photos: Sequence[Path], size: int):
        self.photos = photos
        steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
        self.transform: Any = transforms.Compose([*steps, transforms.Lambda(lambda picture: picture.mul(255))])

    def __len__(self) -> int:
        return len(self.photos) * ENDLESS

    def __getitem__(self, index: int) -> Tensor:
        path = self.photos[index % len(self.photos)]
        try:
            with Image.open(path) as photo:
                return self.transform(photo.convert("RGB"))
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({one_line(error)}), and the common recipe stops there. Take it out of data=."
            ) from error


class CommonTraining:
    """The recipe at work: ``step()`` is one step of training, and returns the content and the style loss.

    ``painting``: ``(1, 3, h, w)`` in 0..255.
    """

    def __init__(self, photos: Sequence[Path], painting: Tensor, size: int, batch: int, device: torch.device):
        self.device, self.batch = device, batch
        self.net, self.vgg = CommonNet().to(device), CommonVGG().to(device)
        self.adam = torch.optim.Adam(self.net.parameters(), LEARNING_RATE)
        self.grams = [gram(features) for features in self.vgg(normalised(painting.to(device)))]
        self.batches: Iterator[Tensor] = iter(DataLoader(Folder(photos, size), batch))

    def step(self) -> tuple[float, float]:
        content = next(self.batches).to(self.device)
        self.adam.zero_grad()
        content_loss, style_loss = losses(self.vgg, self.net(content), content, self.grams)
        (content_loss + style_loss).backward()
        self.adam.step()
        return content_loss.item(), style_loss.item()
