"""Similarity of a stylized picture to its photo by established measures: SSIM, LPIPS, CFSD and ArtFID.

Knows pictures and features of frozen networks; nothing about style networks.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylenet.losses.vgg import VGG
from stylenet.system.errors import UserError

LPIPS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
CFSD_LAYER = "relu3_1"
CFSD_PLACES = 128 * 128  # positions of relu3_1 at 512 px, the size of published figures
ROWS = 32  # positions a side whose similarity to all others is compared
FRECHET_LAYER = "relu5_3"


class Similarity(nn.Module):
    """``similarity(output, photo)``: two pictures ``(1, 3, h, w)`` in [0, 1] -> ``{"ssim": ..., "lpips": ..., "cfsd":
    ...}``, on the device of the module.

    "ssim": 1 is the same picture (Wang et al. 2004; Gaussian window of 11 px). "lpips": 0 is the same picture (Zhang et
    al. 2018, version 0.1 on VGG16). "cfsd": 0 is the same picture, see :func:`structural_distance`; at relu3_1 of VGG16
    (its authors use VGG19), times 16384 because their code sums over the positions at 512 px. All three depend on the
    size of the pictures: compare equal sizes. Raises UserError without torchmetrics.
    """

    def __init__(self):
        super().__init__()
        self.vgg = VGG({*LPIPS_LAYERS, CFSD_LAYER, FRECHET_LAYER})
        for layer, head in zip(LPIPS_LAYERS, _lpips_heads(), strict=True):
            self.register_buffer(f"{layer}_head", head, persistent=False)

    @torch.no_grad()
    def forward(self, output: Tensor, photo: Tensor) -> dict[str, float]:
        from torchmetrics.functional.image import structural_similarity_index_measure

        ssim = structural_similarity_index_measure(output, photo, data_range=1.0)
        after, before = self.vgg(output), self.vgg(photo)
        cfsd = CFSD_PLACES * structural_distance(after[CFSD_LAYER], before[CFSD_LAYER])
        return {"ssim": float(ssim), "lpips": self._lpips(after, before), "cfsd": cfsd}  # type: ignore[arg-type]

    def _lpips(self, after: dict[str, Tensor], before: dict[str, Tensor]) -> float:
        """Eq. 1 of Zhang et al. 2018: ``sum_l mean_hw sum_c w (y - y0)^2`` with learned weights w and features y
        normalized at every position. Consumes the features to save memory.
        """
        total = 0.0
        for layer in LPIPS_LAYERS:
            difference = _unit(after.pop(layer)).sub_(_unit(before.pop(layer))).square_()
            total += float((difference * self.get_buffer(f"{layer}_head")).sum(1).mean())
        return total

    @torch.no_grad()
    def artfid(
        self,
        outputs: Iterable[Tensor],
        photos: Iterable[Tensor],
        paintings: Iterable[Tensor],
        inception: str | Path | None = None,
    ) -> dict[str, float]:
        """ArtFID, ``(1 + LPIPS) (1 + Frechet distance)`` (Wright & Ommer 2022), of outputs, their photos in the same
        order, and paintings; two or more of each, all ``(1, 3, h, w)`` in [0, 1].

        ``inception``: the authors' art_inception.pth, whose features define the Frechet distance of outputs and
        paintings; the figures are then "frechet" and "artfid". Without it the features are VGG16's (relu5_3, averaged
        over the positions), on another scale: "frechet_vgg" and "artfid_vgg". "lpips" is the mean on VGG16; the
        authors' code uses AlexNet. The authors use thousands of pictures. Fewer increase the distance: compare equal
        numbers only. Raises UserError for fewer than two of a kind, and for any other file as ``inception``.
        """
        net = _art_inception(inception).to(self.vgg.get_buffer("mean").device) if inception else None
        features, lpips = [], []
        for output, photo in zip(outputs, photos, strict=True):
            after = self.vgg(output, LPIPS_LAYERS)
            features.append(net(output) if net else _pooled(after))
            lpips.append(self._lpips(after, self.vgg(photo, LPIPS_LAYERS)))
        others = [net(painting) if net else _pooled(self.vgg(painting, [FRECHET_LAYER])) for painting in paintings]
        if min(len(features), len(others)) < 2:
            raise UserError(f"ArtFID of {len(features)} outputs and {len(others)} paintings: use two or more of each.")
        distance = frechet(torch.cat(features), torch.cat(others))
        mean, kind = sum(lpips) / len(lpips), "" if net else "_vgg"
        return {f"artfid{kind}": (1 + mean) * (1 + distance), f"frechet{kind}": distance, "lpips": mean}


def structural_distance(output: Tensor, photo: Tensor) -> float:
    """Content Feature Structural Distance of features ``(1, c, h, w)``: ``mean_i KL(S_i of photo || S_i of output)``
    with ``S = softmax(F F^T / c^2)``, each row the similarity of a position to all (Chung et al. 2024, StyleID).

    0 is the same picture. Uses the rows of at most 32 x 32 evenly spaced positions: within 3 % of the full result.
    """
    a, b = (x[0].flatten(1).T / x.shape[1] for x in (output, photo))
    places = torch.arange(len(a), device=a.device).view(output.shape[2:])
    y, x = (max(1, side // ROWS) for side in places.shape)
    rows = places[y // 2 :: y, x // 2 :: x].flatten().split(ROWS)
    return sum(float(_divergence(b[row] @ b.T, a[row] @ a.T).sum()) for row in rows) / sum(map(len, rows))


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    """``KL(softmax(target) || softmax(logits))`` of each row."""
    return F.kl_div(logits.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True).sum(1)


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians of two samples ``(n, d)`` and ``(m, d)``, as in FID (Heusel et al. 2017):
    ``|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))`` with their covariances A and B.

    The trace of the root of ``X^T X Y^T Y`` is the nuclear norm of ``X Y^T``, an n x m matrix for any d.
    """
    a, b = a.double(), b.double()
    x, y = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (a, b))
    roots = torch.linalg.svdvals(x @ y.T).sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + x.square().sum() + y.square().sum() - 2 * roots)


def _pooled(features: dict[str, Tensor]) -> Tensor:
    return features[FRECHET_LAYER].mean((2, 3))


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-8).sqrt()


def _lpips_heads() -> list[Tensor]:
    """The learned channel weights of the five layers, ``(1, c, 1, 1)`` each, from torchmetrics."""
    try:
        import torchmetrics.functional.image as image
    except ModuleNotFoundError as error:
        raise UserError("SSIM and LPIPS need torchmetrics: pip install 'stylenet[evaluate]'.") from error
    path = Path(str(image.__file__)).parent / "lpips_models" / "vgg.pth"
    heads = torch.load(path, map_location="cpu", weights_only=True)
    return [heads[f"lin{i}.model.1.weight"] for i in range(len(LPIPS_LAYERS))]


def _art_inception(path: str | Path) -> nn.Module:
    """Torchvision's Inception v3 with Wright & Ommer's weights, up to the 2048 features of their ArtFID."""
    from torchvision.models import Inception3

    net = Inception3(transform_input=False, init_weights=False)
    net.AuxLogits, net.fc = None, nn.Identity()  # type: ignore[assignment]
    try:
        state = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
        net.load_state_dict({key: state[key] for key in net.state_dict()})
    except Exception as error:  # a foreign file can fail in any way
        raise UserError(f"{path} does not hold ArtFID's Inception: use its authors' art_inception.pth.") from error
    return net.eval()
