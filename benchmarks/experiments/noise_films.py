"""Noise in films: none, noise that stands still, and noise that moves with what is filmed.

    python -m benchmarks.experiments.noise_films clip=clip.mp4 ckpt=gallery:starry_night frames=40 out=noise_films

Paints the same frames three times. "none": the noise's weights are 0. "still": the network as it is, its noise a
function of the place alone. "carried": each place of the features has the noise of the place that it came from, as the
optical flow of the source frames finds it; what comes into view gets new noise. Measures the flicker of each as
benchmarks/speed/video.py does, without and with ``temporal``. Writes noise_films.json, a film for each, and a strip of
a part of some frames before blending.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.experiments.trainings import answering, in_rows, options, write_results
from benchmarks.speed.video import first_frames, flicker
from stylenet.images.image_io import to_tensor
from stylenet.nets import checkpoint
from stylenet.nets.layers import FIRST, NOISE_SIDES, Noise
from stylenet.system.errors import UserError
from stylenet.video import container, protocol, temporal

OPTIONS: dict[str, Any] = {
    "clip": None,
    "ckpt": "gallery:starry_night",
    "frames": 40,
    "temporal": [0.0, 0.6],
    "shown": [0, 8, 16],  # frames in the strip
    "crop": [0, 0, 320, 160],  # of them: left, top, right, bottom
    "out": "noise_films",
}
WAYS = ("none", "still", "carried")
CELL = 4  # pixels of a place of the features


class Carried(nn.Module):
    """In the place of a network's noise: noise whose places were moved. ``places``: (h, w, 2), for each place of the
    features, the frame excluded, the row and column of the noise that it gets.
    """

    def __init__(self, noise: Noise, border: int):
        super().__init__()
        self.noise, self.border = noise, border
        self.places = torch.zeros(1, 1, 2)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        places = ends(self.places, self.border, x.shape[2:]) + self.border + FIRST
        first, share = places.floor().long(), places - places.floor()
        noise, squares = torch.zeros(()), torch.zeros(())
        for down, across in product((0, 1), repeat=2):  # between four places; as strong there as on one of them
            part = (share[..., 0] - 1 + down).abs() * (share[..., 1] - 1 + across).abs()
            noise = noise + part * self.signs(first[..., 0] + down, first[..., 1] + across)
            squares = squares + part.square()
        return x + self.noise.of(style)[..., None, None] * noise / squares.sqrt()

    def signs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The noise at these places."""
        one, two = (self.noise.get_buffer(f"signs_{side}") for side in NOISE_SIDES)
        return one[rows % len(one), columns % len(one)] * two[rows % len(two), columns % len(two)]


def ends(places: Tensor, border: int, size: torch.Size) -> Tensor:
    """``places`` with a border around it, in which rows and columns go on counting."""
    height, width = size
    rows = torch.arange(height) - border
    columns = torch.arange(width) - border
    inside = places[rows.clamp(0, len(places) - 1)][:, columns.clamp(0, places.shape[1] - 1)]
    over = torch.stack(
        [
            (rows - rows.clamp(0, len(places) - 1))[:, None].expand(height, width),
            (columns - columns.clamp(0, places.shape[1] - 1))[None].expand(height, width),
        ],
        -1,
    )
    return inside + over


@torch.inference_mode()
def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["clip"]:
        raise UserError("clip= is missing: give a film, such as clip=clip.mp4.")
    source, frames = first_frames(Path(chosen["clip"]), chosen["frames"])
    flow = temporal.dis()
    pairs = [temporal.trusted(b.rgb, a.rgb, flow) for a, b in zip(frames, frames[1:], strict=False)]
    out = Path(chosen["out"])
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"flicker_photos": round(flicker([one.rgb for one in frames], pairs), 4)}
    rows = []
    for way in WAYS:
        made = painted(chosen["ckpt"], way, frames, pairs)
        for part in chosen["temporal"]:
            steady = temporal.Steady(part)
            held = [steady(frame.rgb, one) for frame, one in zip(frames, made, strict=True)]
            found[f"{way}, temporal={part:g}"] = round(flicker(held, pairs), 4)
            write_film(out / f"{way}_{part:g}.mp4", source, frames, held)
        rows.append([Image.fromarray(made[number]).crop(tuple(chosen["crop"])) for number in chosen["shown"]])
        print(way, found, flush=True)
    in_rows(out / "noise_films.jpg", rows, 88)
    write_results(out / "noise_films.json", chosen, figures=found)


def painted(ckpt: str, way: str, frames: list[protocol.Frame], pairs: list[Any]) -> list[np.ndarray]:
    """The frames, painted."""
    net: Any = checkpoint.load(ckpt)[0].eval()
    if net.noise is None:
        raise UserError(f"ckpt={ckpt}: this network has no noise. Give one trained with net.noise=1.")
    carried = Carried(net.noise, net.frame // CELL)
    if way == "none":
        nn.init.zeros_(net.noise.weight)
    elif way == "carried":
        net.noise = carried
    height, width = (-(-side // CELL) for side in frames[0].rgb.shape[:2])
    places = own_places(height, width, 0)
    made = []
    for number, frame in enumerate(frames):
        if number:
            back, kept = pairs[number - 1]
            places = moved(places, back, kept, number)
        carried.places = torch.from_numpy(places)
        result = net(to_tensor(Image.fromarray(frame.rgb)))[0].clamp(0, 1)
        made.append((result.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    return made


def own_places(height: int, width: int, number: int) -> np.ndarray:
    """The places of a frame itself: (h, w, 2), rows and columns. New ones in each frame: what comes into view has not
    been seen before."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(np.float32)
    return grid + np.float32(number) * np.array([height, width], np.float32)


def moved(places: np.ndarray, back: np.ndarray, kept: np.ndarray, number: int) -> np.ndarray:
    """The places of the next frame, whose pixels lay at their place plus ``back`` (in pixels) before; new ones where
    ``kept`` says that they were not in view."""
    import cv2

    height, width = places.shape[:2]
    small = cv2.resize(back, (width, height), interpolation=cv2.INTER_AREA) / CELL
    seen = cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA) > 0.5
    carried = np.stack([temporal.warped(places[..., axis], small) for axis in (0, 1)], -1)
    steps = np.abs(np.stack([temporal.warped(places[..., axis], small, 0) for axis in (0, 1)], -1) - carried).max(-1)
    whole = seen & (steps < 1.5)  # between two pieces of noise the mean of their places is no place
    return np.where(whole[..., None], carried, own_places(height, width, number))


def write_film(path: Path, source: container.Reader, frames: list[protocol.Frame], made: list[np.ndarray]) -> None:
    sink = container.Writer(path, source.look)
    for frame, rgb in zip(frames, made, strict=True):
        sink.add(protocol.Frame(rgb, frame.time, frame.duration))
    sink.close()


if __name__ == "__main__":
    answering(main)
