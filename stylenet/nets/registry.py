"""The networks by name. ``NETS`` is the closed table of the networks that a checkpoint can hold."""

from typing import Any

from torch import nn

from stylenet.nets.adain import AdaIN, AdaINFixed
from stylenet.nets.base import StyleNet
from stylenet.nets.johnson import Johnson
from stylenet.nets.layers import InstanceNorm, Noise
from stylenet.nets.photowct import PhotoWCT
from stylenet.nets.style_prediction import Predicted
from stylenet.system.errors import UserError

NETS: dict[str, type[StyleNet]] = {
    "johnson": Johnson,
    "predicted": Predicted,
    "adain": AdaIN,
    "adain_fixed": AdaINFixed,
    "photowct": PhotoWCT,
}


def of_styles(net: nn.Module) -> set[str]:
    """The names of the parameters that have a row for each style: those of the norms and the noise."""
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, InstanceNorm | Noise)]
    return {f"{name}.{part}" for name, layer in layers for part, _ in layer.named_parameters(recurse=False)}


def build(name: str, **args: Any) -> StyleNet:
    """The network ``name``, made with its constructor's arguments. Raises UserError for an unknown name or argument."""
    if name not in NETS:
        raise UserError(f"net={name}: no such network. Known: {', '.join(sorted(NETS))}.")
    try:
        return NETS[name](**args)
    except (TypeError, ValueError) as error:
        raise UserError(f"net={name} does not take these arguments: {error}") from error
