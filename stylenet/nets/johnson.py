"""Johnson's image transform network, as used today: instance norm, reflected borders, upsampling + convolution.

It knows pictures and style weights; nothing about VGG, losses or files.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.layers import UPSAMPLE, Conv, Down, Noise, Residual, Up, without_nyquist

SMALLEST = 16  # pixels a side: below this the reflected borders would be larger than the features


class Johnson(nn.Module):
    """c9s1-32, d64, d128, 5 residual blocks, u64, u32, c9s1-3 (Johnson et al. 2016; norms after Ulyanov et al. 2017).

    ``net(content, style=None)``: content ``(b, 3, h, w)`` in [0, 1], any h, w >= 1; style ``(b, n_styles)`` weights
    (rows that sum to 1 mix styles), or None for the first. Returns ``(b, 3, h, w)`` in [0, 1].

    ``upsample``: "blur" (no grid) or "nearest" (what public trainers do). ``output``: "sigmoid", or "linear", which is
    clamped to [0, 1] in eval mode and left raw in training. ``noise``: 1 adds noise to what the residual blocks get,
    see :class:`stylenet.nets.layers.Noise`. ``frame``: so many pixels, a multiple of 4, of the picture's own reflection
    are laid around it and cut off the result: near its borders a network paints otherwise than inside. ``framed=False``
    leaves them out, for crops that have real pixels around what counts. Raises ValueError for a name or size outside
    these.
    """

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
        super().__init__()
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
        a, b, c = widths
        self.config: dict[str, Any] = {
            "widths": [a, b, c],
            "blocks": blocks,
            "n_styles": n_styles,
            "upsample": upsample,
            "output": output,
        }
        if noise:
            self.config["noise"] = 1
        if frame:
            self.config["frame"] = frame
        self.n_styles, self.frame = n_styles, frame
        self.down = nn.ModuleList([Down(3, a, 9, 1, n_styles), Down(a, b, 3, 2, n_styles), Down(b, c, 3, 2, n_styles)])
        self.noise = Noise(c, n_styles) if noise else None
        self.trunk = nn.ModuleList([Residual(c, n_styles) for _ in range(blocks)])
        self.up = nn.ModuleList([Up(c, b, n_styles, upsample), Up(b, a, n_styles, upsample)])
        self.last = Conv(a, 3, 9, bias=True)

    @property
    def smallest(self) -> int:
        """Pixels a side below which a picture's right and bottom edges are repeated before anything else."""
        return max(SMALLEST, self.frame + 1)

    def forward(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        if style is not None and style.shape[-1] != self.n_styles:
            raise ValueError(f"style {tuple(style.shape)}: this network wants (b, {self.n_styles}) weights.")
        h, w = content.shape[-2:]
        image = self.paint(self.see(content, style, framed), style, framed)
        return image[..., :h, :w]  # a stride of 2 rounds up: that is cut off

    def see(self, content: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        """The picture's features at a quarter of its size, frame and all, ``(b, widths[2], ceil(h / 4), ceil(w / 4))``,
        4x4 at least.

        What half precision costs in a whole pass, it costs here: it rounds what the norms then enlarge in flat places.
        """
        h, w = content.shape[-2:]
        x = F.pad(content, (0, max(0, self.smallest - w), 0, max(0, self.smallest - h)), mode="replicate")
        if framed and self.frame:
            x = F.pad(x, (self.frame,) * 4, mode="reflect")
        for block in self.down:
            x = block(x, style)
        return x

    def paint(self, features: Tensor, style: Tensor | None = None, framed: bool = True) -> Tensor:
        """The stylized picture of such features, four times their size, without the frame's rows and columns at the top
        and on the left. Those of the other two sides are still there.
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
