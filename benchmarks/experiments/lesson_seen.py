"""What the layers of a VGG see: receptive fields, feature maps, and pictures rebuilt from features or Gram matrices.

For lesson.py. Knows pictures and layers; nothing about files, pages or styles.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylenet.losses.perceptual import content_distance, gram, style_distance, tv
from stylenet.losses.vgg import VGG, layer_names
from stylenet.optimizing.optimizer import beginning, optimize

VGG_NAME, POOLING = "vgg16", "average"  # average pooling leaves no rows of dots in a rebuilt picture (Gatys 2016, 2)
KERNEL, POOL = 3, 2  # pixels of a convolution's and of a pooling's window, along each axis
SMOOTH = 4e-6  # weight of total variation: without it the high layers leave noise that they cannot see

Terms = Mapping[str, Tensor]
Seen = Callable[[int, Terms, Tensor], Any]


def receptive_field(layer: str, name: str = VGG_NAME) -> tuple[int, int]:
    """Pixels along one side of the square that one number of this layer depends on, and from one such square to the
    next.

    A window of k numbers that lie ``step`` pixels apart adds ``(k - 1) * step`` pixels. A pooling doubles the step.
    """
    field, step = 1, 1
    for each in layer_names(name):
        if each.endswith("_1") and each != "relu1_1":
            field, step = field + (POOL - 1) * step, POOL * step
        field += (KERNEL - 1) * step
        if each == layer:
            return field, step
    raise ValueError(f"{layer} is no layer of {name}.")


def from_features(photo: Tensor, layer: str, steps: int, seen: Seen | None = None, seed: int = 0) -> Tensor:
    """The picture, ``(1, 3, h, w)`` in [0, 1], whose features at ``layer`` are those of the photo: found from noise.

    The term "content" is the share of the features that is missing: 1 for features that are 0, 0 for the photo's own.
    """
    vgg = VGG([layer], VGG_NAME, pooling=POOLING).to(photo.device)
    with torch.no_grad():
        wanted = vgg(photo)[layer]
        whole = wanted.square().mean()

    def loss(image: Tensor, content: Tensor, targets: Any) -> Terms:
        distance = content_distance(vgg(image)[layer], wanted).mean()
        return {"content": distance / whole, "tv": SMOOTH * tv(image)}

    return optimize(loss, photo, beginning("noise", photo, photo, seed), steps, seen=seen)


def from_grams(painting: Tensor, layers: Sequence[str], steps: int, seen: Seen | None = None, seed: int = 0) -> Tensor:
    """The picture, as large as the painting, whose Gram matrices at ``layers`` are the painting's: found from noise.

    A term by layer: the share of its Gram matrix that is missing, divided by the number of layers.
    """
    vgg = VGG(layers, VGG_NAME, pooling=POOLING).to(painting.device)
    with torch.no_grad():
        wanted = {layer: gram(features) for layer, features in vgg(painting).items()}

    def loss(image: Tensor, content: Tensor, targets: Any) -> Terms:
        grams = {layer: gram(features) for layer, features in vgg(image).items()}
        missing = {x: style_distance(grams[x], wanted[x]).mean() / wanted[x].square().sum() for x in layers}
        return {f"style/{layer}": share / len(layers) for layer, share in missing.items()}

    return optimize(loss, painting, beginning("noise", painting, painting, seed), steps, seen=seen)


@torch.no_grad()
def strongest_maps(photo: Tensor, layers: Sequence[str], count: int) -> dict[str, list[Tensor]]:
    """The ``count`` feature maps ``(h, w)`` of each layer that vary most over the photo, each scaled to [0, 1].

    Of maps that look alike, with a correlation above 0.7, only the first is taken.
    """
    features = VGG(layers, VGG_NAME, pooling=POOLING).to(photo.device)(photo)
    return {layer: _unlike(maps[0], count) for layer, maps in features.items()}


def _unlike(maps: Tensor, count: int) -> list[Tensor]:
    found: list[Tensor] = []
    flat = maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-9)
    taken: list[int] = []
    for channel in maps.flatten(1).std(1).argsort(descending=True).tolist():
        if len(taken) == count:
            break
        if all(abs(float(flat[channel] @ flat[other])) < 0.7 for other in taken):
            taken.append(channel)
            found.append(maps[channel] / maps[channel].max())
    return found
