"""A network that is to be judged: from whichever file, with its painting and the objective that it is judged by.

Knows files of styles, paintings and losses; nothing about photos' folders, figures or reports.
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
from stylenet.system.errors import UserError


@dataclass(frozen=True)
class Candidate:
    """A network to judge. ``info``: what its file says; ``judge``: what the file says by whose objective it is judged
    (its own, mostly); ``file`` and ``painting``: where they are.
    """

    name: str
    net: nn.Module
    info: dict[str, Any]
    judge: dict[str, Any]
    file: Path
    painting: Path

    @property
    def fixed_size(self) -> int | None:
        """The side of the squares that it takes, where it takes no others."""
        return min(self.net.size) if isinstance(self.net, OnnxNet) and self.net.size else None

    @property
    def notes(self) -> str:
        """Where it comes from."""
        if isinstance(self.net, OnnxNet):
            return self.net.notes
        training = self.info.get("training", {})
        return self.info.get("origin") or f"stylenet, {training.get('steps', '?')} steps"

    def picture(self) -> Image.Image:
        """The painting, as large as it is ever looked at."""
        return open_painting(self.painting, max(STYLE_SIZES))

    def identity(self) -> dict[str, str]:
        """What its figures depend on, in digests."""
        said = {key: self.judge.get(key) for key in ("loss", "calibration", "styles", "size")}
        digests = {"file": self.file.read_bytes(), "painting": self.painting.read_bytes()}
        digests["objective"] = json.dumps(said, sort_keys=True).encode()
        return {name: hashlib.sha256(data).hexdigest()[:16] for name, data in digests.items()}


def candidate(
    ckpt: str,
    painting: str | None,
    device: torch.device,
    otherwise: Mapping[str, Any],
    judge: str | None = None,
    range: str = "auto",
) -> Candidate:
    """The network of a style's name, or of a file of stylenet, pytorch/examples or ONNX; with ":" and a style's name
    after it, that style of a checkpoint with several.

    ``otherwise``: the "loss" and the painting's "size" for a network that does not say what it was trained with.
    ``judge``: the style whose objective it is judged by instead of its own. Raises UserError for a file that cannot be
    used, an unknown painting, and a network of several styles.
    """
    file, net, info = _loaded(ckpt, device, range)
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
    return checkpoint.resolve(ckpt), *checkpoint.load(ckpt, device)


def _several(option: str, ckpt: str, info: dict[str, Any]) -> UserError:
    names = ", ".join(f"{ckpt}:{style.get('name')}" for style in info["styles"])
    return UserError(f"{option}={ckpt} holds {len(info['styles'])} styles: say which. There are: {names}.")


def objective_of(painting: str | Path, info: Mapping[str, Any], photos: Iterable[Tensor] = ()) -> PerceptualLoss:
    """The loss that ``info`` of a style file tells, its references included; where it tells none of these, they are
    measured on ``photos`` ``(1, 3, h, w)``.
    """
    styles = info.get("styles") or [{}]
    size = styles[0].get("size") or info["size"]
    settings = {**info["loss"], "vgg_path": None}  # of the machine that trained it
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
    """What the network makes of ``photo``. Raises UserError where that is no picture."""
    output = candidate.net(photo)
    if not output.isfinite().all():
        raise UserError(f"{candidate.name} gives NaN or infinity at {photo.shape[-1]} px: a broken network.")
    return output


@torch.no_grad()
def judged(objective: PerceptualLoss, output: Tensor, photo: Tensor) -> dict[str, float]:
    """The objective of the picture that would be written, and its style and content without their weights."""
    read = objective.readings(objective(output.clamp(0, 1), photo))
    kinds = ("objective", "objective_style", "objective_content")
    return {kind: short(read[name]) for kind, name in zip(kinds, ("loss", "style", "content"), strict=True)}
