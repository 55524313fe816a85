"""What lies beyond the border of features: their reflection or repetition, or their other side.

Pictures that are tiles, or panoramas all around, have no border: ``wrap`` names the axes along which they go on at the
other side, "x", "y" or "xy"; "" for a picture with borders. Knows no networks.
"""

import torch.nn.functional as F
from torch import Tensor, nn

AXES = ("", "x", "y", "xy")


def pad(x: Tensor, reach: int, mode: str, wrap: str = "") -> Tensor:
    """``reach`` places around features ``(b, c, h, w)``: by ``mode``, an argument of PyTorch's ``pad``, along axes that
    do not wrap.
    """
    if not wrap:
        return F.pad(x, (reach,) * 4, mode=mode)
    x = F.pad(x, (reach, reach, 0, 0), mode="circular" if "x" in wrap else mode)
    return F.pad(x, (0, 0, reach, reach), mode="circular" if "y" in wrap else mode)


def set_wrap(net: nn.Module, wrap: str) -> None:
    """Have all layers of a network wrap along these axes."""
    for layer in net.modules():
        if hasattr(layer, "wrap"):
            layer.wrap = wrap  # type: ignore[assignment]
