"""The picture of docs/controls.md of a panorama's poles, and a figure for how squeezed strokes are there.

    python -m benchmarks.experiments.panoramas [ckpt=woman_with_a_hat] [height=512] [sheet=docs/controls/panorama.jpg]

The panorama is made here: bundled photographs all around, with clouds above and a meadow below, noise in space, so that
nothing is squeezed at the poles. Below each other: the panorama, painted without wrap=, and with wrap=panorama; beside
each the view straight up, 90 degrees wide, and back, to where the sides meet.

``squeezed``: 10 to 20 degrees from a pole, the slope of the lightness around the pole divided by that towards it, both
for the same distance on the sphere, root mean squares. 1 if nothing has a direction there; strokes that are as wide as
elsewhere in pixels have about 4. ``seam``: the mean difference of the first and the last column divided by that of
neighbours elsewhere: 1 where there is none.
"""

from math import pi
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import stylenet
from benchmarks.experiments.trainings import answering, options
from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import open_rgb, to_array, to_tensor
from stylenet.system.atomic import replacing

OPTIONS: dict[str, Any] = {"ckpt": "woman_with_a_hat", "height": 512, "sheet": "", "device": "auto"}
AROUND = ("val/castle", "train/mountains", "train/temple_roof", "train/lake", "train/aqueduct")
WIDE, HIGH = 100.0, 66.0  # degrees of a photograph
SETTINGS = (None, "x", "panorama")
SHOWN = ("the panorama", "wrap=None", "wrap=panorama")
GAP = 6  # pixels between pictures
DIRECTIONS = {  # right, down and forward of a view, in (right, up, forward) of the panorama's middle
    "up": ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    "down": ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
    "back": ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
}


def directions(height: int) -> Tensor:
    """The unit vectors (height, 2 height, 3) of a panorama's pixels: right, up, forward."""
    latitude = (pi / 2 - (torch.arange(height) + 0.5) / height * pi)[:, None]
    longitude = ((torch.arange(2 * height) + 0.5) / height - 1) * pi
    across = torch.cos(latitude)
    return torch.stack(
        [across * torch.sin(longitude), torch.sin(latitude).expand(-1, 2 * height), across * torch.cos(longitude)], -1
    )


def noise(places: Tensor, scale: float, octaves: int = 5) -> Tensor:
    """Fractal noise in space, about -1 to 1, at places (h, w, 3)."""
    generator, made = torch.Generator().manual_seed(round(scale * 10)), torch.zeros(places.shape[:2])
    for octave in range(octaves):
        side = round(scale * 2**octave) + 1
        volume = torch.rand(1, 1, side, side, side, generator=generator) * 2 - 1
        made += F.grid_sample(volume, places[None, None], align_corners=True)[0, 0, 0] / 2**octave
    return made


def environment(height: int) -> np.ndarray:
    """The panorama (height, 2 height, 3) of uint8."""
    towards = directions(height)
    up = towards[..., 1]
    clouds = (noise(towards * 0.98, 6, 6) * 0.9 + 0.15).clamp(0, 1)[..., None]
    sky = torch.tensor([0.22, 0.42, 0.78]) + (1 - up.clamp(0, 1)[..., None]) * torch.tensor([0.35, 0.3, 0.15])
    sky = sky.lerp(torch.tensor([0.97, 0.95, 0.93]), clouds)
    grass = (noise(towards * 0.98, 14) * 0.5 + 0.5).clamp(0, 1)[..., None]
    flowers = ((noise(towards * 0.98, 40, 2) - 0.75) * 8).clamp(0, 1)[..., None]
    meadow = torch.tensor([0.14, 0.22, 0.06]).lerp(torch.tensor([0.5, 0.6, 0.2]), grass)
    meadow = meadow.lerp(torch.tensor([0.9, 0.75, 0.25]), flowers)
    made = meadow.lerp(sky, ((up + 0.05) / 0.1).clamp(0, 1)[..., None])
    for number, name in enumerate(AROUND):
        photo = to_tensor(open_rgb(PHOTOS.parent / f"{name}.jpg"))
        middle = number / len(AROUND) * 2 * pi - pi  # the sides meet in the middle of the first
        longitude = torch.atan2(towards[..., 0], towards[..., 2])
        x = torch.remainder(longitude - middle + pi, 2 * pi) - pi
        grid = torch.stack([x / (WIDE / 360 * pi), -torch.asin(up) / (HIGH / 360 * pi)], -1)
        found = F.grid_sample(photo, grid[None], align_corners=False, padding_mode="border")[0].permute(1, 2, 0)
        edges = ((1 - grid.abs()) / torch.tensor([0.45, 0.4])).clamp(0, 1)
        share = (edges * edges * (3 - 2 * edges)).prod(-1, keepdim=True)
        made = made.lerp(found, share)
    grain = noise(towards * 0.98, 240, 1)[..., None] * 0.03  # as photographs have, even in a clear sky
    return to_array((made + grain).permute(2, 0, 1)[None].clamp(0, 1))


