"""Photorealistic transfer, first step: a photo gets the colours and the light of another, by whitening and colouring
its features (Li et al. 2018, "A closed-form solution to photorealistic image stylization", section 3.1: PhotoWCT).

:mod:`stylenet.nets.transport` is the transform of the features. Knows pictures; nothing about losses or files.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.base import StyleNet
from stylenet.nets.layers import conv_for_relu
from stylenet.nets.regions import Regions
from stylenet.nets.transport import moved
from stylenet.nets.vgg_encoder import CONVS, VGGEncoder

LEVELS = ("relu4_1", "relu3_1", "relu2_1", "relu1_1")  # the deepest first: coarse changes, then fine ones
NAMES = [*CONVS]
POOLED = ("relu1_2", "relu2_2", "relu3_3")  # the layers before a max pooling
SMALLEST = 16  # pixels a side: below this the reflected borders would be larger than the features
MAPS = 7  # of the first width at the picture's size that a float32 pass holds at its peak
UNPOOL = ("proportions", "positions")

Labels = tuple[Tensor, Tensor]
Change = Callable[[str, Tensor], Tensor]


class Encoder(VGGEncoder):
    """VGG16 up to relu4_1, which remembers what its max poolings forget."""

    def __init__(self, unpool: str) -> None:
        super().__init__(reflect=True)
        self.unpool = unpool

    def seen(self, image: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The features by layer, and for each max pooling the share of its window's maximum that each place has, in
        [0, 1]: with "positions" 1 where the maximum is and 0 elsewhere.
        """
        features = dict(self.layers(image))
        return features, [self._shares(features[layer]) for layer in POOLED]

    def _shares(self, x: Tensor) -> Tensor:
        pooled, positions = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        if self.unpool == "positions":
            return F.max_unpool2d(torch.ones_like(pooled), positions, [2, 2], output_size=list(x.shape[-2:]))
        most = _enlarged(pooled, x)
        return torch.where(most > 0, x / most.clamp_min(1e-12), torch.ones_like(x))


class Decoder(nn.Module):
    """The encoder's convolutions mirrored, each with a ReLU but the last, and unpooling between them.

    Unpooling gives each place of a window its share of the window's new maximum. With the encoder's own features that
    is what was there before the pooling, so edges stay where they are. The paper unpools to the positions of the maxima
    and leaves zeros in the other places (figure 3), which the convolutions after it have to fill.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, (inputs, outputs) in CONVS.items():
            self.add_module(name, conv_for_relu(outputs, inputs))

    def forward(self, features: Tensor, shares: list[Tensor], change: Change | None = None) -> Tensor:
        """The picture of relu4_1. ``change(layer, features)``: what becomes of the features of LEVELS as they are
        decoded, relu4_1 included.
        """
        picture = features
        for _, decoded in self.steps(features, shares, change):
            picture = decoded
        return picture

    def steps(
        self, features: Tensor, shares: list[Tensor], change: Change | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Step by step: the layer whose convolution is undone, and the decoded features of the layer before it, or the
        picture at the end.
        """
        x, left = features, [*shares]
        for name in reversed(NAMES):
            layer = name.replace("conv", "relu")
            x = self.step(name, change(layer, x) if change and layer in LEVELS else x, left)
            yield layer, x

    def step(self, name: str, x: Tensor, left: list[Tensor]) -> Tensor:
        """The inverse of one convolution and of the pooling before it, whose shares are the last ``left``."""
        x = self.get_submodule(name)(x)
        if name == "conv1_1":
            return x
        x = F.relu(x)
        if not name.endswith("_1"):
            return x
        share = left.pop()
        return _enlarged(x, share) * share


class PhotoWCT(StyleNet):
    """``net.transfer(content, style)``: the photo ``content`` with the colours and the light of the photo ``style``.

    While a decoder makes a picture of the photo's features at relu4_1, the features at relu4_1, relu3_1, relu2_1 and
    relu1_1 on its way get the mean and the covariance of the style photo's (:func:`stylenet.nets.transport.moved`). The
    paper encodes and decodes the picture once for each level; one decoder that passes all levels does the same in a
    quarter of the time (Chiu & Gurari 2022, "PhotoWCT2"). The decoder is an autoencoder's and knows no style, so one
    network serves all photos.

    As a network, ``net(photo)`` is the photo encoded and decoded: training brings that near to the photo. It has no
    ``style``. The encoder is VGG16, frozen and in the checkpoint. ``unpool``: see :class:`Decoder`. Raises ValueError
    for another name.
    """

    def __init__(self, unpool: str = "proportions") -> None:
        if unpool not in UNPOOL:
            raise ValueError(f"unpool={unpool!r}: allowed are {[*UNPOOL]}.")
        super().__init__({"unpool": unpool}, smallest=SMALLEST, bytes_per_pixel=MAPS * CONVS["conv1_1"][1] * 4)
        self.encoder = Encoder(unpool)
        self.decoder = Decoder()

    def forward(self, content: Tensor, style: Tensor | Regions | None = None, framed: bool = True) -> Tensor:
        features, shares = self.encoder.seen(_padded(content))
        picture = self.decoder(features["relu4_1"], shares)
        return _cut(picture if self.training else picture.clamp(0, 1), content)

    @torch.no_grad()
    def transfer(self, content: Tensor, style: Tensor, labels: Labels | None = None) -> Tensor:
        """``content (1, 3, h, w)`` with the colours and the light of ``style (1, 3, h', w')``, both in [0, 1]; the
        result, too. Small patterns of the decoder are in it: smoothing comes after it.

        ``labels``: regions of content and style, ``(h, w)`` and ``(h', w')``, as whole numbers. Regions with equal
        numbers are matched. A region whose number the style lacks gets the statistics of the whole style photo.
        """
        theirs, _ = self.encoder.seen(_padded(style))
        theirs = {level: theirs[level] for level in LEVELS}
        features, shares = self.encoder.seen(_padded(content))
        deepest = features["relu4_1"]
        del features
        picture = self.decoder(deepest, shares, lambda layer, x: moved(x, theirs[layer], labels))
        return _cut(picture.clamp(0, 1), content)


def _enlarged(x: Tensor, to: Tensor) -> Tensor:
    """Each place of pooled features repeated over its window, at the size of ``to``."""
    return x.repeat_interleave(2, 2)[:, :, : to.shape[2]].repeat_interleave(2, 3)[..., : to.shape[3]]


def _cut(picture: Tensor, to: Tensor) -> Tensor:
    return picture[..., : to.shape[2], : to.shape[3]]


def _padded(picture: Tensor) -> Tensor:
    """Small pictures grow to SMALLEST at the right and at the bottom."""
    h, w = picture.shape[-2:]
    if min(h, w) >= SMALLEST:
        return picture
    return F.pad(picture, (0, max(0, SMALLEST - w), 0, max(0, SMALLEST - h)), mode="replicate")
