"""The triangles of a glTF file in its scene: nodes, meshes, skins at rest, and the places in textures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylenet.files.gltf import SLOTS, Gltf
from stylenet.meshes.model import Layer, Model, flat_normals
from stylenet.system.memory import free_memory

MOST = 20_000_000  # triangles of a scene
BYTES = 1200  # of memory per triangle
DEEPEST = 500  # nodes below each other
STRIP, FAN, TRIANGLES = 5, 6, 4


@dataclass
class _Parts:
    """Arrays of the primitives read so far."""

    corners: list[np.ndarray] = field(default_factory=list)
    normals: list[np.ndarray] = field(default_factory=list)
    color: list[np.ndarray] = field(default_factory=list)
    first: list[np.ndarray] = field(default_factory=list)
    shown: list[np.ndarray] = field(default_factory=list)
    places: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in SLOTS})
    image: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in SLOTS})
    count: int = 0


def read_scene(gltf: Gltf) -> Model:
    """The model of a file. Raises UserError if it has no triangles, and errors of any kind if it is damaged, see
    :func:`stylenet.files.beside.damage_told`.
    """
    parts, seen = _Parts(), set()
    worlds = dict(_nodes(gltf))
    free = free_memory()
    most = MOST if free is None else min(MOST, free // BYTES)
    for number, world in worlds.items():
        node = gltf.one("nodes", number)
        if "mesh" not in node:
            continue
        for primitive in gltf.one("meshes", node["mesh"]).get("primitives", []):
            if primitive.get("mode", TRIANGLES) in (TRIANGLES, STRIP, FAN) and "POSITION" in primitive["attributes"]:
                _add(gltf, parts, primitive, _skinned(gltf, node, primitive, worlds), world, id(primitive) not in seen)
                seen.add(id(primitive))
            if parts.count > most:
                raise gltf.damaged(f"it has more than {most / 1e6:.3g} million triangles, too many for the memory")
    if not parts.count:
        raise gltf.damaged("it has no triangles")
    layers = {name: Layer(np.concatenate(parts.places[name]), np.concatenate(parts.image[name])) for name in SLOTS}
    repeats = [""] * len(gltf.all("images"))
    for reference, layer in gltf.references():
        if layer:
            repeats[gltf.image_of(reference)] = gltf.repeats(reference)
    return Model(
        corners=np.concatenate(parts.corners),
        normals=np.concatenate(parts.normals),
        color=np.concatenate(parts.color),
        first=np.concatenate(parts.first),
        shown=np.concatenate(parts.shown),
        layers=layers,
        repeats=repeats,
    )


def _nodes(gltf: Gltf) -> Iterator[tuple[int, np.ndarray]]:
    """The nodes of the scene, and the transform (4, 4) of each."""
    scenes = gltf.all("scenes")
    if scenes:
        roots = gltf.one("scenes", gltf.document.get("scene", 0)).get("nodes", [])
    else:
        below = {child for node in gltf.all("nodes") for child in node.get("children", [])}
        roots = [number for number in range(len(gltf.all("nodes"))) if number not in below]
    stack = [(number, np.eye(4), 0) for number in reversed(roots)]
    seen: set[int] = set()
    while stack:
        number, parent, depth = stack.pop()
        node = gltf.one("nodes", number)
        if number in seen or depth > DEEPEST:
            raise gltf.damaged("it is damaged (a node is below itself, or below two others)")
        seen.add(number)
        world = parent @ _local(node)
        yield number, world
        stack += [(child, world, depth + 1) for child in reversed(node.get("children", []))]


def _local(node: Mapping[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    local = np.eye(4)
    local[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), float)
    local[:3, 3] = node.get("translation", (0, 0, 0))
    return local


def _skinned(
    gltf: Gltf, node: Mapping[str, Any], primitive: Mapping[str, Any], worlds: Mapping[int, np.ndarray]
) -> np.ndarray | None:
    """The transform (v, 4, 4) of each vertex by the skin's bones at rest; None without a skin."""
    attributes = primitive["attributes"]
    if "skin" not in node or not {"JOINTS_0", "WEIGHTS_0"} <= {*attributes}:
        return None
    skin = gltf.one("skins", node["skin"])
    bones = np.stack([worlds.get(joint, np.eye(4)) for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        bones = bones @ gltf.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)[: len(bones)]
    joints, weights = (gltf.accessor(attributes[name]) for name in ("JOINTS_0", "WEIGHTS_0"))
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return (bones[joints] * weights[..., None, None]).sum(1)


def _add(
    gltf: Gltf,
    parts: _Parts,
    primitive: Mapping[str, Any],
    skin: np.ndarray | None,
    world: np.ndarray,
    first: bool,
) -> None:
    """Add the triangles of a primitive in its place in the scene."""
    attributes = primitive["attributes"]
    position = gltf.accessor(attributes["POSITION"])[:, :3]
    triangles = _triangles(gltf, primitive, len(position))
    matrix = world[None] if skin is None else skin  # a skinned mesh is where its bones are
    moved = (matrix[:, :3, :3] @ position[..., None])[..., 0] + matrix[:, :3, 3]
    corners = moved[triangles]
    normals = flat_normals(corners)
    if "NORMAL" in attributes:
        normal = gltf.accessor(attributes["NORMAL"])[:, :3]
        turned = (np.linalg.pinv(matrix[:, :3, :3]).transpose(0, 2, 1) @ normal[..., None])[..., 0]
        normals = (turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-30))[triangles]
    number = primitive.get("material")
    materials = [{} if number is None else gltf.one("materials", number)]
    variants = (primitive.get("extensions") or {}).get("KHR_materials_variants", {}).get("mappings", [])
    materials += [gltf.one("materials", one["material"]) for one in variants if one["material"] != number]
    for place, material in enumerate(materials):
        parts.corners.append(corners)
        parts.normals.append(normals)
        parts.color.append(_color(gltf, material, attributes, triangles))
        parts.first.append(np.full(len(corners), first))
        parts.shown.append(np.full(len(corners), place == 0))
        for layer, ways in SLOTS.items():
            places, image = _places(gltf, material, ways, attributes, triangles)
            parts.places[layer].append(places)
            parts.image[layer].append(np.full(len(corners), image))
        parts.count += len(corners)


