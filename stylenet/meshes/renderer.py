"""Pictures of a model on a turntable, computed with numpy: no GPU, no window and no library of graphics is needed.

A z-buffer, perspective, textures by mipmaps (as graphics hardware samples them), one light with a soft shadow, and a
plain ground. Transparent textures are shown as opaque. Knows triangles and textures; nothing about files or networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from stylenet.meshes import raster

FINER = 2  # samples per pixel along each side
FIELD = 28.0  # degrees of view, upwards
TILT = 20.0  # degrees that the camera looks down
BACKDROP = np.array([0.83, 0.82, 0.80])  # linear light
SKY, GROUND, LAMP = 0.52, 0.30, 0.80  # light from above, from below, and from the lamp
LIGHT = np.array([-0.4, 1.2, 0.5])  # towards the lamp, as the camera sees it: from the upper left
SHADOW = 0.3  # part of the backdrop's light that the model takes from it
SOFT = (-3, -1, 1, 3)  # pixels of the shadow's picture around a point that decide how dark it is, in x and in y
SHADOW_SIDE = 640  # pixels of the shadow's picture
GAMMA = 2.2


@dataclass(frozen=True)
class Scene:
    """Triangles to be seen. ``corners``, ``normals``: (n, 3, 3), with y upwards. ``places``: (n, 3, 2), x and y in the
    texture, 0 to 1, beyond which it repeats if ``repeats`` (per texture) says so. ``texture``: (n,), -1 for none.
    ``color``: (n, 3), linear light, which multiplies the texture.
    """

    corners: np.ndarray
    normals: np.ndarray
    places: np.ndarray
    texture: np.ndarray
    color: np.ndarray
    repeats: Sequence[str] = ()


@dataclass(frozen=True)
class View:
    """What the pixels of a picture show, all as lists of the covered pixels. ``pixel``: its number. ``place``, (m, 2):
    in the texture, 0 to 1. ``apart``, (m,): how far apart neighbouring pixels are, as a part of the root of the
    texture's area. ``light``: (m, 3), linear, colour included; ``whole``: (h, w, 3) of the pixels without the model.
    """

    pixel: np.ndarray
    texture: np.ndarray
    place: np.ndarray
    apart: np.ndarray
    light: np.ndarray
    whole: np.ndarray
    repeats: Sequence[str]


def view(scene: Scene, degrees: float, size: int, down: float = TILT) -> View:
    """The scene, turned by ``degrees``, in a square picture of ``size`` pixels. The camera looks ``down`` by so many
    degrees.
    """
    side = size * FINER
    turned, normals, centre, radius = _turned(scene, degrees)
    tilt = np.radians(down)
    camera = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    distance = 1.06 * radius / np.sin(np.radians(FIELD / 2))
    seen, far = _projected((turned - centre) @ camera.T, distance, side)
    nearest = raster.nearest(seen, 1 / (distance - 1.01 * radius) - 1 / far, (side, side))
    pixel = np.flatnonzero(nearest.reshape(-1) >= 0)
    one = nearest.reshape(-1)[pixel]
    shares = _shares(seen[one], far[one], pixel, side)
    normal = (shares[..., None] * normals[one]).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    point = (shares[..., None] * turned[one]).sum(1)
    towards = centre + distance * camera[2] - point
    normal = np.where((normal * towards).sum(1, keepdims=True) < 0, -normal, normal)  # seen from behind
    lamp = (LIGHT / np.linalg.norm(LIGHT)) @ camera
    shadow = _Shadow(turned, lamp, centre, radius)
    lit = np.maximum(0, normal @ lamp) * (1 - shadow.at(point + normal * radius * 0.012))
    around = GROUND + (SKY - GROUND) * (normal[:, 1] + 1) / 2
    light = (around + LAMP * lit)[:, None] * scene.color[one]
    place = (shares[..., None] * scene.places[one]).sum(1)
    apart = _apart(scene.places, seen)[one]
    whole = _backdrop(turned, shadow, centre, distance, camera, max(1, size // 2))
    whole = _enlarged(whole, side)  # it is soft, and takes a quarter of the time
    return View(pixel, scene.texture[one], place, apart, light, whole, scene.repeats)


def picture(view: View, textures: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """The view with these textures, each as its mipmaps (see :func:`stylenet.meshes.pyramid.mipmaps`), as (h, w, 3) of
    uint8.
    """
    colors = np.ones((len(view.pixel), 3), np.float32)
    for number, levels in enumerate(textures):
        mine = view.texture == number
        if mine.any():
            repeats = view.repeats[number] if view.repeats else "xy"
            found = _sampled(levels, view.place[mine], view.apart[mine], repeats)
            colors[mine] = (found / 255) ** GAMMA
    side = view.whole.shape[0]
    result = view.whole.reshape(-1, 3).copy()
    result[view.pixel] = colors * view.light
    small = result.reshape(side // FINER, FINER, side // FINER, FINER, 3).mean((1, 3))
    return (255 * np.clip(small, 0, 1) ** (1 / GAMMA)).round().astype(np.uint8)


def _turned(scene: Scene, degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Corners and normals after the turn, and the centre and the radius of a ball around the model at all turns."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points = scene.corners.reshape(-1, 3)
    centre = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max()) or 1.0
    return (scene.corners - centre) @ turn.T, scene.normals @ turn.T, np.zeros(3), radius


def _projected(corners: np.ndarray, distance: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 3, 3) as the camera sees them: in pixels (n, 3, 2), and their distances (n, 3)."""
    far = distance - corners[..., 2]
    scale = side / 2 / np.tan(np.radians(FIELD / 2))
    x, y = (corners[..., k] * scale / far for k in (0, 1))
    return np.stack([side / 2 + x, side / 2 - y], -1), far


