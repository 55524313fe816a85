"""A decoder that inverts an encoder by least squares instead of a training: a start that leaves little to learn.

Knows networks; nothing about Lightning or files.
"""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylenet.nets.layers import Conv
from stylenet.nets.photowct import NAMES, PhotoWCT
from stylenet.nets.vgg_encoder import VGGEncoder

PLACES = 512  # of each photo that a layer is fitted on, at most
QUIETEST = 1e-3  # of the mean of all channels: a channel that hardly ever sees anything is not made louder than that
RIDGE = 1e-3  # of the mean square of the inputs


@torch.no_grad()
def even_out(encoder: VGGEncoder, photos: Sequence[Tensor]) -> None:
    """Scale the channels of an encoder so that each has the mean 1 after its ReLU over ``photos``, each ``(1, 3, h,
    w)`` in [0, 1] (Gatys et al. 2016, section 2). What a layer's scale changes is undone in the next layer, so this
    encoder sees what it saw before, in other units: in its own, a few loud channels hide the others from a decoder.
    """
    sums: dict[str, Tensor] = {}
    for photo in photos:
        for layer, features in encoder.layers(photo):
            sums[layer] = sums.get(layer, 0) + features.mean((0, 2, 3))
    before = None
    for layer, total in sums.items():
        conv = encoder.get_submodule(layer.replace("relu", "conv"))
        assert isinstance(conv, Conv) and conv.bias is not None
        mean = (total / len(photos)).clamp_min(QUIETEST * total.mean() / len(photos))
        conv.weight.div_(mean[:, None, None, None])
        conv.bias.div_(mean)
        if before is not None:
            conv.weight.mul_(before[:, None, None])
        before = mean


@torch.no_grad()
def fit_decoder(net: PhotoWCT, photos: Sequence[Tensor], seed: int = 0) -> None:
    """Set the decoder of ``net`` so that each convolution, from the deepest on, gives what the mirrored one of the
    encoder was given, with the least mean squared error over places of ``photos``, each ``(1, 3, h, w)`` in [0, 1].

    A layer sees what the layers before it have made of the features, so it mends their errors as far as it can.
    """
    random = torch.Generator().manual_seed(seed)
    samples = [_Sample(net, photo, random) for photo in photos]
    for name in reversed(NAMES):
        conv = net.decoder.get_submodule(name)
        assert isinstance(conv, Conv)
        _fit(conv, [(one.decoded, one.places[name], one.wanted[name]) for one in samples])
        for one in samples:
            one.decoded = net.decoder.step(name, one.decoded, one.shares)


class _Sample:
    """A photo on its way through the decoder, and at some places what each convolution of the encoder was given."""

    def __init__(self, net: PhotoWCT, photo: Tensor, random: torch.Generator):
        features, self.shares = net.encoder.seen(photo)
        self.decoded = features["relu4_1"]
        self.places: dict[str, Tensor] = {}
        self.wanted: dict[str, Tensor] = {}
        last = photo
        for layer, x in features.items():
            name = layer.replace("relu", "conv")
            given = F.max_pool2d(last, 2, ceil_mode=True) if name.endswith("_1") and name != "conv1_1" else last
            count = given.shape[2] * given.shape[3]
            self.places[name] = torch.randperm(count, generator=random)[:PLACES].to(photo.device)
            self.wanted[name] = given[0].flatten(1)[:, self.places[name]]
            last = x


def _fit(conv: Conv, samples: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Solve for the weights and the bias of a convolution. ``samples``: features ``(1, c, h, w)``, places in them, and
    what is wanted there ``(c', places)``.
    """
    size, device = conv.in_channels * 9 + 1, conv.weight.device
    square = torch.zeros(size, size, dtype=torch.float64, device=device)
    product = torch.zeros(size, conv.out_channels, dtype=torch.float64, device=device)
    for features, places, wanted in samples:
        columns = F.unfold(F.pad(features, (1, 1, 1, 1), mode="reflect"), 3)[0][:, places]
        rows = torch.cat([columns, torch.ones_like(columns[:1])])
        square += rows @ rows.mT
        product += rows @ wanted.mT
    square.diagonal().add_(RIDGE * square.diagonal().mean())
    found = torch.linalg.solve(square, product).to(conv.weight.dtype).mT
    conv.weight.copy_(found[:, :-1].unflatten(1, (-1, 3, 3)))
    assert conv.bias is not None
    conv.bias.copy_(found[:, -1])
