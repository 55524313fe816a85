"""Any style from one picture: the mean and the deviation of a photo's VGG features become those of a painting, and a
decoder makes a picture of them (Huang & Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance
normalization").

Knows pictures; nothing about losses or files.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.base import StyleNet
from stylenet.nets.layers import EPS, UPSAMPLE, AdaptiveNorm, Conv, InstanceNorm, conv_for_relu, without_nyquist
from stylenet.nets.photowct import PhotoWCT
from stylenet.nets.regions import Regions
from stylenet.nets.vgg_encoder import CONVS, VGGEncoder

LAYER = "conv4_1"  # of which the ReLU is the layer
CHANNELS = CONVS[LAYER][1]
WIDTHS = [64, 128, 256]  # of VGG16, and of the decoders that mirror it
SMALLEST = 16  # pixels a side: below this the reflected borders would be larger than the features
USUAL = 4.0  # root mean square of relu4_1 of photos and paintings: the decoder begins with numbers near 1
MAPS = 5  # of the picture's size that a float32 pass holds at its peak: slightly more than was measured


class AdaIN(StyleNet):
    """VGG16 to relu4_1, adaptive instance norm, and a decoder that mirrors VGG16 (Huang & Belongie 2017, section 5.1).

    ``style``: ``(b, 1024)``, the 512 means and then the 512 standard deviations of relu4_1 of a painting, from
    :meth:`style_of`. A weighted sum of two of them, with weights that sum to 1, paints between the two styles (eq. 15):
    AdaIN is linear in them. With the photo's own style among them it is the paper's control of the strength (eq. 14).
    None as a style is the photo's own, so that the picture is the plain autoencoder's.

    The encoder is VGG16's because losses here look at the same features, and because its weights, which stay as they
    were pretrained, are in the checkpoint: it needs no other file, and in 16 bits it takes 11.7 MB. All borders are
    reflected, in the encoder too, where VGG16 was trained with zeros: zeros would make a frame around each picture. The
    decoder has no norms, which would take away what AdaIN has given (section 7.1).

    ``widths``: the decoder's channels at full, half and quarter size. ``upsample``: "blur" (no grid) or "nearest" (as
    in the paper). ``output``: "sigmoid", or "linear", which is clamped to [0, 1] in eval mode and left raw in training.
    Raises ValueError for a name or size outside these.
    """

    in_parts: ClassVar[bool] = True
    any_style: ClassVar[bool] = True
    own_style: ClassVar[bool] = True
    multiple: ClassVar[int] = 8

    def __init__(self, widths: Sequence[int] = (64, 128, 256), upsample: str = "blur", output: str = "sigmoid"):
        if len(widths) != 3 or not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ValueError(f"widths={list(widths)}: give three whole numbers of 1 or more.")
        if upsample not in UPSAMPLE or output not in ("sigmoid", "linear"):
            raise ValueError(
                f"upsample={upsample!r} output={output!r}: allowed are {[*UPSAMPLE]} and ['sigmoid', 'linear']."
            )
        a, b, c = widths
        config: dict[str, Any] = {"widths": [a, b, c], "upsample": upsample, "output": output}
        super().__init__(config, 2 * CHANNELS, SMALLEST, MAPS * max(CONVS["conv1_1"][1], a) * 4)
        self.encoder = VGGEncoder(reflect=True)
        self.norm: InstanceNorm = AdaptiveNorm(CHANNELS)
        sizes = [(CHANNELS, c), (c, c, c, b), (b, b, a), (a, a)]  # channels at an eighth, a quarter, half and full size
        self.decoder = nn.ModuleList(
            nn.ModuleList(conv_for_relu(*pair) for pair in zip(size[:-1], size[1:], strict=True)) for size in sizes
        )
        self.last = Conv(a, 3, 3, bias=True)

    def forward(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """Raises ValueError for a style of another length."""
        if style is not None and style.shape[-1] != self.n_styles:
            raise ValueError(f"style {tuple(style.shape)}: this network wants (b, {self.n_styles}).")
        h, w = content.shape[-2:]
        return self.decode(self.encode(content), style)[..., :h, :w]  # halved sizes round up: that is cut off

    def encode(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """relu4_1 of the picture, ``(b, 512, ceil(h / 8), ceil(w / 8))``, 2x2 at least. No style is in it yet."""
        h, w = content.shape[-2:]
        x = F.pad(content, (0, max(0, self.smallest - w), 0, max(0, self.smallest - h)), mode="replicate")
        for _, features in self.encoder.layers(x):
            x = features
        return x

    def decode(self, features: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        """The picture of features in a style, eight times their size."""
        x = self.normed(features, style) / USUAL
        for number, convs in enumerate(self.decoder):
            if number:
                x = without_nyquist(x, self.wrap) if self.config["upsample"] == "blur" else x
                x = UPSAMPLE[self.config["upsample"]](x, self.wrap)
            for conv in convs:  # type: ignore[attr-defined]
                x = F.relu(conv(x))
        x = self.last(x).float()
        if self.config["output"] == "sigmoid":
            return torch.sigmoid(x)
        return x if self.training else x.clamp(0, 1)

    def normed(self, features: Tensor, style: Tensor | Regions | None) -> Tensor:
        """What the decoder makes a picture of, before its division by USUAL: the features in the style."""
        return features if style is None else self.norm(features, style)

    def style_of(self, painting: Tensor) -> Tensor:
        """The styles ``(b, 1024)`` of paintings ``(b, 3, h, w)`` in [0, 1], in float32. The deviations are those that
        the norm divides by, so that a photo's own style changes nothing.
        """
        var, mean = torch.var_mean(self.encode(painting).float(), dim=(2, 3), correction=0)
        return torch.cat([mean, (var + EPS).sqrt()], 1)

    @torch.no_grad()
    def fixed(self, style: Tensor) -> "AdaINFixed":
        """The network of one style alone, ``style (1024)``: the same pictures, and no painting is needed."""
        net = AdaINFixed(**self.config).to(style.device)
        mean, deviation = style.chunk(2)
        rows = {"norm.bias": mean[None], "norm.weight": deviation[None]}
        net.load_state_dict(self.state_dict() | rows)
        return net.eval()

    @torch.no_grad()
    def begin_from(self, net: StyleNet) -> None:
        """Take the decoder of a net=photowct, which inverts the same features: pictures have their colours and shapes
        at once, and only lack the edges, which that network has from its encoder's poolings.

        Raises ValueError, which says what to give, for any other network, for a decoder of other widths, and where the
        two encoders are not the same VGG16.
        """
        if not isinstance(net, PhotoWCT):
            raise ValueError("net=adain begins from another net=adain, or from a net=photowct: give init=photo.")
        mine = [*(conv for convs in self.decoder for conv in convs), self.last]  # type: ignore[attr-defined]
        theirs = [net.decoder.get_submodule(name) for name in reversed(CONVS)]
        if any(one.weight.shape != other.weight.shape for one, other in zip(mine, theirs, strict=True)):
            raise ValueError(
                f"net.widths={self.config['widths']}, where its decoder has {WIDTHS}: give these widths, or init=null."
            )
        units = _units(self.encoder, net.encoder)
        for one, other in zip(mine, theirs, strict=True):
            one.load_state_dict(other.state_dict())
        mine[0].weight.mul_((USUAL / units).view(1, -1, 1, 1))
        if self.config["output"] == "sigmoid":  # its tangent at mid-grey
            self.last.weight.mul_(4)
            self.last.bias.sub_(0.5).mul_(4)  # type: ignore[union-attr]


def _units(one: VGGEncoder, other: VGGEncoder) -> Tensor:
    """By how much each channel of LAYER is larger in ``one`` than in ``other``, an encoder that sees the same in other
    units (see ``stylenet.training.closed_form.even_out``). Raises ValueError where it does not see the same.
    """
    units = torch.ones(3, device=one.get_parameter("conv1_1.weight").device)
    for name in CONVS:
        plain, scaled = (encoder.get_parameter(f"{name}.weight") for encoder in (one, other))
        plain = plain * units[:, None, None]  # its inputs in the other's units
        units = plain.flatten(1).norm(dim=1) / scaled.flatten(1).norm(dim=1)
        if (plain - units[:, None, None, None] * scaled).norm() > 0.01 * plain.norm():
            raise ValueError("its VGG16 is not that of this run: leave loss.vgg_path= out, or give init=null.")
    return units


class AdaINFixed(AdaIN):
    """The same for one style or several, whose means and deviations are its weights: an instance norm as that of other
    networks. :meth:`AdaIN.fixed` makes one. ``style``: weights ``(b, n_styles)``, None for the first style.
    """

    any_style: ClassVar[bool] = False
    own_style: ClassVar[bool] = False

    def __init__(self, n_styles: int = 1, **arguments: Any):
        if not isinstance(n_styles, int) or n_styles < 1:
            raise ValueError(f"n_styles={n_styles}: give a whole number of 1 or more.")
        super().__init__(**arguments)
        self.config["n_styles"] = self.n_styles = n_styles
        self.norm = InstanceNorm(CHANNELS, n_styles)

    def normed(self, features: Tensor, style: Tensor | Regions | None) -> Tensor:
        return self.norm(features, style)
