"""glTF 2.0 files, .gltf and .glb: triangles and textures are read, and textures are replaced.

What is not replaced keeps its bytes: animations, extensions, normal maps. The format is JSON and buffers, so it is read
here: libraries for it build objects of their own, and write back what they know. A file is data: nothing outside its
folder is read, nothing is fetched. Knows nothing about networks.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from stylenet.files.beside import contents, inside
from stylenet.system.errors import UserError, shown

MAGIC, JSON, BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
NUMBERS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
COMPRESSED = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
}
WRAPS = {10497: True}  # REPEAT; a mirrored texture meets itself at its border, as a clamped one does
ALSO = ("EXT_texture_webp", "EXT_texture_avif")  # other places of a texture's image that can be read
SLOTS = {  # by layer: the keys of a material that lead to the texture
    "base": (
        ("pbrMetallicRoughness", "baseColorTexture"),
        ("extensions", "KHR_materials_pbrSpecularGlossiness", "diffuseTexture"),
    ),
    "emissive": (("emissiveTexture",),),
}
MIMES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp", b"\xabKTX": "image/ktx2"}


class Gltf:
    """A file in memory. ``document``: its JSON; ``buffers``: bytes. Raises UserError for what cannot be used."""

    def __init__(self, path: Path):
        self.path = path
        data = contents(path)
        body: bytes | None = None
        if data[:4] == b"glTF":
            text, body = self._chunks(data)
        else:
            text = data
        try:
            self.document: dict[str, Any] = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise self.damaged("it is not a glTF file, or its JSON is broken") from error
        if not isinstance(self.document, dict):
            raise self.damaged("it is not a glTF file")
        version = str(self.list_of("asset", {}).get("version", ""))
        if not version.startswith("2"):
            raise UserError(f"Cannot read {shown(path)}: it is glTF {shown(version) or '1'}, and version 2 is needed.")
        for name, kind in COMPRESSED.items():
            if name in self.list_of("extensionsUsed", []):
                raise UserError(
                    f"Cannot read {shown(path)}: its meshes are compressed ({kind}); save it without, for instance "
                    "with `gltf-transform copy`."
                )
        self.buffers = [
            self._buffer(one, body if number == 0 else None) for number, one in enumerate(self.all("buffers"))
        ]

    def damaged(self, why: str) -> UserError:
        return UserError(f"Cannot read {shown(self.path)}: {why}.")

    def list_of(self, key: str, otherwise: Any) -> Any:
        found = self.document.get(key, otherwise)
        if not isinstance(found, type(otherwise)):
            raise self.damaged(f"it is damaged ({key} is no {'list' if otherwise == [] else 'object'})")
        return found

    def all(self, key: str) -> list[dict[str, Any]]:
        """The objects of a list of the document."""
        return self.list_of(key, [])

    def one(self, key: str, number: Any) -> dict[str, Any]:
        """An object of a list of the document."""
        found = self.all(key)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(found):
            raise self.damaged(f"it is damaged (there is no {number!r:.20} among its {key})")
        if not isinstance(found[number], dict):
            raise self.damaged(f"it is damaged ({key} {number} is no object)")
        return found[number]

    def _chunks(self, data: bytes) -> tuple[bytes, bytes | None]:
        if len(data) < 20:
            raise self.damaged("it is cut off")
        _, version, length = struct.unpack_from("<III", data)
        if version != 2:
            raise UserError(f"Cannot read {shown(self.path)}: it is glTF {version}, and version 2 is needed.")
        if length > len(data):
            raise self.damaged(f"it is cut off: it has {len(data)} of {length} bytes")
        place, found = 12, {}
        while place + 8 <= length:
            size, kind = struct.unpack_from("<II", data, place)
            if place + 8 + size > length:
                raise self.damaged("it is damaged (a chunk goes beyond its end)")
            found.setdefault(kind, data[place + 8 : place + 8 + size])
            place += 8 + size
        if JSON not in found:
            raise self.damaged("it is damaged (it has no JSON)")
        return found[JSON], found.get(BIN)

    def _buffer(self, one: dict[str, Any], body: bytes | None) -> bytes:
        uri, length = one.get("uri"), one.get("byteLength")
        if not isinstance(length, int) or length < 0:
            raise self.damaged("it is damaged (a buffer has no length)")
        if uri is None and body is None:
            raise self.damaged("a buffer is missing, which should be in the file")
        data = body if uri is None else self.resource(uri, "buffer")
        assert data is not None
        if len(data) < length:
            raise self.damaged(f"a buffer has {len(data)} of {length} bytes")
        return data[:length]

    def resource(self, uri: Any, what: str) -> bytes:
        """The bytes that a uri stands for: in itself, or a file in the model's folder. Raises UserError."""
        if not isinstance(uri, str):
            raise self.damaged(f"it is damaged (the name of a {what} is no text)")
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            try:
                return base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote(body).encode()
            except (binascii.Error, ValueError) as error:
                raise self.damaged(f"it is damaged (a {what} inside it is no base64)") from error
        return contents(inside(self.path, unquote(uri), what))

    # --- numbers

    def accessor(self, number: Any) -> np.ndarray:
        """The values (count, k) of an accessor: integers, or floats, also where integers are normalised."""
        one = self.one("accessors", number)
        count, kind = one.get("count"), NUMBERS.get(one.get("componentType", 0))
        columns = TYPES.get(one.get("type", ""))
        if kind is None or columns is None or not isinstance(count, int) or not 0 < count < 2**31:
            raise self.damaged(f"it is damaged (accessor {number})")
        type_ = np.dtype(kind)
        if "bufferView" in one:
            values = self._values(one["bufferView"], one.get("byteOffset", 0), count, columns, type_)
        elif count * columns < 2**28:
            values = np.zeros((count, columns), type_)
        else:
            raise self.damaged(f"it is damaged (accessor {number} has {count} values, and no data)")
        if sparse := one.get("sparse"):
            values, some = values.copy(), sparse["count"]
            where = sparse["indices"]
            type_of = np.dtype(NUMBERS[where["componentType"]])
            at = self._values(where["bufferView"], where.get("byteOffset", 0), some, 1, type_of)[:, 0]
            place = sparse["values"]
            values[at] = self._values(place["bufferView"], place.get("byteOffset", 0), some, columns, type_)
        if one.get("normalized") and type_.kind in "iu":
            return np.maximum(values / np.iinfo(type_).max, -1)
        return values.astype(np.float64) if type_.kind == "f" else values.astype(np.int64)

    def _values(self, view: Any, offset: Any, count: int, columns: int, type_: np.dtype) -> np.ndarray:
        data = self.view(view)
        width = columns * type_.itemsize
        stride = self.one("bufferViews", view).get("byteStride") or width
        if (
            not isinstance(offset, int)
            or offset < 0
            or stride < width
            or offset + (count - 1) * stride + width > len(data)
        ):
            raise self.damaged("it is damaged (an accessor goes beyond its buffer)")
        return np.ndarray((count, columns), type_, data, offset, (stride, type_.itemsize))

    def view(self, number: Any) -> bytes:
        """The bytes of a buffer view."""
        one = self.one("bufferViews", number)
        buffer, begin, length = one.get("buffer"), one.get("byteOffset", 0), one.get("byteLength")
        self.one("buffers", buffer)
        data = self.buffers[buffer]  # type: ignore[index]  # checked by one()
        if not (isinstance(begin, int) and isinstance(length, int) and 0 <= begin <= begin + length <= len(data)):
            raise self.damaged("it is damaged (a buffer view goes beyond its buffer)")
        return data[begin : begin + length]

    # --- textures

    def references(self) -> Iterator[tuple[dict[str, Any], str | None]]:
        """Every reference from a material to a texture, and its layer: base, emissive, or None for all others."""
        for material in self.all("materials"):
            known = {}
            for layer, ways in SLOTS.items():
                for way in ways:
                    found: Any = material
                    for key in way:
                        found = found.get(key) if isinstance(found, dict) else None
                    if isinstance(found, dict):
                        known[id(found)] = layer
            for found in _textures(material):
                yield found, known.get(id(found))

    def image_of(self, reference: Mapping[str, Any]) -> int:
        """The number of the image of a reference to a texture. Raises UserError if it cannot be read."""
        texture = self.one("textures", reference.get("index"))
        extensions = texture.get("extensions") or {}
        found = [texture.get("source"), *(extensions.get(name, {}).get("source") for name in ALSO)]
        image = next((one for one in found if one is not None), None)
        if image is None and "KHR_texture_basisu" in extensions:
            raise self.damaged("its textures are compressed (KTX2); save it with PNG or JPEG textures")
        if image is None:
            raise self.damaged("it is damaged (a texture has no image)")
        self.one("images", image)
        return image

    def repeats(self, reference: Mapping[str, Any]) -> str:
        """The axes along which the texture repeats: "", "x", "y" or "xy"."""
        texture = self.one("textures", reference.get("index"))
        sampler = self.one("samplers", texture["sampler"]) if "sampler" in texture else {}
        return "".join(
            axis for axis, key in (("x", "wrapS"), ("y", "wrapT")) if WRAPS.get(sampler.get(key, 10497), False)
        )

    def image(self, number: int) -> bytes:
        """The file of an image."""
        one = self.one("images", number)
        return self.view(one["bufferView"]) if "bufferView" in one else self.resource(one.get("uri"), "texture")


def _textures(found: Any) -> Iterator[dict[str, Any]]:
    """The references to textures anywhere in a material."""
    if isinstance(found, dict):
        for key, value in found.items():
            if re.search("[tT]exture$", key) and isinstance(value, dict) and isinstance(value.get("index"), int):
                yield value
            yield from _textures(value)


def mime_of(data: bytes) -> str | None:
    return next((mime for magic, mime in MIMES.items() if data.startswith(magic)), None)
