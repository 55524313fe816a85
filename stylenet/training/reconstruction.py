"""The LightningModule of the autoencoder whose decoder photorealistic transfer uses. It learns from photos alone."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stylenet.losses.perceptual import Targets
from stylenet.losses.reconstruction import ReconstructionLoss
from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.photowct import PhotoWCT
from stylenet.nets.registry import build
from stylenet.system.errors import UserError
from stylenet.training.closed_form import even_out, fit_decoder
from stylenet.training.module import StyleTransfer, Window, load_as

log = logging.getLogger(__name__)

FITTED = 128  # crops that the decoder begins with
EVENED = 32  # of them for the means of the encoder's channels


class Reconstruction(StyleTransfer):
    """Trains the decoder of net=photowct: of the encoder's features it makes the photo again (Li et al. 2018, section
    3.1). There are no styles and no paintings. The encoder does not learn.

    The loss sees the whole crop: reflected borders are a photo's own in use, too.
    """

    net: PhotoWCT
    begun = False

    def _built(self, name: str, n_styles: int, arguments: dict[str, Any]) -> StyleNet:
        net = build(name, **arguments)
        assert isinstance(net, PhotoWCT)
        net.encoder.take(vgg_weights("vgg16", self.hparams["loss"].get("vgg_path")).state)
        return net

    def _loss(self, loss: dict[str, Any]) -> Any:
        return ReconstructionLoss(**loss)

    def _first_to_learn(self) -> set[str]:
        return set()

    def inputs(self, batch: Any, first: int) -> tuple[Tensor, Tensor | None, Targets | None]:
        return self.prepare(batch), None, None

    def terms(
        self, content: Tensor, style: Tensor | None, window: Window | None = None, targets: Targets | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms of the loss for photos ``(b, 3, h, w)`` in [0, 1]."""
        with torch.no_grad():
            wanted, shares = self.net.encoder.seen(content)
        *decoded, (_, picture) = self.net.decoder.steps(wanted["relu4_1"], shares)
        before = dict(zip([*wanted][1:], [*wanted], strict=False))  # the layer that each layer is made of
        return self.loss(picture, content, {before[layer]: x for layer, x in decoded}, wanted)

    def samples(self, photos: list[Tensor]) -> list[list[Tensor]]:
        """The photos, and what the network makes of them."""
        return [photos, [self.net(photo) for photo in photos]]

    def on_fit_start(self) -> None:
        """A new run begins where least squares lead; one that resumes or has a start goes on from there."""
        if self.begun:
            return
        self.begun = True
        photos = self._photos()
        log.info("fitting the decoder to %d crops by least squares", FITTED)
        state = self.fitted_to([photos.crops[k][None] for k in range(FITTED)])
        self.net.load_state_dict(self.trainer.strategy.broadcast(state))

    def fitted_to(self, crops: Sequence[Tensor]) -> dict[str, Tensor]:
        """The network's weights after a fit to photos ``(1, 3, h, w)``, uint8 or in [0, 1]."""
        with torch.autocast(self.device.type, enabled=False):
            photos = [self.prepare(crop) for crop in crops]
            even_out(self.net.encoder, photos[:EVENED])
            fit_decoder(self.net, photos)
        return self.net.state_dict()

    def on_load_checkpoint(self, saved: dict[str, Any]) -> None:
        super().on_load_checkpoint(saved)
        self.begun = True

    def start_from(self, ckpt: str) -> None:
        """Take the weights of another checkpoint of this network. Raises UserError if it is of another one."""
        other, info = load_as("init", ckpt)
        if not isinstance(other, PhotoWCT) or other.config != self.net.config:
            raise UserError(
                f"init={ckpt} holds the net {info['net']}, this run trains {checkpoint.describe(self.net)}: "
                "give a checkpoint of the same net=, or leave init= out."
            )
        self.net.load_state_dict(other.state_dict())
        self.begun = True
