"""OBJ files with their MTL: triangles and textures are read, and the names of textures are replaced.

Every line that names no painted texture keeps its bytes. Nothing outside the model's folder is read.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from stylenet.files.beside import contents, inside
from stylenet.meshes.model import BASE, EMISSIVE, Layer, Model, flat_normals
from stylenet.system.errors import UserError, shown
from stylenet.system.memory import free_memory

LAYERS = {BASE: ("map_kd", "map_ka"), EMISSIVE: ("map_ke",)}  # what is named first gives the texture of a layer
PARSED = 30  # bytes of memory per byte of text
VALUES = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2, "-texres": 1, "-bm": 1, "-boost": 1, "-imfchan": 1, "-type": 1}
VALUES |= {"-clamp": 1, "-cc": 1, "-blendu": 1, "-blendv": 1}
LINE = re.compile(r"^(\s*)(\S+)([ \t]+)(.*?)(\s*)$", re.DOTALL)


class Wavefront:
    """A file in memory. ``text`` is the OBJ, ``libraries`` its MTL files by their names. ``images``: the textures of
    all layers, as they are named. Raises UserError for what cannot be used.
    """

    def __init__(self, path: Path):
        self.path = path
        self.text = contents(path).decode("latin-1")  # so that every byte stays
        free = free_memory()
        if free is not None and len(self.text) * PARSED > free:
            raise UserError(
                f"Cannot read {shown(path)}: its {len(self.text) / 1e6:,.0f} MB of text take about "
                f"{len(self.text) * PARSED / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free. Save it as .glb."
            )
        if "\0" in self.text[:4096]:
            raise UserError(f"Cannot read {shown(path)}: it is no OBJ file.")
        self.libraries: dict[str, str] = {}
        for line in self.text.splitlines():
            if line.lstrip()[:7].lower() == "mtllib ":
                for name in self._library_names(line.strip()[7:].strip()):
                    self.libraries[name] = contents(inside(path, typed(name), "material file")).decode("latin-1")
        self.images: list[str] = []
        self.materials: dict[str, dict[str, int]] = {}  # by name: the image of each layer
        self.colors: dict[str, tuple[float, ...]] = {}
        self.moves: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, bool]] = {}
        for text in self.libraries.values():
            self._read_materials(text)

    def _library_names(self, given: str) -> list[str]:
        """The names in a line: several, or one with spaces."""
        if (self.path.parent / typed(given)).is_file() or " " not in given:
            return [given]
        return given.split()

    def _read_materials(self, text: str) -> None:
        name = ""
        for line in text.splitlines():
            word, _, rest = line.strip().partition(" ")
            word, rest = word.lower(), rest.strip()
            if word == "newmtl":
                name = rest
                self.materials.setdefault(name, {})
            elif word == "kd" and (color := _floats(rest.split()[:3])):
                self.colors[name] = (*color, *color[-1:] * 2)[:3]
            for layer, words in LAYERS.items():
                better = word == words[0] or layer not in self.materials.get(name, {})
                if word in words and better and rest:
                    options, file = _options(rest)
                    if file not in self.images:
                        self.images.append(file)
                    self.materials.setdefault(name, {})[layer] = self.images.index(file)
                    self.moves[name, layer] = options

    def image(self, number: int) -> bytes:
        """The file of a texture."""
        return contents(inside(self.path, typed(self.images[number]), "texture"))

    def model(self) -> Model:
        """The triangles. Raises UserError if there are none, and errors of any kind if the file is damaged."""
        corners, places, normals, material = self._faces()
        names = [*dict.fromkeys(material)]
        number = np.array([names.index(one) for one in material]) if len(names) > 1 else np.zeros(len(material), int)
        layers = {}
        for layer in LAYERS:
            moved, image = places.copy(), np.full(len(places), -1)
            for at, name in enumerate(names):
                mine = number == at
                image[mine] = self.materials.get(name, {}).get(layer, -1)
                scale, offset, _ = self.moves.get((name, layer), (np.ones(2), np.zeros(2), False))
                moved[mine] = places[mine] * scale + offset
            moved[..., 1] = 1 - moved[..., 1]
            image[~np.isfinite(moved).all((1, 2))] = -1  # corners without a place in a texture
            layers[layer] = Layer(np.nan_to_num(moved), image)
        color = np.array([self.colors.get(name, (1.0, 1.0, 1.0)) for name in names])[number] ** 2.2
        repeats = ["xy"] * len(self.images)
        for (name, layer), (_, _, clamped) in self.moves.items():
            if clamped:
                repeats[self.materials[name][layer]] = ""
        every = np.ones(len(corners), bool)
        return Model(corners, normals, color, every, every, layers, repeats)

    def _faces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Corners, places in a texture (not a number where a face has none), normals, and the material's name."""
        points: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
        faces: list[list[tuple[int, int, int]]] = []
        material, current = [], ""
        for line in self.text.replace("\\\n", " ").splitlines():
            word, _, rest = line.strip().partition(" ")
            if word in points:
                points[word].append([float(one) for one in rest.split()[:3]])
            elif word == "usemtl":
                current = rest.strip()
            elif word == "f":
                corners = [_corner(one, points) for one in rest.split()]
                for k in range(1, len(corners) - 1):
                    faces.append([corners[0], corners[k], corners[k + 1]])
                    material.append(current)
        if not faces:
            raise UserError(f"Cannot read {shown(self.path)}: it has no faces, or is no OBJ file.")
        at = np.array(faces)
        v = np.array(points["v"], float).reshape(len(points["v"]), -1)[:, :3]
        vt = np.array([one[:2] if len(one) > 1 else [one[0], 0] for one in points["vt"]] + [[np.nan, np.nan]], float)
        vn = np.array([*points["vn"], [0.0, 0.0, 0.0]], float)
        corners = v[at[..., 0]]
        given = vn[at[..., 2]]
        normals = np.where(np.abs(given).sum(-1, keepdims=True) > 0, given, flat_normals(corners))
        return corners, vt[at[..., 1]], normals, material

    def renamed(self, stem: str, names: Mapping[int, str], layers: frozenset[str]) -> tuple[str, dict[str, str]]:
        """The OBJ, and its MTL files by new names ``<stem>.mtl``, in which the ``layers`` use textures of other names.
        ``names``: the new name of each painted texture, by number.
        """
        fresh = {old: f"{stem}{f'_{k + 1}' if k else ''}.mtl" for k, old in enumerate(self.libraries)}
        replaced = {self.images[number]: _written(name) for number, name in names.items()}
        words = {word for layer in layers for word in LAYERS[layer]}
        texts = {}
        for old, text in self.libraries.items():
            lines = text.splitlines(keepends=True)
            texts[fresh[old]] = "".join(_replaced(line, words, replaced) for line in lines)
        lines = self.text.splitlines(keepends=True)
        for place, line in enumerate(lines):
            if line.lstrip()[:7].lower() == "mtllib ":
                found = LINE.match(line)
                assert found
                new = " ".join(_written(fresh[name]) for name in self._library_names(found[4].strip()))
                lines[place] = f"{found[1]}{found[2]}{found[3]}{new}{found[5]}"
        return "".join(lines), texts

    def others(self) -> dict[str, Path]:
        """All files that the MTL files name and that exist in the folder, by their names: normal maps and such."""
        found = {}
        for text in self.libraries.values():
            for line in text.splitlines():
                word, _, rest = line.strip().partition(" ")
                if word.lower().startswith(("map_", "bump", "disp", "decal", "refl", "norm")) and rest.strip():
                    name = _options(rest.strip())[1]
                    try:
                        found[name] = inside(self.path, typed(name), "texture")
                    except UserError:
                        continue
        return found