def _shares(seen: np.ndarray, far: np.ndarray, pixel: np.ndarray, side: int) -> np.ndarray:
    """How much of each corner is at each pixel, (m, 3), in perspective."""
    at = np.stack([pixel % side + 0.5, pixel // side + 0.5], 1)
    one, two, here = seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0], at - seen[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    area = np.where(area == 0, 1, area)
    second = (here[:, 0] * two[:, 1] - here[:, 1] * two[:, 0]) / area
    third = (one[:, 0] * here[:, 1] - one[:, 1] * here[:, 0]) / area
    flat = np.stack([1 - second - third, second, third], 1).clip(0, 1) / far
    return flat / flat.sum(1, keepdims=True)


def _apart(places: np.ndarray, seen: np.ndarray) -> np.ndarray:
    def area(points: np.ndarray) -> np.ndarray:
        one, two = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
        return np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])

    return np.sqrt(area(places) / np.maximum(area(seen), 1e-9))


class _Shadow:
    """Where the lamp, far away, does not see past the model."""

    def __init__(self, corners: np.ndarray, lamp: np.ndarray, centre: np.ndarray, radius: float):
        beside = np.cross([0, 1, 0], lamp)
        beside /= np.linalg.norm(beside)
        self.axes = np.stack([beside, np.cross(lamp, beside), lamp])
        self.centre, self.scale, self.radius = centre, SHADOW_SIDE / 2 / (1.02 * radius), radius
        found = self._seen(corners.reshape(-1, 3)).reshape(-1, 3, 3)
        nearest = raster.nearest(found[..., :2], found[..., 2], (SHADOW_SIDE, SHADOW_SIDE))
        one = nearest.reshape(-1)
        at = np.flatnonzero(one >= 0)
        base, across, down = raster.planes(found[..., :2], found[..., 2])
        x, y = at % SHADOW_SIDE + 0.5, at // SHADOW_SIDE + 0.5
        self.depth = np.full(SHADOW_SIDE**2, np.inf)
        self.depth[at] = base[one[at]] + across[one[at]] * x + down[one[at]] * y
        self.depth = self.depth.reshape(SHADOW_SIDE, SHADOW_SIDE)

    def _seen(self, points: np.ndarray) -> np.ndarray:
        """x, y in pixels, and how far below the lamp's side of the ball."""
        found = (points - self.centre) @ self.axes.T
        return np.column_stack([found[:, :2] * self.scale + SHADOW_SIDE / 2, 1.02 * self.radius - found[:, 2]])

    def at(self, points: np.ndarray) -> np.ndarray:
        """How much of the lamp's light is missing at points (m, 3): 0 to 1."""
        found = self._seen(points)
        x, y = np.floor(found[:, 0]).astype(int), np.floor(found[:, 1]).astype(int)
        total = np.zeros(len(points), np.float32)
        for down in SOFT:
            for across in SOFT:
                a, b = x + across, y + down
                inside = (a >= 0) & (a < SHADOW_SIDE) & (b >= 0) & (b < SHADOW_SIDE)
                depth = self.depth[b.clip(0, SHADOW_SIDE - 1), a.clip(0, SHADOW_SIDE - 1)]
                total += inside & (depth < found[:, 2] - 0.012 * self.radius)
        return total / len(SOFT) ** 2


