"""Any style from one picture: a style network looks at a painting and predicts the norms of Johnson's network for it
(Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network").

Knows pictures; nothing about losses or files.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.base import StyleNet
from stylenet.nets.johnson import Johnson
from stylenet.nets.layers import InstanceNorm, Noise, draw
from stylenet.nets.vgg_encoder import CONVS, VGGEncoder

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_1")  # whose mean and deviation the prediction is made from
STATISTICS = 2 * sum(CONVS[layer.replace("relu", "conv")][1] for layer in LAYERS)
SPREAD = 0.1  # standard deviation of what a number of the code does to the norms of a new network
SMALLEST = 32  # pixels a side of a painting


class Predicted(Johnson):
    """Johnson's network for any style: its ``style`` is a code ``(b, code)`` that :meth:`style_of` makes of a painting.

    Each norm has ``code`` rows, and the code says how much of each row there is: scale and shift of all norms are a
    linear function of it (Ghiasi et al. 2017, section 3.1, where the code has 100 numbers). The first number is always
    1, so the first row is the style at the middle of all. A weighted sum of two codes, with weights that sum to 1,
    paints between the two styles. None as a style is the middle.

    The style network sees the mean and the standard deviation of VGG16's features, which are what style losses compare
    (Huang & Belongie 2017, eq. 13), standardised, and has one hidden layer of ``hidden`` units. The other arguments are
    those of :class:`stylenet.nets.johnson.Johnson`. Raises ValueError for values outside their ranges.
    """

    any_style: ClassVar[bool] = True
    style_parts: ClassVar[tuple[str, ...]] = ("encoder", "predict")

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 5,
        code: int = 64,
        hidden: int = 256,
        upsample: str = "blur",
        output: str = "sigmoid",
        noise: int = 0,
        frame: int = 0,
    ):
        if not isinstance(code, int) or not isinstance(hidden, int) or code < 2 or hidden < 1:
            raise ValueError(f"code={code} hidden={hidden}: give whole numbers, code >= 2 and hidden >= 1.")
        super().__init__(widths, blocks, code, upsample, output, noise, frame)
        del self.config["n_styles"]
        self.config |= {"code": code, "hidden": hidden}
        self.encoder = VGGEncoder()
        self.predict = nn.Sequential(nn.Linear(STATISTICS, hidden), nn.ReLU(), nn.Linear(hidden, code - 1))
        self.register_buffer("centre", torch.zeros(STATISTICS))
        self.register_buffer("spread", torch.ones(STATISTICS))
        self._begin()

    def _begin(self) -> None:
        """Begin with the same picture for every painting: the rows but the first are small, the code is 0 there."""
        first, last = self.predict[0], self.predict[-1]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        draw(first.weight, 1.0)
        for part in (first.bias, last.weight, last.bias):
            nn.init.zeros_(part)
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, InstanceNorm | Noise):
                    for rows in layer.parameters(recurse=False):
                        draw(rows[1:], SPREAD)

    def style_of(self, painting: Tensor) -> Tensor:
        """The codes ``(b, code)`` of paintings ``(b, 3, h, w)`` in [0, 1]. Smaller ones are enlarged to SMALLEST."""
        return self.code_of(self.statistics(painting))

    @torch.no_grad()
    def statistics(self, painting: Tensor) -> Tensor:
        """Mean and standard deviation of each channel of LAYERS over the painting, ``(b, STATISTICS)`` in float32."""
        h, w = painting.shape[-2:]
        if min(h, w) < SMALLEST:
            size = [max(SMALLEST, h), max(SMALLEST, w)]
            painting = F.interpolate(painting, size, mode="bilinear")
        return self.statistics_of(self.encoder(painting))

    def statistics_of(self, features: Mapping[str, Tensor]) -> Tensor:
        """The same of features of VGG16 by layer, see :class:`stylenet.nets.vgg_encoder.VGGEncoder`."""
        found = [torch.var_mean(features[layer].float(), dim=(2, 3), correction=0) for layer in LAYERS]
        return torch.cat([part for var, mean in found for part in (mean, var.sqrt())], 1)

    def code_of(self, statistics: Tensor) -> Tensor:
        """The codes of paintings with these statistics, see :meth:`statistics`."""
        first, relu, last = self.predict
        assert isinstance(first, nn.Linear)
        with torch.autocast(statistics.device.type, enabled=False):
            x = (statistics - self.get_buffer("centre")) / self.get_buffer("spread")
            # A step of Adam moves every weight as far: of sums over many inputs it would make leaps.
            hidden = relu(first(x.to(first.weight.dtype) / STATISTICS**0.5))
            code = last(hidden / first.out_features**0.25)
        return torch.cat([torch.ones_like(code[:, :1]), code], 1)

    def standardise(self, statistics: Tensor) -> None:
        """Take the mean and the spread of these ``(n, STATISTICS)`` of many paintings as those of all."""
        self.get_buffer("centre").copy_(statistics.mean(0))
        self.get_buffer("spread").copy_(statistics.std(0, correction=0) + 0.05 * statistics.mean(0) + 1e-3)

    @torch.no_grad()
    def fixed(self, code: Tensor) -> Johnson:
        """The network of one style alone, given by its code ``(code)``: the same pictures without a style network."""
        arguments = {key: value for key, value in self.config.items() if key not in ("code", "hidden")}
        net = Johnson(**arguments, n_styles=1).to(code.device)
        rows, state = self._rows(), self.state_dict()
        net.load_state_dict({key: code[None] @ state[key] if key in rows else state[key] for key in net.state_dict()})
        return net.eval()

    def _rows(self) -> set[str]:
        """The names of the parameters that have a row for each number of the code."""
        layers = [(name, layer) for name, layer in self.named_modules() if isinstance(layer, InstanceNorm | Noise)]
        return {f"{name}.{part}" for name, layer in layers for part, _ in layer.named_parameters(recurse=False)}

    @torch.no_grad()
    def begin_from(self, net: StyleNet) -> None:
        """Take the weights of a :class:`Johnson` with one style or several: the middle is the mean of its styles, and
        the row after it how each of them differs, as far as there are rows. So ``(1, 1, 0, 0 ...)`` is its first style.

        Raises ValueError if it is of another size.
        """
        other, mine, rows = net.state_dict(), self.state_dict(), self._rows()
        for key in mine:
            if key not in other:
                if not key.startswith(("encoder.", "predict.", "centre", "spread")) and "noise" not in key:
                    raise ValueError(f"it has no {key}.")
            elif other[key].shape[key in rows :] != mine[key].shape[key in rows :]:
                raise ValueError(f"{key} is {tuple(other[key].shape)} there and {tuple(mine[key].shape)} here.")
            elif key in rows:
                mean = other[key].mean(0)
                count = min(len(other[key]), len(mine[key]) - 1)
                mine[key][0] = mean
                mine[key][1 : count + 1] = other[key][:count] - mean
            else:
                mine[key].copy_(other[key])
