"""A decoder that inverts an encoder by least squares instead of a training: a start that leaves little to learn.

Knows networks; nothing about Lightning or files.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.nets.adain import USUAL, AdaIN
from stylenet.nets.layers import Conv
from stylenet.nets.photowct import NAMES, PhotoWCT
from stylenet.nets.vgg_encoder import CONVS, VGGEncoder

FITTED = 128  # crops that a decoder is fitted to
EVENED = 32  # of them for the means of an encoder's channels
MIRRORED = [CONVS[name][1] for name in ("conv1_2", "conv2_2", "conv3_3")]  # a decoder's channels at each size

PLACES = 512  # of each photo that a layer is fitted on, at most
QUIETEST = 1e-3  # of the mean of all channels: a channel that hardly ever sees anything is not made louder than that
DARKEST = 0.02  # of [0, 1]: what a sigmoid is asked for at least, and 1 minus it at most
RIDGE = 1e-3  # of the mean square of the inputs


def fitted(net: PhotoWCT | AdaIN, photos: Sequence[Tensor]) -> dict[str, Tensor]:
    """The weights of ``net`` after :func:`even_out` and :func:`fit_decoder` with ``photos``."""
    with torch.autocast(photos[0].device.type, enabled=False):
        even_out(net.encoder, photos[:EVENED])
        fit_decoder(net, photos)
    return net.state_dict()


@torch.no_grad()
def even_out(encoder: VGGEncoder, photos: Sequence[Tensor]) -> None:
    """Scale the channels of an encoder so that each has the mean 1 after its ReLU over ``photos``, each ``(1, 3, h,
    w)`` in [0, 1] (Gatys et al. 2016, section 2). What a layer's scale changes is undone in the next layer, so this
    encoder sees what it saw before, in other units: in its own, a few loud channels hide the others from a decoder.
    """
    sums = {layer: torch.zeros_like(x[0, :, 0, 0]) for layer, x in encoder.layers(photos[0])}
    for photo in photos:
        for layer, features in encoder.layers(photo):
            sums[layer] += features.mean((0, 2, 3))
    before = None
    for layer, total in sums.items():
        conv = encoder.get_submodule(layer.replace("relu", "conv"))
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        mean = (total / len(photos)).clamp_min(QUIETEST * total.mean() / len(photos))
        conv.weight.div_(mean[:, None, None, None])
        conv.bias.div_(mean)
        if before is not None:
            conv.weight.mul_(before[:, None, None])
        before = mean


@torch.no_grad()
def fit_decoder(net: PhotoWCT | AdaIN, photos: Sequence[Tensor], seed: int = 0) -> None:
    """Set the decoder of ``net`` so that each convolution, from the deepest on, gives what the mirrored one of the
    encoder was given, with the least mean squared error over places of ``photos``, each ``(1, 3, h, w)`` in [0, 1].

    A layer sees what the layers before it have made of the features, so it mends their errors as far as it can. Raises
    ValueError for a decoder that does not mirror the encoder, see :func:`mirrors`.
    """
    if not mirrors(net):
        raise ValueError("this decoder has other channels than the encoder.")
    random = torch.Generator().manual_seed(seed)
    samples = [_Sample(net, photo, random) for photo in photos]
    for name, stage in _stages(net).items():
        for one in samples:
            one.decoded = stage.before(one.decoded)
        _fit(stage.conv, [(one.decoded, one.places[name], one.wanted[name]) for one in samples])
        for one in samples:
            one.decoded = stage.after(one.decoded, one.shares)


def mirrors(net: PhotoWCT | AdaIN) -> bool:
    """Whether each convolution of the decoder has the channels of one of the encoder."""
    return isinstance(net, PhotoWCT) or net.config["widths"] == MIRRORED


class _Stage(NamedTuple):
    """A convolution of a decoder, and what happens to the features before and after it."""

    conv: Conv
    before: Callable[[Tensor], Tensor]
    after: Callable[[Tensor, list[Tensor]], Tensor]


def _stages(net: PhotoWCT | AdaIN) -> dict[str, _Stage]:
    """Those of the decoder in order, by the convolution of the encoder that they undo."""
    if isinstance(net, AdaIN):
        steps = [(conv, before) for conv, before in net.decoder_steps()]
        stages = [_Stage(conv, before, lambda x, _, conv=conv: F.relu(conv(x))) for conv, before in steps]
        return dict(zip(reversed(NAMES), stages, strict=True))

    def undone(name: str) -> _Stage:
        conv = net.decoder.get_submodule(name)
        assert isinstance(conv, Conv)
        return _Stage(conv, lambda x: x, lambda x, shares: net.decoder.step(name, x, shares))

    return {name: undone(name) for name in reversed(NAMES)}


class _Sample:
    """A photo on its way through the decoder, and at some places what each convolution of the encoder was given."""

    def __init__(self, net: PhotoWCT | AdaIN, photo: Tensor, random: torch.Generator):
        self.shares: list[Tensor] = []
        if isinstance(net, PhotoWCT):
            features, self.shares = net.encoder.seen(photo)
            self.decoded = features["relu4_1"]
        else:
            features = dict(net.encoder.layers(photo))
            self.decoded = features["relu4_1"] / USUAL
        self.places: dict[str, Tensor] = {}
        self.wanted: dict[str, Tensor] = {}
        last = photo
        for layer, x in features.items():
            name = layer.replace("relu", "conv")
            given = F.max_pool2d(last, 2, ceil_mode=True) if name.endswith("_1") and name != "conv1_1" else last
            if name == "conv1_1" and net.config.get("output") == "sigmoid":
                given = photo.clamp(DARKEST, 1 - DARKEST).logit()
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
