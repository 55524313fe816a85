"""A model as it is read from a file: its triangles, and where each has its place in which texture. Knows no formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stylenet.meshes.surface import Surface

BASE, EMISSIVE = "base", "emissive"  # the layers that can be painted


@dataclass(frozen=True)
class Layer:
    """``places``: (n, 3, 2), x and y in the texture, 0 to 1, y down. ``image``: (n,), the number of the texture of each
    triangle; -1 for none.
    """

    places: np.ndarray
    image: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Layer":
        return Layer(self.places[chosen], self.image[chosen])


@dataclass(frozen=True)
class Model:
    """``corners``, ``normals``: (n, 3, 3), with y upwards. ``color``: (n, 3), linear light, which multiplies the base
    layer. ``first``: (n,), False for further copies of a mesh, which share its textures. ``shown``: (n,), whether the
    triangle is seen. ``layers``: by their names. ``repeats``: of each texture, the axes along which it does.
    """

    corners: np.ndarray
    normals: np.ndarray
    color: np.ndarray
    first: np.ndarray
    shown: np.ndarray
    layers: Mapping[str, Layer]
    repeats: Sequence[str]

    def surface(self, layer: str, sizes: Mapping[int, tuple[int, int]]) -> Surface:
        """The triangles that show one of the textures in a layer. ``sizes``: their width and height, by number."""
        it = self.layers[layer]
        chosen = np.flatnonzero(self.first & np.isin(it.image, [*sizes]))
        sides = np.array([sizes.get(number, (1, 1)) for number in range(len(self.repeats))], np.float64).reshape(-1, 2)
        places = it.places[chosen] * sides[it.image[chosen]][:, None]
        return Surface(self.corners[chosen], places, it.image[chosen])


def flat_normals(corners: np.ndarray) -> np.ndarray:
    """The normals of triangles (n, 3, 3), the same for their three corners."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    return np.repeat(normal[:, None], 3, 1)