def _triangles(gltf: Gltf, primitive: Mapping[str, Any], count: int) -> np.ndarray:
    """(n, 3): the vertices of the triangles."""
    if "indices" in primitive:
        order = gltf.accessor(primitive["indices"])[:, 0]
    else:
        order = np.arange(count)
    if len(order) and not (0 <= order.min() and order.max() < count):
        raise gltf.damaged("it is damaged (a triangle names a corner that is not there)")
    mode = primitive.get("mode", TRIANGLES)
    if mode == STRIP:
        found = np.stack([order[:-2], order[1:-1], order[2:]], 1)
        found[1::2] = found[1::2][:, [1, 0, 2]]
    elif mode == FAN:
        found = np.stack([np.full(max(0, len(order) - 2), order[0]), order[1:-1], order[2:]], 1)
    else:
        found = order[: len(order) // 3 * 3].reshape(-1, 3)
    return found


def _color(gltf: Gltf, material: Mapping[str, Any], attributes: Mapping[str, Any], triangles: np.ndarray) -> np.ndarray:
    factor = (material.get("pbrMetallicRoughness") or {}).get("baseColorFactor", (1, 1, 1, 1))
    color = np.broadcast_to(np.array(factor, float)[:3], (len(triangles), 3))
    if "COLOR_0" in attributes:
        color = color * gltf.accessor(attributes["COLOR_0"])[:, :3][triangles].mean(1)
    return color


def _places(
    gltf: Gltf,
    material: Mapping[str, Any],
    ways: tuple[tuple[str, ...], ...],
    attributes: Mapping[str, Any],
    triangles: np.ndarray,
) -> tuple[np.ndarray, int]:
    """The places (n, 3, 2) of the triangles in the texture of a layer, and its image; -1 for none."""
    for way in ways:
        reference: Any = material
        for key in way:
            reference = (reference or {}).get(key)
        if reference is None:
            continue
        moved = (reference.get("extensions") or {}).get("KHR_texture_transform", {})
        name = f"TEXCOORD_{moved.get('texCoord', reference.get('texCoord', 0))}"
        if name not in attributes:
            break
        places = gltf.accessor(attributes[name])[:, :2].astype(np.float64)
        places = places * np.array(moved.get("scale", (1, 1)), float)
        turn = float(moved.get("rotation", 0))
        c, s = np.cos(turn), np.sin(turn)
        places = np.stack([c * places[:, 0] + s * places[:, 1], c * places[:, 1] - s * places[:, 0]], 1)
        places += np.array(moved.get("offset", (0, 0)), float)
        return places[triangles], gltf.image_of(reference)
    return np.zeros((len(triangles), 3, 2)), -1
