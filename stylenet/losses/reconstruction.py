"""The loss of an autoencoder of photos: how far its picture and the features on the way there are from the photo's.

Knows nothing about networks, Lightning or files.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

VARIANCE = 0.08  # of the pixels of photos, in [0, 1]: about that of a picture that is all mean colour


class ReconstructionLoss(nn.Module):
    """``loss(picture, photo, decoded, wanted) -> {name: weighted term}``. Training minimises the sum of the terms.

    ``picture``, ``photo``: ``(b, 3, h, w)``. ``decoded``, ``wanted``: features by layer, equal in shape: what the
    decoder came by on its way, and what the encoder had there. The term "pixels" is 1.0 for a picture in one mean
    colour, the term of a layer for features that are all 0. ``feature_weight`` is that of each layer (blockwise
    training: Chiu & Gurari 2022, section 3.2).
    """

    def __init__(self, pixel_weight: float, feature_weight: float, vgg_path: str | None = None):
        super().__init__()
        self.weights = {"pixels": pixel_weight, "features": feature_weight}
        self.register_buffer("is_calibrated", torch.tensor(True))  # nothing has to be measured

    def forward(
        self, picture: Tensor, photo: Tensor, decoded: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        distance = (picture.float() - photo.float()).square().mean()
        terms = {"pixels": self.weights["pixels"] * distance / VARIANCE}
        for layer, features in decoded.items():
            target = wanted[layer].float()
            distance = (features.float() - target).square().mean() / target.square().mean()
            terms[f"features/{layer}"] = self.weights["features"] * distance
        return terms

    def readings(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a person reads: the terms without their weights, and "loss", their weighted sum."""
        read = {name: term / (self.weights[name.partition("/")[0]] or 1.0) for name, term in terms.items()}
        return {"loss": torch.stack([*terms.values()]).sum()} | read

    def calibration(self) -> dict[str, Any]:
        """Nothing: the terms have units of their own."""
        return {}

    def require_calibration(self) -> None:
        """Nothing is required."""