def view(panorama: np.ndarray, towards: str, side: int, degrees: float = 90.0) -> np.ndarray:
    """The perspective view (side, side, 3) of a panorama in one of ``DIRECTIONS``."""
    half = np.tan(degrees / 360 * pi)
    places = ((torch.arange(side) + 0.5) / side * 2 - 1) * half
    right, down, forward = (torch.tensor(one, dtype=torch.float32) for one in DIRECTIONS[towards])
    rays = F.normalize(forward + places[None, :, None] * right + places[:, None, None] * down, dim=-1)
    grid = torch.stack([torch.atan2(rays[..., 0], rays[..., 2]) / pi, -2 * torch.asin(rays[..., 1]) / pi], -1)
    picture = F.pad(to_tensor(panorama), (1, 1, 0, 0), mode="circular")  # nothing ends where the sides meet
    grid[..., 0] *= panorama.shape[1] / (panorama.shape[1] + 2)
    return to_array(F.grid_sample(picture, grid[None], align_corners=False, padding_mode="border"))


def squeezed(panorama: np.ndarray, towards: str) -> float:
    """The figure, see the module."""
    light = to_tensor(panorama if towards == "up" else panorama[::-1].copy()).mean(1)[0]
    height = len(light)
    rows = torch.arange(round(height * 10 / 180), round(height * 20 / 180))
    per_pixel = torch.sin((rows + 0.5) / height * pi)[:, None]  # a pixel around the pole, in pixels towards it
    around = (light[rows].roll(-1, 1) - light[rows].roll(1, 1)) / per_pixel
    outwards = light[rows + 1] - light[rows - 1]
    return float((around.square().mean() / outwards.square().mean()).sqrt())


def seam(panorama: np.ndarray) -> float:
    """The figure, see the module."""
    apart = np.abs(panorama.astype(float) - np.roll(panorama, 1, 1)).mean((0, 2))
    return float(apart[0] / apart[1:].mean())


def main() -> None:
    given = options(OPTIONS)
    photo = environment(given["height"])
    made = {"the panorama": photo}
    for wrap in SETTINGS:
        style = stylenet.load(given["ckpt"], given["device"], wrap=wrap)
        made[f"wrap={wrap}"] = style(photo)
    for name, picture in made.items():
        up, down = (squeezed(picture, towards) for towards in ("up", "down"))
        print(f"{name}: squeezed {up:.2f} above and {down:.2f} below, seam {seam(picture):.2f}")
    if given["sheet"]:
        side = given["height"]
        page = Image.new("RGB", (4 * side + 2 * GAP, len(SHOWN) * (side + GAP) - GAP), "white")
        for row, name in enumerate(SHOWN):
            picture, left, top = made[name], 0, row * (side + GAP)
            for part in (picture, view(picture, "up", side), view(picture, "back", side)):
                page.paste(Image.fromarray(part), (left, top))
                left += part.shape[1] + GAP
        page.thumbnail((1280, 1280), Image.Resampling.LANCZOS)
        with replacing(given["sheet"]) as temp:
            page.save(temp, "JPEG", quality=72)


if __name__ == "__main__":
    answering(main)
