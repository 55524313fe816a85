"""Small models with photographs as textures, made by formulas: a vase, a box and a cottage. For the docs and the tests.

Each model is one texture with islands, of very different scales, and triangles. :func:`glb` makes a file of it.
"""

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from stylenet.images import image_io
from stylenet.meshes.pyramid import Pyramid
from stylenet.system.places import ASSETS

PHOTOS = ASSETS / "photos"
GUTTER = (255, 0, 255)  # the colour between islands, which must not be seen


@dataclass
class Model:
    """``corners``, ``normals``: (n, 3, 3); ``places``: (n, 3, 2), 0 to 1, y down. ``texture``: RGB."""

    texture: Image.Image
    corners: list[np.ndarray] = field(default_factory=list)
    normals: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    cells: list[Sequence[float]] = field(default_factory=list)

    def add(self, points: np.ndarray, cell: Sequence[float], flat: bool = False) -> None:
        """A grid of points (rows, columns, 3), whose first row is at the top of ``cell``: left, top, right, bottom, 0
        to 1. ``flat``: each square has its own normal.
        """
        rows, columns = points.shape[:2]
        left, top, right, bottom = cell
        u, v = np.meshgrid(np.linspace(left, right, columns), np.linspace(top, bottom, rows))
        places = np.stack([u, v], -1)
        across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
        if columns > 3 and np.allclose(points[:, 0], points[:, -1]):  # round: the ends are one line
            across[:, 0] = across[:, -1] = (points[:, 1] - points[:, -2]) / 2
        normals = np.cross(down, across)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)

        def squares(grid: np.ndarray) -> np.ndarray:
            a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
            both = [np.stack([a, d, c], -2), np.stack([a, c, b], -2)]
            return np.concatenate([one.reshape(-1, 3, grid.shape[-1]) for one in both])

        corners = squares(points)
        some = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) > 1e-12
        shaded = squares(normals)
        if flat:
            own = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            shaded = np.repeat(own[:, None], 3, 1)
        self.corners.append(corners[some])
        self.normals.append(shaded[some])
        self.places.append(squares(places)[some])

    def paste(
        self, photo: str, cell: Sequence[float], crop: Sequence[float] = (0, 0, 1, 1), copies: int = 1
    ) -> Sequence[float]:
        """Put a part of a bundled photo (left, top, right, bottom, 0 to 1) into a cell, and return the cell.
        ``copies``: side by side, every second one mirrored, so that each continues the one before.
        """
        left, top, right, bottom = _pixels(self.texture, cell)
        picture = image_io.open_rgb(PHOTOS / f"{photo}.jpg")
        part = np.asarray(picture.crop(_pixels(picture, crop)))
        row = Image.fromarray(np.concatenate([part[:, :: (-1) ** k] for k in range(copies)], 1))
        self.texture.paste(row.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
        self.cells.append(cell)
        return cell

    def padded(self) -> "Model":
        """The same with the colours of its cells around them, as careful makers of models do it."""
        known = np.zeros(self.texture.size[::-1], bool)
        for cell in self.cells:
            left, top, right, bottom = _pixels(self.texture, cell)
            known[top:bottom, left:right] = True
        self.texture = Image.fromarray(Pyramid(np.array(self.texture), known).filled())
        return self


def _pixels(picture: Image.Image, part: Sequence[float]) -> tuple[int, int, int, int]:
    """A part of a picture, from 0 to 1, as left, top, right and bottom in pixels."""
    left, top, right, bottom = part
    width, height = picture.size
    return round(width * left), round(height * top), round(width * right), round(height * bottom)


def _grid(*rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array(rows, float)


def box(side: int = 1024) -> Model:
    """A cube whose six sides have very different scales in the texture, with gutters of a loud colour."""
    model = Model(Image.new("RGB", (side, side), GUTTER))
    cells = [(0.02, 0.02, 0.6, 0.6), (0.64, 0.02, 0.98, 0.36), (0.64, 0.4, 0.84, 0.6)]
    cells += [(0.02, 0.64, 0.14, 0.76), (0.2, 0.64, 0.56, 0.98), (0.6, 0.7, 0.68, 0.78)]
    photos = [
        "val/castle",
        "train/city_sunset",
        "train/palace_facade",
        "train/lake",
        "val/harbour_at_dusk",
        "train/fig",
    ]
    for number, (photo, cell) in enumerate(zip(photos, cells, strict=True)):
        model.add(_face(number), model.paste(photo, cell, _square(photo)), flat=True)
    return model


def _face(number: int, steps: int = 9) -> np.ndarray:
    """A side of the cube from -1 to 1: four around, the top and the bottom."""
    v, u = np.meshgrid(np.linspace(1, -1, steps), np.linspace(-1, 1, steps), indexing="ij")
    one = np.ones_like(u)
    sides = [(u, v, one), (one, v, -u), (-u, v, -one), (-one, v, u), (u, one, -v), (u, -one, v)]
    return np.stack(sides[number], -1)


def _square(photo: str) -> Sequence[float]:
    """The square in the middle of a photo."""
    with Image.open(PHOTOS / f"{photo}.jpg") as picture:
        width, height = picture.size
    side = min(width, height)
    x, y = (width - side) / 2 / width, (height - side) / 2 / height
    return x, y, 1 - x, 1 - y


def vase(side: int = 1024) -> Model:
    """A vase with a landscape around it, whose two ends meet at the back."""
    model = Model(Image.new("RGB", (side, side), GUTTER))
    heights = np.linspace(1, 0, 60)
    radius = 0.32 + 0.22 * np.sin(np.pi * (heights * 1.15 + 0.03)) + 0.06 * np.exp(-(((1 - heights) / 0.06) ** 2))
    body = _round(radius, heights * 2, 96)
    model.add(body, model.paste("train/mountains", (0.02, 0.02, 0.98, 0.6), copies=2))
    model.add(_disc(radius[-1], 0.0, 96, up=False), model.paste("train/brushes", (0.02, 0.64, 0.3, 0.92)))
    return model.padded()


def globe(side: int = 1024) -> Model:
    """A ball with a landscape all around in one island, which is stretched towards the poles."""
    model = Model(Image.new("RGB", (side, side // 2), GUTTER))
    turn = np.linspace(0, np.pi, 49)
    model.add(_round(np.sin(turn), np.cos(turn), 96), model.paste("train/aqueduct", (0.0, 0.0, 1.0, 1.0), copies=2))
    return model


def _round(radius: np.ndarray, heights: np.ndarray, steps: int, centre: Sequence[float] = (0, 0)) -> np.ndarray:
    """A surface of revolution from its radii and heights, from the top down: (rows, steps + 1, 3)."""
    turn = np.linspace(0, 2 * np.pi, steps + 1)
    x, z = (radius[:, None] * one for one in (np.sin(turn), np.cos(turn)))
    points = np.stack([x + centre[0], np.broadcast_to(heights[:, None], x.shape), z + centre[1]], -1)
    points[:, -1] = points[:, 0]
    return points


def _disc(radius: float, height: float, steps: int, up: bool = True) -> np.ndarray:
    """A disc as a square grid, pressed into the circle."""
    v, u = np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-1, 1, 25), indexing="ij")
    x, z = u * np.sqrt(1 - v * v / 2) * radius, v * np.sqrt(1 - u * u / 2) * radius
    return np.stack([x if up else -x, np.full_like(x, height), z], -1)


def cottage(side: int = 1024) -> Model:
    """A house with dogs at its window, on a rock in the air: its walls, roof and trees have very different scales."""
    model = Model(Image.new("RGB", (side, side), GUTTER))
    front = model.paste("train/two_dogs", (0.01, 0.01, 0.39, 0.58), (0, 0.03, 1, 0.63))
    plank = model.paste("train/two_dogs", (0.41, 0.01, 0.55, 0.15), (0.52, 0.02, 0.98, 0.33))
    roof = model.paste("train/palace_facade", (0.57, 0.01, 0.99, 0.28), (0.12, 0.38, 0.9, 0.7))
    meadow = model.paste("train/mountains", (0.41, 0.3, 0.99, 0.62), (0.0, 0.6, 0.5, 1.0))
    rock = model.paste("train/stream", (0.01, 0.64, 0.63, 0.8), (0.1, 0.45, 1.0, 1.0), copies=4)
    bark = model.paste("val/red_panda", (0.01, 0.84, 0.13, 0.94), (0.0, 0.62, 0.22, 0.85))
    leaves = model.paste("train/aqueduct", (0.65, 0.64, 0.85, 0.8), (0.0, 0.78, 0.5, 1.0), copies=2)
    pines = model.paste("val/castle", (0.65, 0.82, 0.75, 0.92), (0.0, 0.72, 0.4, 1.0), copies=2)
    stone = model.paste("train/aqueduct", (0.87, 0.64, 0.97, 0.72), (0.5, 0.3, 0.72, 0.42))
    _house(model, front, plank, roof, stone)
    _island(model, meadow, rock)
    for x, z, size in ((1.15, 0.55, 1.0), (-1.2, -0.55, 1.25), (1.0, -0.85, 0.85)):
        profile = np.linspace(0, 1, 30)
        crown = 0.5 * size * np.sqrt(np.sin(np.pi * profile).clip(0)) * (0.8 + 0.3 * profile)
        wave = 1 + 0.08 * np.sin(9 * np.linspace(0, 2 * np.pi, 49))[None] * np.sin(np.pi * profile)[:, None]
        blob = _round(crown, size * (1.35 - 1.0 * profile), 48)
        blob[..., [0, 2]] *= wave[..., None]
        model.add(blob + [x, 0, z], leaves if size != 1.25 else pines)
        model.add(_round(np.full(4, 0.07 * size), np.linspace(0.5, -0.05, 4) * size, 16, (x, z)), bark)
    return model.padded()


def _house(
    model: Model, front: Sequence[float], plank: Sequence[float], roof: Sequence[float], stone: Sequence[float]
) -> None:
    """Four walls, two gables, a roof of two sides, and a chimney."""
    width, depth, wall, ridge = 0.62, 0.5, 1.0, 1.55

    def plane(*corners: Sequence[float]) -> np.ndarray:
        """A square from its four corners in reading order, divided into smaller ones."""
        v, u = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9), indexing="ij")
        one, two, three, four = (np.array(point, float) for point in corners)
        u, v = u[..., None], v[..., None]
        return (one * (1 - u) + two * u) * (1 - v) + (three * (1 - u) + four * u) * v

    x, z = width, depth
    model.add(plane((-x, wall, z), (x, wall, z), (-x, 0, z), (x, 0, z)), front, flat=True)
    model.add(plane((x, wall, -z), (-x, wall, -z), (x, 0, -z), (-x, 0, -z)), plank, flat=True)
    for k in (-1, 1):
        model.add(
            plane((k * x, wall, k * z), (k * x, wall, -k * z), (k * x, 0, k * z), (k * x, 0, -k * z)), plank, flat=True
        )
        gable = plane((k * x, ridge, 0), (k * x, ridge, 0), (k * x, wall, k * z), (k * x, wall, -k * z))
        model.add(gable, plank, flat=True)
        out, low = 1.16, wall - 0.1
        top = [(-k * x * 1.18, ridge + 0.03, 0), (k * x * 1.18, ridge + 0.03, 0)]
        model.add(plane(*top, (-k * x * 1.18, low, k * z * out), (k * x * 1.18, low, k * z * out)), roof, flat=True)
    a, top = 0.11, 1.72
    corners = [(-a, a), (a, a), (a, -a), (-a, -a), (-a, a)]
    for (x1, z1), (x2, z2) in zip(corners, corners[1:], strict=False):
        points = [(0.34 + x1, top, z1), (0.34 + x2, top, z2), (0.34 + x1, 1.2, z1), (0.34 + x2, 1.2, z2)]
        model.add(plane(*points), stone, flat=True)


def _island(model: Model, meadow: Sequence[float], rock: Sequence[float]) -> None:
    """A round meadow, and the rock below it."""
    radius = 1.9
    top = _disc(radius, 0.0, 64)
    from_centre = np.linalg.norm(top[..., [0, 2]], axis=-1) / radius
    top[..., 1] = 0.03 - 0.12 * from_centre**4
    model.add(top, meadow)
    turn = np.linspace(0, 2 * np.pi, 97)
    depth = np.linspace(0, 1, 40)
    below = _round(radius * (1 - depth) ** 0.6, -0.09 - 1.25 * depth, 96)
    bumps = (
        np.sin(7 * turn)[None] * np.sin(11 * depth)[:, None] + np.sin(13 * turn + 1)[None] * np.sin(7 * depth)[:, None]
    )
    below[..., [0, 2]] *= (1 + 0.07 * bumps * (depth * (1 - depth) * 4)[:, None])[..., None]
    model.add(below, rock)


# --- a file


def glb(model: Model, kind: str = "PNG") -> bytes:
    """The model as a binary glTF file."""
    corners, normals, places = (np.concatenate(one).reshape(-1, k) for one, k in _arrays(model))
    buffer, views, accessors = b"", [], []
    for array in (corners, normals, places):
        data = np.ascontiguousarray(array, "<f4").tobytes()
        views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(data)})
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": 5126,
                "count": len(array),
                "type": f"VEC{array.shape[1]}",
                "min": array.min(0).tolist(),
                "max": array.max(0).tolist(),
            }
        )
        buffer += data
    file = io.BytesIO()
    model.texture.save(file, kind, **({"quality": 92} if kind == "JPEG" else {}))
    views.append({"buffer": 0, "byteOffset": len(buffer), "byteLength": len(file.getvalue())})
    buffer += file.getvalue()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 3, "mimeType": f"image/{kind.lower()}"}],
        "buffers": [{"byteLength": len(buffer)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return packed(document, buffer)


def _arrays(model: Model) -> list[tuple[list[np.ndarray], int]]:
    return [(model.corners, 3), (model.normals, 3), (model.places, 2)]


def packed(document: dict, buffer: bytes) -> bytes:
    """A document and its buffer as a binary glTF file."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    buffer += b"\0" * (-len(buffer) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(buffer))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(buffer), b"BIN\0") + buffer


def write(model: Model, path: Path) -> Path:
    path.write_bytes(glb(model))
    return path