def _backdrop(
    corners: np.ndarray, shadow: _Shadow, centre: np.ndarray, distance: float, camera: np.ndarray, side: int
) -> np.ndarray:
    """The picture without the model: an even ground with the model's shadow."""
    scale = side / 2 / np.tan(np.radians(FIELD / 2))
    y, x = np.mgrid[:side, :side] + 0.5
    rays = np.stack([(x - side / 2) / scale, (side / 2 - y) / scale, -np.ones_like(x)], -1).reshape(-1, 3) @ camera
    eye = centre + distance * camera[2]
    drop = corners[..., 1].min() - eye[1]
    down = rays[:, 1] < -1e-6
    result = np.broadcast_to(BACKDROP, (side * side, 3)).copy()
    points = eye + rays[down] * (drop / rays[down, 1])[:, None]
    result[down] *= 1 - SHADOW * shadow.at(points)[:, None]
    return result.reshape(side, side, 3)


def _enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    large = F.interpolate(image, (side, side), mode="bilinear", align_corners=False)
    return large[0].permute(1, 2, 0).contiguous().numpy()


def _sampled(levels: Sequence[np.ndarray], place: np.ndarray, apart: np.ndarray, repeats: str) -> np.ndarray:
    """The texture at places (m, 2), between pixels and between levels, (m, 3)."""
    height, width = levels[0].shape[:2]
    level = np.log2(np.maximum(apart * np.sqrt(height * width), 1)).clip(0, len(levels) - 1)
    below = np.minimum(np.floor(level).astype(int), len(levels) - 1)
    result = np.zeros((len(place), 3), np.float32)
    for number in np.unique(below):
        mine = below == number
        part = (level[mine] - number)[:, None].astype(np.float32)
        upper = levels[min(number + 1, len(levels) - 1)]
        result[mine] = _bilinear(levels[number], place[mine], repeats) * (1 - part)
        result[mine] += _bilinear(upper, place[mine], repeats) * part
    return result


def _bilinear(image: np.ndarray, place: np.ndarray, repeats: str) -> np.ndarray:
    height, width = image.shape[:2]
    x, y = place[:, 0] * width - 0.5, place[:, 1] * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    a, b = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)

    def at(across: np.ndarray, down: np.ndarray) -> np.ndarray:
        across = across % width if "x" in repeats else across.clip(0, width - 1)
        down = down % height if "y" in repeats else down.clip(0, height - 1)
        return image[down, across]

    upper = at(left, top) * (1 - a) + at(left + 1, top) * a
    lower = at(left, top + 1) * (1 - a) + at(left + 1, top + 1) * a
    return upper * (1 - b) + lower * b