def _corner(word: str, points: Mapping[str, list]) -> tuple[int, int, int]:
    """The position, place and normal of a corner such as 3/2/1, 3//1 or -1; -1 for what it does not name."""
    parts = (word.split("/") + ["", ""])[:3]
    found = []
    for part, kind in zip(parts, ("v", "vt", "vn"), strict=True):
        number = int(part) if part else 0
        index = number - 1 if number > 0 else len(points[kind]) + number if number < 0 else -1
        if (number or kind == "v") and not 0 <= index < len(points[kind]):
            raise IndexError
        found.append(index)
    return found[0], found[1], found[2]


def _options(rest: str) -> tuple[tuple[np.ndarray, np.ndarray, bool], str]:
    """The scale and offset of places in the texture, whether it is clamped, and the file's name, spaces included."""
    scale, offset, clamped = np.ones(2), np.zeros(2), False
    while (found := re.match(r"(-[a-z]+)\s+", rest)) and found[1] in VALUES:
        rest, option = rest[found.end() :], found[1]
        given: list[str] = []
        while len(given) < VALUES[option] and (word := re.match(r"(\S+)\s+", rest)):
            if given and VALUES[option] == 3 and not _floats([word[1]]):
                break  # of three numbers, the last two may be left out
            given.append(word[1])
            rest = rest[word.end() :]
        numbers = (_floats(given) + [float(option == "-s")] * 2)[:2] if option in ("-s", "-o") else []
        scale, offset = (np.array(numbers) if option == one else old for one, old in (("-s", scale), ("-o", offset)))
        clamped = clamped or (option == "-clamp" and given[:1] == ["on"])
    return (scale, offset, clamped), rest.strip()


def _floats(words: list[str]) -> list[float]:
    try:
        return [float(one) for one in words]
    except ValueError:
        return []


def _replaced(line: str, words: set[str], names: Mapping[str, str]) -> str:
    found = LINE.match(line)
    if not found or found[2].lower() not in words:
        return line
    file = _options(found[4].strip())[1]
    if file not in names:
        return line
    options = found[4][: len(found[4]) - len(file)] if found[4].endswith(file) else ""
    return f"{found[1]}{found[2]}{found[3]}{options}{names[file]}{found[5]}"


def _written(name: str) -> str:
    """A name of a file, for a text that is written as Latin-1: the inverse of :func:`typed`."""
    return name.encode("utf-8", "surrogateescape").decode("latin-1")


def typed(name: str) -> str:
    """The name of a file that stands in a text that was read as Latin-1."""
    return str(PurePosixPath(name.encode("latin-1").decode("utf-8", "surrogateescape").replace("\\", "/")))
