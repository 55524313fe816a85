"""Make the pictures and the figures of docs/models.md: textures of models in a style, in three ways.

    python -m benchmarks.experiments.models out=docs/models
    python -m benchmarks.experiments.models speed=true

The first makes pictures of the models of shapes.py and prints how even the scale is on their surfaces, and how large
the steps at the borders of islands are. The second prints seconds and memory of `stylenet model` for textures of 1k to
4k.

The ways: "direct" stylizes a texture as if it were a photo, "views" stylizes pictures of the model from all around and
puts them back onto it, "surface" is what `stylenet model` does.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

import stylenet
from benchmarks.experiments import shapes, trainings
from stylenet.images import image_io
from stylenet.meshes import pyramid, renderer
from stylenet.meshes.atlas import Atlas, painted_islands
from stylenet.meshes.pyramid import Pyramid
from stylenet.meshes.renderer import Scene, View
from stylenet.meshes.seams import seams
from stylenet.meshes.surface import Surface, islands
from stylenet.stylizing import surfaces
from stylenet.stylizing.controls import Controls

OPTIONS: dict[str, Any] = {
    "out": "models",  # folder for the pictures
    "ckpt": "starry_night",
    "styles": ["starry_night", "gallery:sunflowers", "gallery:composition_viii"],  # of the first picture
    "side": 1024,  # pixels of the textures
    "size": 320,  # pixels of a picture of a model in the comparison
    "speed": False,
    "sides": [1024, 2048, 4096],
}
SEEN = {"box": (30, 20), "vase": (35, 20), "globe": (120, 60), "cottage": (30, 20)}  # turned, and looked down at
SIDE = 400  # pixels of a model in the first picture
DIRECTIONS = [(angle, 20) for angle in range(0, 360, 45)]
DIRECTIONS += [(angle, down) for down in (60, -40) for angle in range(0, 360, 90)]
Stylize = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    chosen = trainings.options(OPTIONS)
    if chosen["speed"]:
        speed(chosen)
        return
    out = Path(chosen["out"])
    out.mkdir(parents=True, exist_ok=True)
    first(out / "cottage.jpg", chosen)
    ways(out / "ways.jpg", chosen)


def ways(path: Path, chosen: dict[str, Any]) -> None:
    """Print the figures of all models, and show each of them before, and painted in three ways."""
    stylizer = stylenet.load(chosen["ckpt"])
    print("| model | way | parts | scale, highest to lowest | step at borders, mip 0 | mip 3 |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    rows = []
    for name, angles in SEEN.items():
        model = getattr(shapes, name)(chosen["side"])
        view = renderer.view(parts(model)[2], angles[0], chosen["size"], angles[1])
        rows.append(compared(name, model, view, lambda rgb: stylizer.stylize_arrays([rgb], None, None)[0]))
    trainings.in_rows(path, rows, 76)


def first(path: Path, chosen: dict[str, Any]) -> None:
    """The cottage before, and in several styles, from two sides."""
    model = shapes.cottage(chosen["side"])
    rgb, surface, scene = parts(model)
    textures = [rgb]
    for style in chosen["styles"]:
        stylizer = stylenet.load(style)
        textures.append(
            painted(surface, rgb, lambda one, it=stylizer: it.stylize_arrays([one], None, None)[0]).textures[0]
        )
    views = [renderer.view(scene, angle, SIDE) for angle in (25, 160)]
    pictures = [[Image.fromarray(renderer.picture(view, [pyramid.mipmaps(one)])) for one in textures] for view in views]
    trainings.in_rows(path, pictures, 85)


def parts(model: shapes.Model) -> tuple[np.ndarray, Surface, Scene]:
    """The texture, the triangles in it, and the scene."""
    corners, normals, places = (np.concatenate(one) for one in (model.corners, model.normals, model.places))
    numbers = np.zeros(len(corners), int)
    surface = Surface(corners, places * model.texture.size, numbers)
    return np.array(model.texture), surface, Scene(corners, normals, places, numbers, np.ones((len(corners), 3)))


def painted(surface: Surface, rgb: np.ndarray, stylize: Stylize) -> surfaces.Painted:
    return surfaces.paint(surface, [surfaces.Texture(rgb)], lambda one, axes: stylize(one), Controls())


def compared(name: str, model: shapes.Model, view: View, stylize: Stylize) -> list[Image.Image]:
    """Print a model's figures, and return its pictures in this view: before, and in three ways."""
    rgb, surface, scene = parts(model)
    made = painted(surface, rgb, stylize)
    ways = {"before": rgb, "direct": stylize(rgb), "views": by_views(scene, rgb, stylize), "surface": made.textures[0]}
    pictures = []
    for way, texture in ways.items():
        step = [steps(surface, texture, level) for level in (0, 3)]
        scale = {"surface": f"{made.after:.2f}", "views": ""}.get(way, f"{made.before:.2f}")
        print(f"| {name} | {way} | {made.islands} | {scale} | {step[0]:.1f} | {step[1]:.1f} |", flush=True)
        picture = Image.fromarray(renderer.picture(view, [pyramid.mipmaps(texture)]))
        ImageDraw.Draw(picture).text((12, 10), f"{name}: {way}", fill="black", font_size=20)
        pictures.append(picture)
    return pictures


