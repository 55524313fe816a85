"""Johnson's image transform network with today's parts: instance norm, reflected borders, upsampling + convolution.

Knows pictures and style weights; nothing about VGG, losses or files.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.base import StyleNet, peak_bytes
from stylenet.nets.layers import UPSAMPLE, Conv, Down, Noise, Residual, Up, without_nyquist
from stylenet.nets.regions import Regions

SMALLEST = 16  # pixels a side: below this the reflected borders would be larger than the features


class Johnson(StyleNet):
    """c9s1-32, d64, d128, 5 residual blocks, u64, u32, c9s1-3 (Johnson et al. 2016; norms after Ulyanov et al. 2017).

    ``widths``: channels at full, half and quarter size. ``blocks``: residual blocks at quarter size. ``upsample``:
    "blur" (no grid) or "nearest" (what public trainers do). ``output``: "sigmoid", or "linear", which is clamped to
    [0, 1] in eval mode and left raw in training. ``noise``: 1 adds noise to the input of the residual blocks, see
    :class:`stylenet.nets.layers.Noise`. ``frame``: pixels, a multiple of 4. The network lays so many pixels of the
    picture's own reflection around it and cuts them off the result, because it paints differently near borders.
    Raises ValueError for a name or size outside these.
    """

    in_parts = True

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        blocks: int = 5,
        n_styles: int = 1,
        upsample: str = "blur",
        output: str = "sigmoid",
        noise: int = 0,
        frame: int = 0,
    ):
        _check(widths, blocks, n_styles, upsample, output, noise, frame)
        a, b, c = widths
        config: dict[str, Any] = {
            "widths": [a, b, c],
            "blocks": blocks,
            "n_styles": n_styles,
            "upsample": upsample,
            "output": output,
        }
        config |= {"noise": 1} if noise else {}
        config |= {"frame": frame} if frame else {}
        super().__init__(config, n_styles, max(SMALLEST, frame + 1), peak_bytes(a))
        self.frame = frame
        self.down = nn.ModuleList([Down(3, a, 9, 1, n_styles), Down(a, b, 3, 2, n_styles), Down(b, c, 3, 2, n_styles)])
        self.noise = Noise(c, n_styles) if noise else None
        self.trunk = nn.ModuleList([Residual(c, n_styles) for _ in range(blocks)])
        self.up = nn.ModuleList([Up(c, b, n_styles, upsample), Up(b, a, n_styles, upsample)])
        self.last = Conv(a, 3, 9, bias=True)

    def forward(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """Raises ValueError for weights of another number of styles."""
        if style is not None and style.shape[-1] != self.n_styles:
            raise ValueError(f"style {tuple(style.shape)}: this network wants (b, {self.n_styles}) weights.")
        h, w = content.shape[-2:]
        style = style.framed(self.frame * framed) if isinstance(style, Regions) else style
        image = self.decode(self.encode(content, style, framed), style, framed)
        return image[..., :h, :w]  # a stride of 2 rounds up: that is cut off

    def encode(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The picture's features at a quarter of its size, frame included: ``(b, widths[2], ceil(h / 4),
        ceil(w / 4))``, 4x4 at least.

        Half precision does nearly all of its harm here: it rounds what the norms then enlarge in flat places.
        """
        h, w = content.shape[-2:]
        x = F.pad(content, (0, max(0, self.smallest - w), 0, max(0, self.smallest - h)), mode="replicate")
        if framed and self.frame:
            x = F.pad(x, (self.frame,) * 4, mode="reflect")
        for block in self.down:
            x = block(x, style)
        return x

    def decode(self, features: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The stylized picture, four times the size of the features. The frame is cut off at the top and on the left;
        its rows and columns on the other two sides are still there.
        """
        x = features if self.noise is None else self.noise(features, style)
        for block in self.trunk:
            x = block(x, style)
        x = without_nyquist(x) if self.config["upsample"] == "blur" else x
        for block in self.up:
            x = block(x, style)
        x = self.last(x).float()
        if framed and self.frame:
            x = x[..., self.frame :, self.frame :]
        if self.config["output"] == "sigmoid":
            return torch.sigmoid(x)
        return x if self.training else x.clamp(0, 1)

    def begin_noise_at(self, down: int, across: int) -> None:
        if self.noise is not None:
            self.noise.begin_at(down, across)


def _check(
    widths: Sequence[int], blocks: int, n_styles: int, upsample: str, output: str, noise: int, frame: int
) -> None:
    whole = all(isinstance(number, int) for number in (*widths, blocks, n_styles))
    if len(widths) != 3 or not whole or min(*widths, n_styles) < 1 or blocks < 0:
        raise ValueError(
            f"widths={list(widths)} blocks={blocks} n_styles={n_styles}: give three widths and one n_styles >= 1, "
            "and blocks >= 0, all whole numbers."
        )
    if upsample not in UPSAMPLE or output not in ("sigmoid", "linear"):
        raise ValueError(
            f"upsample={upsample!r} output={output!r}: allowed are {[*UPSAMPLE]} and ['sigmoid', 'linear']."
        )
    if noise not in (0, 1):
        raise ValueError(f"noise={noise!r}: allowed are 0 and 1.")
    if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0 or frame % 4:
        raise ValueError(f"frame={frame!r}: give pixels, 0 or a multiple of 4.")
