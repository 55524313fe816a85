"""Effect of noise on flat places: a network trained without noise, at several noise levels, without further training.

    python -m benchmarks.experiments.noise ckpt=many.safetensors styles=[starry_night,udnie] \
        paintings=/path/to/paintings photos=/path/to/photos out=noise

For each style and strength (the standard deviation of the weights, drawn with ``seed``): mean artefacts of stylized
photos, next to the photos' own. Writes noise.json and a sheet of one photo with one row per style.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.experiments.trainings import answering, in_rows, options, write_results
from stylenet.data.paintings import open_painting
from stylenet.evaluation.artefacts import dots, flat, weave
from stylenet.evaluation.metrics import PHOTOS, squares
from stylenet.images.image_io import fit, open_rgb, to_pil, to_tensor
from stylenet.nets import checkpoint
from stylenet.nets.registry import build
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "ckpt": None,
    "styles": ["starry_night"],
    "paintings": None,  # a folder
    "photos": str(PHOTOS),  # a folder
    "count": 8,  # photos: the first ones, their centre squares
    "size": 512,  # pixels
    "strengths": [0.0, 0.25, 0.5, 1.0],
    "shown": str(PHOTOS / "castle.jpg"),
    "shown_size": 768,
    "crop": [240, 0, 768, 360],  # of it: left, top, right, bottom
    "seed": 0,
    "out": "noise",
}


@torch.no_grad()
def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["ckpt"] or not chosen["paintings"]:
        raise UserError(
            "ckpt= and paintings= are needed: a network trained without noise, and the folder of its styles."
        )
    photos = squares(chosen["photos"], chosen["size"], chosen["count"])
    shown = to_tensor(fit(open_rgb(chosen["shown"]), chosen["shown_size"]))
    rows, found = [], {"photos": mean(photos, None)}
    for style in chosen["styles"]:
        net, info = checkpoint.load(f"{chosen['ckpt']}:{style}")
        painting = to_tensor(open_painting(Path(chosen["paintings"]) / info["styles"][0]["image"], 768))
        found[f"photos beside {style}"] = {"flat": average([flat(photo, painting) for photo in photos])}
        noisy = [with_noise(net, strength, chosen["seed"]) for strength in chosen["strengths"]]
        for strength, one in zip(chosen["strengths"], noisy, strict=True):
            found[f"{style}, noise {strength}"] = mean([one(photo) for photo in photos], painting)
        rows.append([to_pil(one(shown)).crop(tuple(chosen["crop"])) for one in noisy])
    out = Path(chosen["out"])
    out.mkdir(parents=True, exist_ok=True)
    in_rows(out / "noise.jpg", rows, 85)
    write_results(out / "noise.json", chosen, figures=found)


def with_noise(net: nn.Module, strength: float, seed: int) -> nn.Module:
    """The network with noise of that strength, of random sign and share in each channel; without it for 0."""
    if not strength:
        return net
    torch.manual_seed(seed)
    noisy = build("johnson", **{**net.config, "noise": 1}).eval()  # type: ignore[dict-item]
    weight = torch.randn_like(noisy.noise.weight) * strength  # type: ignore[union-attr,arg-type]
    noisy.load_state_dict({**net.state_dict(), "noise.weight": weight})
    return noisy


def mean(images: list[Tensor], painting: Tensor | None) -> dict[str, float]:
    found = {"weave": average(map(weave, images)), "dots": average(map(dots, images))}
    return found | ({"flat": average(flat(image, painting) for image in images)} if painting is not None else {})


def average(numbers: Any) -> float:
    values = [*numbers]
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    answering(main)
