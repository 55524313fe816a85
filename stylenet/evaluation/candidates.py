"""A network under evaluation: loaded from any supported file, with its painting and its objective.

Knows style files, paintings and losses; nothing about photo folders, figures or reports.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from stylenet.data.paintings import open_painting
from stylenet.evaluation.metrics import STYLE_SIZES, painting_file, short
from stylenet.evaluation.onnx_net import OnnxNet
from stylenet.images.image_io import to_tensor
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.stylizing import style_pictures
from stylenet.system.errors import UserError


@dataclass(frozen=True)
class Candidate:
    """A network to evaluate. ``info``: metadata of its file; ``judge``: metadata of the file with the objective,
    usually its own; ``file`` and ``painting``: paths.
    """

    name: str
    net: nn.Module
    info: dict[str, Any]
    judge: dict[str, Any]
    file: Path
    painting: Path

    @property
    def fixed_size(self) -> int | None:
        """Side of the squares that a network of fixed size takes, else None."""
        return min(self.net.size) if isinstance(self.net, OnnxNet) and self.net.size else None

    @property
    def notes(self) -> str:
        """Its origin."""
        if isinstance(self.net, OnnxNet):
            return self.net.notes
        training = self.info.get("training", {})
        return self.info.get("origin") or f"stylenet, {training.get('steps', '?')} steps"

    def picture(self) -> Image.Image:
        """The painting at the largest size that is measured."""
        return open_painting(self.painting, max(STYLE_SIZES))

    def identity(self) -> dict[str, str]:
        """Digests of everything its figures depend on."""
        objective = {key: self.judge.get(key) for key in ("loss", "calibration", "styles", "size")}
        digests = {"file": self.file.read_bytes(), "painting": self.painting.read_bytes()}
        digests["objective"] = json.dumps(objective, sort_keys=True).encode()
        return {name: hashlib.sha256(data).hexdigest()[:16] for name, data in digests.items()}


def candidate(
    ckpt: str,
    painting: str | None,
    device: torch.device,
    otherwise: Mapping[str, Any],
    judge: str | None = None,
    range: str = "auto",
) -> Candidate:
    """Load a network by style name, or from a file of stylenet, pytorch/examples or ONNX. ``file:style`` selects one
    style of a checkpoint with several.

    ``otherwise``: "loss" and painting "size" for a file that does not state its objective. ``judge``: the style whose
    objective replaces the network's own. Raises UserError for an unusable file, an unknown painting, and a network of
    several styles.
    """
    file, net, info = _loaded(ckpt, device, range)
    if isinstance(net, StyleNet) and net.any_style:
        return _in_style_of(ckpt, file, net, info, painting, otherwise)
    if len(info.get("styles") or [{}]) > 1:
        raise _several("ckpt", ckpt, info)
    judging = checkpoint.load(judge)[1] if judge else info
    if judge and len(judging.get("styles") or [{}]) > 1:
        raise _several("judge", judge, judging)
    if "loss" not in judging:
        judging = {**judging, **otherwise}
    return Candidate(
        checkpoint.called(ckpt), net, info, judging, file, painting_file(judging if judge else info, painting)
    )


def _loaded(ckpt: str, device: torch.device, range: str) -> tuple[Path, nn.Module, dict[str, Any]]:
    if Path(ckpt).suffix.lower() == ".onnx":
        if not Path(ckpt).expanduser().is_file():
            raise UserError(f"ckpt={ckpt}: there is no such file.")
        file = Path(ckpt).expanduser()
        return file, OnnxNet(file, range), {"styles": [{"name": file.stem}], "origin": "ONNX"}
    return checkpoint.resolve(ckpt), *checkpoint.load_style(ckpt, device)


def _in_style_of(
    ckpt: str, file: Path, net: StyleNet, info: dict[str, Any], painting: str | None, otherwise: Mapping[str, Any]
) -> Candidate:
    """A network for any style, in the style of ``painting``: its loss is measured on the photos."""
    if painting is None:
        raise UserError(f"ckpt={ckpt} paints in the style of any picture: give one, as painting=painting.jpg.")
    picture = painting_file(info, painting)
    styled = InStyle(net, picture)
    told = {**info, "styles": [{"name": picture.stem, "size": otherwise["size"]}], "calibration": {}}
    return Candidate(f"{checkpoint.called(ckpt)}:{picture.stem}", styled, told, told, file, picture)


class InStyle(nn.Module):
    """A network for any style, in the style of one picture: ``net(content) -> image``."""

    def __init__(self, net: StyleNet, picture: Path):
        super().__init__()
        self.net = net
        device = next(net.parameters()).device
        self.register_buffer("style", style_pictures.weights_of(net, style_pictures.opened(picture), device))

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(content, self.get_buffer("style").expand(len(content), -1))


def _several(option: str, ckpt: str, info: dict[str, Any]) -> UserError:
    names = ", ".join(f"{ckpt}:{style.get('name')}" for style in info["styles"])
    return UserError(f"{option}={ckpt} holds {len(info['styles'])} styles: say which. There are: {names}.")


def objective_of(painting: str | Path, info: Mapping[str, Any], photos: Iterable[Tensor] = ()) -> PerceptualLoss:
    """The loss that a style file's ``info`` describes, including its calibration. Without a calibration, it is measured
    on ``photos`` ``(1, 3, h, w)``.
    """
    styles = info.get("styles") or [{}]
    size = styles[0].get("size") or info["size"]
    settings = {**info["loss"], "vgg_path": None}  # a path on the machine that trained it
    loss = PerceptualLoss([to_tensor(open_painting(painting, size))], **settings)
    if not info.get("calibration"):
        if loss.scale == "calibrated":
            loss.calibrate(photos)
        return loss
    for name, value in info["calibration"].items():
        buffer = loss.get_buffer(name)
        buffer.copy_(torch.tensor(value).reshape(buffer.shape))
    loss.get_buffer("is_calibrated").fill_(True)
    return loss


@torch.no_grad()
def stylized(candidate: Candidate, photo: Tensor) -> Tensor:
    """The network's output for ``photo``. Raises UserError for non-finite values."""
    output = candidate.net(photo)
    if not output.isfinite().all():
        raise UserError(f"{candidate.name} gives NaN or infinity at {photo.shape[-1]} px: a broken network.")
    return output


@torch.no_grad()
def judged(objective: PerceptualLoss, output: Tensor, photo: Tensor) -> dict[str, float]:
    """The objective of the clamped output, and its unweighted style and content terms."""
    read = objective.readings(objective(output.clamp(0, 1), photo))
    kinds = ("objective", "objective_style", "objective_content")
    return {kind: short(read[name]) for kind, name in zip(kinds, ("loss", "style", "content"), strict=True)}
