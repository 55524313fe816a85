"""The kinds of model files: what is painted in them, and which files a result consists of. A new kind is a row."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from stylenet.files.beside import contents, damage_told
from stylenet.files.gltf import Gltf
from stylenet.files.gltf_scene import read_scene
from stylenet.files.gltf_writing import with_images
from stylenet.files.wavefront import Wavefront, typed
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import PICTURE_FORMATS
from stylenet.meshes.model import BASE, Model
from stylenet.system.errors import UserError, shown

IN_GLTF = ("PNG", "JPEG", "WEBP")
FARTHEST, LARGEST = 1e15, 1e6  # of positions, and of places in a texture that repeats so often


class ModelFile(Protocol):
    """A model in memory. ``suffix``: of a result."""

    path: Path
    suffix: str

    def model(self) -> Model:
        """Its triangles. Raises UserError if there are none."""
        ...

    def picture(self, number: int) -> Picture:
        """A texture. Raises UserError if it cannot be read."""
        ...

    def why_none(self, layers: frozenset[str]) -> str:
        """Why there is nothing to paint in these layers, as a message."""
        ...

    def places(self, target: Path, painted: Sequence[int], layers: frozenset[str]) -> list[Path]:
        """The files that a result consists of, ``target`` first."""
        ...

    def files(
        self, target: Path, painted: Mapping[int, Picture], layers: frozenset[str], quality: int
    ) -> tuple[dict[Path, bytes], list[str]]:
        """The same with their contents, and messages."""
        ...


class GltfFile:
    """A .glb or .gltf file; the result is one .glb file."""

    suffix = ".glb"

    def __init__(self, path: Path):
        self.path, self.gltf = path, Gltf(path)

    def model(self) -> Model:
        with damage_told(self.path):
            return _checked(read_scene(self.gltf))

    def picture(self, number: int) -> Picture:
        with damage_told(self.path):
            data = self.gltf.image(number)
        return _read(data, f"texture {number + 1} of {shown(self.path)}")

    def why_none(self, layers: frozenset[str]) -> str:
        named = any(layer in layers for _, layer in self.gltf.references())
        if not named:
            return _no_texture(layers)
        return "its triangles have no places in the textures (UVs): unwrap the model first."

    def places(self, target: Path, painted: Sequence[int], layers: frozenset[str]) -> list[Path]:
        return [target]

    def files(
        self, target: Path, painted: Mapping[int, Picture], layers: frozenset[str], quality: int
    ) -> tuple[dict[Path, bytes], list[str]]:
        images = {
            number: image_io.encode(picture, picture.format if picture.format in IN_GLTF else "PNG", quality)
            for number, picture in painted.items()
        }
        with damage_told(self.path):
            data, notes = with_images(self.gltf, images, layers)
        return {target: data}, notes


class ObjFile:
    """An .obj file with its .mtl; the result is both, and the painted textures beside them."""

    suffix = ".obj"

    def __init__(self, path: Path):
        self.path, self.obj = path, Wavefront(path)

    def model(self) -> Model:
        with damage_told(self.path):
            return _checked(self.obj.model())

    def picture(self, number: int) -> Picture:
        return _read(self.obj.image(number), f"the texture {shown(self.obj.images[number])} of {shown(self.path)}")

    def why_none(self, layers: frozenset[str]) -> str:
        if not self.obj.libraries:
            return "it names no .mtl file, and so no textures."
        if not any(layers & {*one} for one in self.obj.materials.values()):
            return _no_texture(layers)
        return "its faces have no places in the textures (vt): unwrap the model first."

    def places(self, target: Path, painted: Sequence[int], layers: frozenset[str]) -> list[Path]:
        _, libraries = self.obj.renamed(target.stem, {}, layers)
        names = [*libraries, *self._names(target, painted).values()]
        return [target, *(target.with_name(name) for name in names), *self._copied(target)]

    def files(
        self, target: Path, painted: Mapping[int, Picture], layers: frozenset[str], quality: int
    ) -> tuple[dict[Path, bytes], list[str]]:
        names = self._names(target, [*painted])
        text, libraries = self.obj.renamed(target.stem, names, layers)
        files = {target: text.encode("latin-1")}
        files |= {target.with_name(name): one.encode("latin-1") for name, one in libraries.items()}
        for number, picture in painted.items():
            path = target.with_name(names[number])
            files[path] = image_io.encode(picture, image_io.format_of(path), quality)
        return files | {path: contents(source) for path, source in self._copied(target).items()}, []

    def _names(self, target: Path, painted: Sequence[int]) -> dict[int, str]:
        """A name for each painted texture."""
        names: dict[int, str] = {}
        for number in painted:
            old = Path(typed(self.obj.images[number]))
            suffix = old.suffix if old.suffix.lower() in PICTURE_FORMATS else ".png"
            stem = f"{target.stem}_{old.stem}"
            taken = {name.casefold() for name in names.values()}
            count = 1
            while (name := f"{stem}{f'_{count}' if count > 1 else ''}{suffix}").casefold() in taken:
                count += 1
            names[number] = name
        return names

    def _copied(self, target: Path) -> dict[Path, Path]:
        """Files that the result names as the model did, and that must be copied: where to, and from where."""
        if target.parent.resolve() == self.path.parent.resolve():
            return {}
        used = {self.obj.images[one[BASE]] for one in self.obj.materials.values() if BASE in one}
        found = {}
        for name, source in self.obj.others().items():
            path = target.parent / typed(name)
            same = path.is_file() and path.read_bytes() == contents(source)
            if name not in used and not same:
                found[path] = source
        return found


def _checked(model: Model) -> Model:
    """The model. Raises ValueError if its numbers are none that one can compute with."""
    for array, most in ((model.corners, FARTHEST), *((one.places, LARGEST) for one in model.layers.values())):
        if not (np.abs(array) <= most).all():  # written so that NaN fails it
            raise ValueError
    return model


def _no_texture(layers: frozenset[str]) -> str:
    what = "base colour" if layers == {BASE} else "base colour or emissive"
    return f"it has no {what} texture to paint: its materials have plain colours."


def _read(data: bytes, name: str) -> Picture:
    """A picture. Raises UserError with ``name`` if it cannot be read."""
    try:
        return image_io.read(io.BytesIO(data))
    except UserError as error:
        raise UserError(str(error).replace("the picture", name, 1)) from error


MODELS: dict[str, Callable[[Path], ModelFile]] = {".glb": GltfFile, ".gltf": GltfFile, ".obj": ObjFile}


def open_model(path: Path) -> ModelFile:
    """Read a model. Raises UserError if it cannot be used."""
    with damage_told(path):
        return MODELS[path.suffix.lower()](path)
