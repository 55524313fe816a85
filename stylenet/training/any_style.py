"""The LightningModule of networks for any style: every photo of a batch comes with a painting of its own.

Photos and paintings are a :class:`stylenet.data.datamodule.Photos` with ``paintings``.
"""

import logging
from typing import Any

import torch
from torch import Tensor

from stylenet.losses.perceptual import Targets
from stylenet.losses.vgg import POOLINGS
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.nets.adain import AdaIN
from stylenet.nets.base import StyleNet
from stylenet.nets.registry import build, of_styles
from stylenet.nets.style_prediction import LAYERS, Predicted
from stylenet.system.errors import UserError
from stylenet.training.module import StyleTransfer, load_as

log = logging.getLogger(__name__)

SAME = "Give the same net=... and its arguments, or init=null."
MEASURED = 96  # crops of paintings whose statistics are those of all


class AnyStyle(StyleTransfer):
    """Trains a network that paints in the style of any picture (Ghiasi et al. 2017, eq. 5), ``styles`` is empty.

    Of net=predicted the style network and the norms learn first, see "norms_first" of :class:`StyleTransfer`. Of
    net=adain only the decoder learns, from the first step on. VGG in the network does not learn.

    The loss is the same for both: the Gram matrices of each picture's own painting, and the features of its photo. The
    paper of AdaIN compares moments with the painting's, and relu4_1 with the features that AdaIN has made (Huang &
    Belongie 2017, eq. 12 and 13), so that its decoder learns to invert the encoder. Here the picture is what counts:
    its loss is the one that all networks are measured with, and the content of the photo is kept where AdaIN would
    have lost it. ``loss.content_layers`` may be ``{relu4_1: 1}`` for content at the paper's layer.
    """

    net: Predicted | AdaIN

    def _built(self, name: str, n_styles: int, arguments: dict[str, Any]) -> StyleNet:
        net = build(name, **arguments)
        assert isinstance(net, Predicted | AdaIN)
        loss = self.hparams["loss"]
        net.encoder.take(
            vgg_weights("vgg16", loss.get("vgg_path") if loss.get("vgg", "vgg16") == "vgg16" else None).state
        )
        return net

    def _first_to_learn(self) -> set[str]:
        return of_styles(self.net) | {name for name, _ in self.net.named_parameters() if name.startswith("predict.")}

    def inputs(self, batch: Any, first: int) -> tuple[Tensor, Tensor | None, Targets | None]:
        photos, paintings = (self.prepare(images) for images in batch)
        if not isinstance(self.net, Predicted) or not self._sees_the_same():
            return photos, self.net.style_of(paintings), self.loss.targets_of(paintings)
        with torch.no_grad():
            features = self.loss.vgg(paintings, {*self.loss.style_layers, *LAYERS})
        return photos, self.net.code_of(self.net.statistics_of(features)), self.loss.targets_of(paintings, features)

    def _sees_the_same(self) -> bool:
        """Whether the loss and the style network see paintings by one VGG, which one pass is enough for then."""
        vgg = self.loss.vgg
        deep_enough = "conv4_1" in vgg.convs
        return self.hparams["loss"].get("vgg", "vgg16") == "vgg16" and vgg.pool is POOLINGS["max"] and deep_enough

    def samples(self, photos: list[Tensor]) -> list[list[Tensor]]:
        """The paintings, the photos, and each photo in the style of the painting above it."""
        held_out = self._photos().val_paintings
        paintings = [self.prepare(held_out[number % len(held_out)][None]) for number in range(len(photos))]
        made = [self.net(photo, self.net.style_of(one)) for photo, one in zip(photos, paintings, strict=True)]
        return [paintings, photos, made]

    def on_fit_start(self) -> None:
        """Measure the paintings' statistics and what the loss is measured in, unless a resumed run has them already."""
        if bool(self.loss.get_buffer("is_calibrated")) and self.loss.scale == "calibrated":
            return
        if isinstance(self.net, Predicted) and bool((self.net.get_buffer("spread") == 1).all()):
            paintings = self._photos().painting_crops
            assert paintings is not None
            log.info("measuring the statistics of %d crops of paintings", MEASURED)
            with torch.autocast(self.device.type, enabled=False):
                found = [self.net.statistics(self.prepare(paintings[k][None])) for k in range(MEASURED)]
            self.net.standardise(self.trainer.strategy.broadcast(torch.cat(found)))
        super().on_fit_start()

    def start_from(self, ckpt: str) -> None:
        """Take the weights of another network for any style of the same kind. Or what the network can use of one of
        another kind: net=predicted the weights and the styles of a Johnson network, net=adain the decoder of a
        net=photowct, see their ``begin_from``.

        Raises UserError if its network is of no use here, or of another size.
        """
        other, info = load_as("init", ckpt)
        advice = "" if isinstance(self.net, AdaIN) and not isinstance(other, AdaIN) else f" {SAME}"
        try:
            if type(other) is type(self.net) and other.config == self.net.config:
                self.net.load_state_dict(other.state_dict())
            elif type(other) is type(self.net):
                raise ValueError("its sizes are others.")
            else:
                self.net.begin_from(other)
        except ValueError as error:
            nets = f"init={ckpt} holds the net {info['net']}, this run trains {checkpoint.describe(self.net)}"
            raise UserError(f"{nets}: {error}{advice}") from error
