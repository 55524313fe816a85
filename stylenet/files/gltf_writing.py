"""A glTF file written anew, with other textures. All else keeps its bytes: only their places in the file change."""

import copy
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylenet.files.gltf import ALSO, BIN, JSON, MAGIC, Gltf, mime_of
from stylenet.system.errors import UserError, shown

MOST_BYTES = 2**32 - 1  # of a binary file
STEP = 8  # bytes by which data move, so that numbers of every width stay aligned
View = dict[str, Any]


def with_images(old: Gltf, painted: Mapping[int, bytes], layers: frozenset[str]) -> tuple[bytes, list[str]]:
    """The file as .glb, with other bytes for some of its images where they are used by one of the ``layers``, and
    messages. External files are put into it.
    """
    gltf = copy.copy(old)
    gltf.document = copy.deepcopy(old.document)
    replaced = _separated(gltf, painted, layers)
    parts, bases, length = [], [], 0
    for data in gltf.buffers:
        bases.append(length)
        parts.append(data + b"\0" * (-len(data) % STEP))
        length += len(parts[-1])
    for view in gltf.all("bufferViews"):
        view["byteOffset"] = view.get("byteOffset", 0) + bases[view["buffer"]]
        view["buffer"] = 0
    body, notes = _inlined(gltf, b"".join(parts), replaced)
    gltf.document["buffers"] = [{"byteLength": len(body)}]
    return _binary(gltf.document, body, gltf.path), notes


def _separated(gltf: Gltf, painted: Mapping[int, bytes], layers: frozenset[str]) -> dict[int, bytes]:
    """Have all of the ``layers`` use images of their own, and return the bytes of these."""
    every = [(reference, layer, _image_or_none(gltf, reference)) for reference, layer in gltf.references()]
    replaced, copies = {}, {}
    for number, data in painted.items():
        mine = [reference for reference, layer, image in every if image == number and layer in layers]
        others = any(image == number and layer not in layers for _, layer, image in every)
        textures = {reference["index"] for reference in mine}
        others |= any(_variants(gltf.one("textures", one)) > 1 for one in textures)
        if not others:
            replaced[number] = data
            continue
        images = gltf.all("images")
        images.append({"name": str(images[number].get("name", "painted"))})
        replaced[len(images) - 1] = data
        for reference in mine:
            at = reference["index"]
            if at not in copies:
                copies[at] = _copied(gltf, at, len(images) - 1, data)
            reference["index"] = copies[at]
    return replaced


def _image_or_none(gltf: Gltf, reference: Mapping[str, Any]) -> int | None:
    try:
        return gltf.image_of(reference)
    except UserError:
        return None


def _copied(gltf: Gltf, texture: int, image: int, data: bytes) -> int:
    """A copy of a texture with another image; its number."""
    kept = {key: value for key, value in gltf.one("textures", texture).items() if key not in ("source", "extensions")}
    if mime_of(data) == "image/webp":
        kept["extensions"] = {ALSO[0]: {"source": image}}
    else:
        kept["source"] = image
    gltf.all("textures").append(kept)
    return len(gltf.all("textures")) - 1


def _inlined(gltf: Gltf, body: bytes, replaced: Mapping[int, bytes]) -> tuple[bytes, list[str]]:
    """The buffer with all images in it: those ``replaced`` take the place of the old ones. And messages."""
    views, notes, added = gltf.document.setdefault("bufferViews", []), [], []
    uses = [json.dumps(one.get("bufferView")) for key in ("images", "accessors") for one in gltf.all(key)]
    cut: list[tuple[int, int]] = []
    for number, image in enumerate(gltf.all("images")):
        data = replaced.get(number)
        if data is None and "uri" in image:
            try:
                data = gltf.resource(image["uri"], "texture")
            except (UserError, OSError) as error:
                notes.append(f"texture {number + 1} stays outside of the file: {error}")
        if data is None:
            continue
        old = image.get("bufferView")
        if old is not None and uses.count(json.dumps(old)) == 1 and not _overlaps(views, old):
            view = views[old]
            cut.append((view["byteOffset"], view["byteOffset"] + view["byteLength"]))
        else:
            views.append(view := {"buffer": 0})
            image["bufferView"] = len(views) - 1
        image.pop("uri", None)
        image["mimeType"] = mime_of(data) or image.get("mimeType", "image/png")
        added.append((view, data))
    return _rebuilt(body, views, cut, added), notes


def _variants(texture: Mapping[str, Any]) -> int:
    extensions = texture.get("extensions") or {}
    return sum(isinstance(one, dict) and "source" in one for one in (texture, *extensions.values()))


def _rebuilt(body: bytes, views: list[View], cut: list[tuple[int, int]], added: list[tuple[View, bytes]]) -> bytes:
    """The buffer without what is ``cut`` and with what is ``added``; the views follow, in whole STEPs."""
    ranges = [(-(-begin // STEP) * STEP, end // STEP * STEP) for begin, end in sorted(cut)]
    ranges = [(begin, end) for begin, end in ranges if end > begin]
    new = {id(view) for view, _ in added}
    for view in views:
        if id(view) not in new:
            view["byteOffset"] -= sum(end - begin for begin, end in ranges if end <= view["byteOffset"])
    kept, place = [], 0
    for begin, end in ranges:
        kept.append(body[place:begin])
        place = end
    kept.append(body[place:])
    length = sum(map(len, kept))
    for view, data in added:
        kept.append(b"\0" * (-length % STEP))
        length += len(kept[-1])
        view["byteOffset"], view["byteLength"] = length, len(data)
        kept.append(data)
        length += len(data)
    return b"".join(kept)


def _overlaps(views: list[View], number: int) -> bool:
    one = views[number]
    begin, end = one["byteOffset"], one["byteOffset"] + one["byteLength"]
    return any(
        other is not one
        and "byteOffset" in other
        and other["byteOffset"] < end
        and other["byteOffset"] + other.get("byteLength", 0) > begin
        for other in views
    )


def _binary(document: dict[str, Any], body: bytes, path: Path) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    whole = 28 + len(text) + len(body)
    if whole > MOST_BYTES:
        raise UserError(f"{shown(path)} would have {whole / 2**30:.1f} GiB: a .glb file holds 4. Give a smaller size=.")
    head = struct.pack("<III", MAGIC, 2, whole)
    return b"".join([head, struct.pack("<II", len(text), JSON), text, struct.pack("<II", len(body), BIN), body])