def steps(surface: Surface, texture: np.ndarray, level: int) -> float:
    """The mean difference, in levels of 255, between the two sides of borders, as the texture's mipmap ``level`` shows
    them.
    """
    size = texture.shape[1], texture.shape[0]
    island = islands(surface, [size])
    chosen = painted_islands(surface, island, [size])
    surface, island = surface[chosen], np.unique(island[chosen], return_inverse=True)[1]
    count = int(island.max()) + 1
    flat = np.broadcast_to(np.eye(2), (count, 2, 2))  # the texture itself is the atlas
    borders = seams(Atlas(surface, island, flat, np.zeros((count, 2)), np.zeros(count, int), 0, size))
    image = torch.from_numpy(pyramid.mipmaps(texture)[level]).permute(2, 0, 1)[None]
    differences = []
    for part in (0.2, 0.5, 0.8):
        sides = [
            start * (1 - part) + end * part
            for start, end in ((borders.start, borders.end), (borders.other_start, borders.other_end))
        ]
        one, two = (pyramid.sample(image, side[None, :, 0] / 2**level, side[None, :, 1] / 2**level) for side in sides)
        differences.append(np.abs(one - two).mean(0)[0])
    lengths = np.linalg.norm(borders.end - borders.start, axis=1)
    return float((np.mean(differences, 0) * lengths).sum() / lengths.sum())


def by_views(scene: Scene, rgb: np.ndarray, stylize: Stylize, size: int = 512) -> np.ndarray:
    """The texture from stylized views: each pixel of the texture is a mean over the views, above all of those that see
    it largest.
    """
    height, width = rgb.shape[:2]
    total, weights = np.zeros((height * width, 3)), np.zeros(height * width)
    for angle, down in DIRECTIONS:
        seen = renderer.view(scene, angle, size, down)
        plain = replace(seen, light=np.ones_like(seen.light), whole=np.full_like(seen.whole, 0.7))
        picture = stylize(renderer.picture(plain, [pyramid.mipmaps(rgb)]))
        fine = image_io.resized(picture, (size * renderer.FINER, size * renderer.FINER)).reshape(-1, 3)
        x, y = (
            np.floor(seen.place[:, k] * side).astype(int).clip(0, side - 1) for k, side in ((0, width), (1, height))
        )
        weight = (1e-3 / seen.apart) ** 4
        np.add.at(weights, y * width + x, weight)
        np.add.at(total, y * width + x, weight[:, None] * fine[seen.pixel])
    known = (weights > 0).reshape(height, width)
    mean = (total / np.maximum(weights, 1e-30)[:, None]).round().clip(0, 255).astype(np.uint8)
    return Pyramid(mean.reshape(rgb.shape), known).filled()


# --- speed


def speed(chosen: dict[str, Any]) -> None:
    """Print seconds and memory of the command for textures of several sizes, each in a process of its own."""
    print("| texture | seconds of processor time | of them the network | GB of memory |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for side in chosen["sides"]:
            path = shapes.write(shapes.cottage(side), Path(folder) / f"{side}.glb")
            done = subprocess.run(
                [sys.executable, "-c", ALONE, str(path), chosen["ckpt"]], capture_output=True, text=True
            )
            print(f"| {side}x{side} | {done.stdout.strip() or done.stderr[-300:]} |", flush=True)


ALONE = "import sys; from benchmarks.experiments.models import alone; alone(sys.argv[1], sys.argv[2])"


def alone(path: str, ckpt: str) -> None:
    """Print the seconds of processor time of one model, those of the network, and the most memory of this process. The
    seconds that it takes to load a network do not count.
    """
    from stylenet.files import model_file
    from stylenet.stylizing.stylizer import Stylizer

    network, plain = [], Stylizer.stylize_arrays

    def timed(self: Stylizer, *arguments: Any) -> Any:
        begin = time.process_time()
        made = plain(self, *arguments)
        network.append(time.process_time() - begin)
        return made

    Stylizer.stylize_arrays = timed  # type: ignore[method-assign]
    stylenet.load(ckpt)
    begin = time.process_time()
    model_file.model_file(ckpt, path)
    seconds = time.process_time() - begin
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.1f} | {sum(network):.1f} | {most:.1f}")


if __name__ == "__main__":
    trainings.answering(main)
