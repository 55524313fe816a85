"""Frozen VGG features by layer name; vgg_weights.py finds the weights.

The weights are non-persistent buffers: they follow ``.to()``, and are absent from ``parameters()``, ``state_dict()``
and so from every checkpoint and weight average.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.losses.vgg_download import CONVS
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.system.errors import UserError
from stylenet.system.gpu_kernels import usable, warn_of


def layer_names(name: str) -> list[str]:
    """The ReLU layers of a VGG in order: relu1_1, relu1_2, relu2_1 ..."""
    return [f"relu{i}_{j}" for i, n in enumerate(CONVS[name], 1) for j in range(1, n + 1)]


def _by_kernels(x: Tensor, bias: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
    from stylenet.losses import vgg_kernels  # needs triton

    if pool:
        return vgg_kernels.bias_relu_pool(x, bias)
    x = vgg_kernels.bias_relu(x, bias)
    return x, x


POOLINGS = {"max": F.max_pool2d, "average": F.avg_pool2d}


class VGG(nn.Module):
    """VGG16 or VGG19 (Simonyan & Zisserman 2015) up to the deepest layer that was asked for.

    ``vgg(image, layers=None)``: image ``(b, 3, h, w)`` in [0, 1], sRGB; normalisation happens inside. Returns the
    features after the named ReLUs (all of ``layers`` given to the constructor if None) as ``{name: (b, c, h / 2^i, w /
    2^i)}``. ``pooling``: "max", as it was trained, or "average" (Gatys et al. 2016, section 2).

    Raises UserError for an unknown VGG, layer or pooling, listing the known ones.
    """

    def __init__(
        self, layers: Iterable[str], name: str = "vgg16", path: str | Path | None = None, pooling: str = "max"
    ):
        super().__init__()
        if name not in CONVS:
            raise UserError(f"vgg={name}: no such VGG. Allowed: {', '.join(CONVS)}.")
        if pooling not in POOLINGS:
            raise UserError(f"pooling={pooling}: no such pooling. Allowed: {', '.join(POOLINGS)}.")
        self.pool = POOLINGS[pooling]
        known = layer_names(name)
        self.layers = tuple(sorted(set(layers), key=lambda x: known.index(x) if x in known else -1))
        if unknown := [x for x in self.layers if x not in known]:
            raise UserError(f"layer {unknown[0]!r} is not in {name}. Allowed: {', '.join(known)}.")
        if not self.layers:
            raise UserError(f"no layer of {name} is asked for. Give one or more of: {', '.join(known)}.")
        weights = vgg_weights(name, path)
        self.convs = [x.replace("relu", "conv") for x in known[: known.index(self.layers[-1]) + 1]]
        for conv in self.convs:
            for part in ("weight", "bias"):
                self.register_buffer(f"{conv}_{part}", weights.state[f"{conv}.{part}"].clone(), persistent=False)
        self.register_buffer("mean", torch.tensor(weights.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(weights.std).view(1, 3, 1, 1), persistent=False)
        self._rounded: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._kernels = True  # work, as far as is known

    def forward(self, image: Tensor, layers: Iterable[str] | None = None) -> dict[str, Tensor]:
        wanted = set(self.layers if layers is None else layers)
        features: dict[str, Tensor] = {}
        x = (image - self.get_buffer("mean")) / self.get_buffer("std")
        for conv, after in zip(self.convs, [*self.convs[1:], ""], strict=True):
            layer = conv.replace("conv", "relu")
            last = layer in wanted and len(features) + 1 == len(wanted)
            x, following = self._layer(conv, x, pool=after.endswith("_1") and not last)
            if layer in wanted:
                features[layer] = x
            if last:
                break
            x = following
        return features

    def _layer(self, conv: str, x: Tensor, pool: bool) -> tuple[Tensor, Tensor]:
        """A convolution with its ReLU, and what the next one sees of it."""
        weight, bias = self._weights(conv, x.device.type)
        if self._kernels and usable(x) and x.dtype != torch.float64 and self.pool is F.max_pool2d:
            try:
                return _by_kernels(F.conv2d(x, weight, padding=1), bias, pool)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # a compiler or a driver can fail in any way
                warn_of(error)
                self._kernels = False
        x = F.relu_(F.conv2d(x, weight, bias, padding=1))
        return x, self.pool(x, 2) if pool else x

    def _weights(self, conv: str, device: str) -> tuple[Tensor, Tensor]:
        """Weight and bias as autocast wants them, and kept: weights that do not learn it would round in every pass."""
        weight, bias = self.get_buffer(f"{conv}_weight"), self.get_buffer(f"{conv}_bias")
        if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return weight, bias
        key = conv, torch.get_autocast_dtype(device)
        if torch.compiler.is_compiling():  # to keep what is made in there would compile the second batch anew
            return weight.to(key[1]), bias.to(key[1])
        if key not in self._rounded:
            self._rounded[key] = weight.to(key[1]), bias.to(key[1])
        return self._rounded[key]

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._rounded = {}  # the weights move to another device, type or layout
        return super()._apply(*args, **kwargs)
