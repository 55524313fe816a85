"""glTF files: what is read, what stays byte for byte, and files that are damaged or reach out of their folder."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.experiments import shapes
from stylenet.files.gltf import Gltf
from stylenet.files.gltf_scene import read_scene
from stylenet.files.model_formats import open_model
from stylenet.images.image_io import Picture
from stylenet.meshes.model import BASE, EMISSIVE, Model
from stylenet.system.errors import UserError

BOTH = frozenset([BASE])
CORNERS = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [2, 1, 0]], "<f4")
PLACES = np.array([[0, 1], [0.5, 1], [0, 0.5], [0.5, 0.5]], "<f4")


def png(color: Any, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def a_file(**changes: Any) -> tuple[dict, bytes]:
    """A square in the lower left quarter of its texture, with a normal map. ``changes``: to the JSON."""
    parts = [
        CORNERS.tobytes(),
        PLACES.tobytes(),
        np.array([0, 1, 2, 1, 3, 2], "<u2").tobytes(),
        png("red"),
        png("blue"),
    ]
    views, body = [], b""
    for part in parts:
        views.append({"buffer": 0, "byteOffset": len(body), "byteLength": len(part)})
        body += part + b"\xee" * (-len(part) % 4)
    document: dict = {
        "asset": {"version": "2.0", "generator": "by hand"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [2, 2, 2], "translation": [1, 0, 0]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}, "normalTexture": {"index": 1}}],
        "textures": [{"source": 0, "sampler": 0}, {"source": 1}],
        "samplers": [{"wrapS": 33071, "wrapT": 10497}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}, {"bufferView": 4, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}],
        "extras": {"note": "ü", "many": [1, 2.5, None]},
    }
    return document | changes, body


def written(folder: Path, name: str = "a.glb", **changes: Any) -> Path:
    document, body = a_file(**changes)
    path = folder / name
    path.write_bytes(shapes.packed(document, body))
    return path


def model_of(path: Path) -> Model:
    return read_scene(Gltf(path))


def painted(path: Path, target: Path, color: Any = (1, 2, 3), layers: frozenset[str] = BOTH) -> list[str]:
    """Write ``target`` with the first texture in one colour."""
    source = open_model(path)
    source.model()
    picture = Picture(np.full((16, 16, 3), color, np.uint8), format="PNG")
    files, notes = source.files(target, {0: picture}, layers, 95)
    assert [*files] == [target]
    target.write_bytes(files[target])
    return notes


def test_triangles_are_read_in_the_scene_with_their_places(tmp_path: Path):
    model = model_of(written(tmp_path))
    assert np.allclose(model.corners[0], [[1, 0, 0], [5, 0, 0], [1, 2, 0]])
    assert np.allclose(model.layers[BASE].places[1], [[0.5, 1], [0.5, 0.5], [0, 0.5]])
    assert model.layers[BASE].image.tolist() == [0, 0] and model.layers[EMISSIVE].image.tolist() == [-1, -1]
    assert list(model.repeats) == ["y", ""] and np.allclose(model.normals, [0, 0, 1])


def test_copies_of_a_mesh_share_their_texture(tmp_path: Path):
    nodes = [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0, "rotation": [0, 0, 0.7071068, 0.7071068]}]
    model = model_of(written(tmp_path, nodes=nodes))
    assert model.first.tolist() == [True, True, False, False] and model.shown.all()
    assert np.allclose(model.corners[2, 1], [0, 2, 0], atol=1e-6)  # a quarter turn
    assert len(model.surface(BASE, {0: (8, 8)})) == 2


@pytest.mark.parametrize(("mode", "corners"), [(5, [[0, 1, 2], [2, 1, 3]]), (6, [[0, 1, 2], [0, 2, 3]])])
def test_strips_and_fans(tmp_path: Path, mode: int, corners: list):
    primitive = {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "mode": mode, "material": 0}
    model = model_of(written(tmp_path, meshes=[{"primitives": [primitive]}], nodes=[{"mesh": 0}]))
    assert np.allclose(model.corners, CORNERS[corners])


def test_places_that_are_moved_and_turned(tmp_path: Path):
    """The example of KHR_texture_transform: the lower left quarter of the texture, turned by a quarter."""
    moved = {"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5]}
    reference = {"index": 0, "extensions": {"KHR_texture_transform": moved}}
    model = model_of(written(tmp_path, materials=[{"pbrMetallicRoughness": {"baseColorTexture": reference}}]))
    whole = PLACES[[0, 1, 2]]  # (0, 1) (0.5, 1) (0, 0.5)
    assert np.allclose(model.layers[BASE].places[0], np.stack([whole[:, 1] / 2, 1 - whole[:, 0] / 2], 1))


def test_only_the_painted_texture_changes(tmp_path: Path):
    path, target = written(tmp_path), tmp_path / "b.glb"
    assert painted(path, target) == []
    before, after = Gltf(path), Gltf(target)
    assert [before.view(k) == after.view(k) for k in range(5)] == [True, True, True, False, True]
    assert np.array_equal(np.array(Image.open(io.BytesIO(after.image(0)))), np.full((16, 16, 3), (1, 2, 3)))
    changed = {"bufferViews", "buffers"}
    assert {**before.document, **dict.fromkeys(changed)} == {**after.document, **dict.fromkeys(changed)}
    assert all(view["byteOffset"] % 4 == 0 for view in after.document["bufferViews"])
    assert np.array_equal(model_of(path).corners, model_of(target).corners)
    head = struct.unpack_from("<4sII", target.read_bytes())
    assert head == (b"glTF", 2, target.stat().st_size)


def test_a_texture_that_is_used_otherwise_gets_a_twin(tmp_path: Path):
    """One picture as base colour, as emission and as roughness: only the asked layer changes."""
    materials = [
        {
            "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicRoughnessTexture": {"index": 0}},
            "emissiveTexture": {"index": 0},
            "extensions": {"KHR_materials_clearcoat": {"clearcoatTexture": {"index": 0}}},
        }
    ]
    path, target = written(tmp_path, materials=materials), tmp_path / "b.glb"
    painted(path, target)
    before, after = Gltf(path), Gltf(target)
    used = {layer: after.image_of(reference) for reference, layer in after.references()}
    assert used == {BASE: 2, EMISSIVE: 0, None: 0} and after.image(0) == before.image(0)
    assert after.document["textures"][2] == {"source": 2, "sampler": 0}
    painted(path, target, layers=frozenset([BASE, EMISSIVE]))
    after = Gltf(target)
    assert {layer: after.image_of(reference) for reference, layer in after.references()} == {
        BASE: 2,
        EMISSIVE: 2,
        None: 0,
    }


def in_files(folder: Path, **changes: Any) -> Path:
    """The same as .gltf with files beside it, and one picture inside the JSON."""
    document, body = a_file(**changes)
    (folder / "parts and more").mkdir(parents=True)
    (folder / "parts and more" / "body.bin").write_bytes(body)
    (folder / "red.png").write_bytes(png("red"))
    document["buffers"][0]["uri"] = "parts%20and%20more/body.bin"
    inside = "data:image/png;base64," + base64.b64encode(png("blue")).decode()
    document["images"] = [{"uri": "red.png"}, {"uri": inside}]
    (folder / "a.gltf").write_text(json.dumps(document))
    return folder / "a.gltf"


def test_a_gltf_with_its_files_becomes_one_file(tmp_path: Path):
    path, target = in_files(tmp_path / "in"), tmp_path / "b.glb"
    assert painted(path, target) == []
    after = Gltf(target)
    assert "uri" not in target.read_bytes().decode("latin-1")
    assert after.image(1) == png("blue") and after.document["images"][1]["mimeType"] == "image/png"
    assert np.array_equal(model_of(path).corners, model_of(target).corners)


def test_textures_of_others_layers_that_are_missing_stay_as_they_are(tmp_path: Path):
    path = in_files(tmp_path / "in")
    document = json.loads(path.read_text())
    document["images"][1] = {"uri": "../normal.png"}
    (tmp_path / "normal.png").write_bytes(png("blue"))
    path.write_text(json.dumps(document))
    (note,) = painted(path, tmp_path / "b.glb")
    assert "names the texture ../normal.png, outside of its folder" in note
    assert Gltf(tmp_path / "b.glb").document["images"][1] == {"uri": "../normal.png"}


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "/etc/hostname",
        "file:///etc/hostname",
        "https://example.com/a.png",
        "a/../../secret.png",
        "link.png",
    ],
)
def test_nothing_outside_the_folder_is_read(tmp_path: Path, name: str):
    (tmp_path / "secret.png").write_bytes(png("red"))
    path = in_files(tmp_path / "in")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    document = json.loads(path.read_text())
    document["images"][0] = {"uri": name}
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="outside of its folder, where nothing is read"):
        open_model(path).picture(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"buffers": [{"byteLength": 10**9}]}, "a buffer has [0-9]+ of 1000000000 bytes"),
        ({"buffers": [{"byteLength": 8, "uri": "gone.bin"}]}, "names the buffer gone.bin, which is missing"),
        ({"buffers": [{"byteLength": 8}, {"byteLength": 8}]}, "a buffer is missing"),
        ({"extensionsUsed": ["KHR_draco_mesh_compression"]}, "compressed \\(Draco\\)"),
        ({"asset": {"version": "1.0"}}, "it is glTF 1.0"),
        ({"nodes": [{"mesh": 0, "children": [0]}]}, "a node is below itself"),
        ({"nodes": [{}]}, "it has no triangles"),
        ({"nodes": [{"mesh": 7}]}, "there is no 7 among its meshes"),
        ({"nodes": [{"mesh": 0, "rotation": [1]}]}, "it is damaged \\(ValueError\\)"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}]}, "it is damaged"),
        ({"meshes": 3}, "it is damaged \\(meshes is no list\\)"),
        ({"textures": [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]}, "compressed \\(KTX2\\)"),
        ({"accessors": [{"componentType": 5126, "count": 2**31 - 1, "type": "VEC3"}]}, "it is damaged"),
    ],
)
def test_damage_is_told_in_a_line(tmp_path: Path, changes: dict, message: str):
    path = written(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as told:
        open_model(path).model()
    assert "\n" not in str(told.value)


def test_more_triangles_than_the_memory_holds(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("stylenet.files.gltf_scene.free_memory", lambda: 2000)
    with pytest.raises(UserError, match="too many for the memory"):
        open_model(written(tmp_path)).model()


def test_any_damaged_byte_is_a_result_or_one_line(tmp_path: Path):
    whole = written(tmp_path).read_bytes()
    generator = np.random.default_rng(3)
    told = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in generator.integers(0, 1400, 3):  # the head and the JSON
            data[place] = generator.integers(32, 127)
        (tmp_path / "b.glb").write_bytes(data[: int(generator.integers(len(data) // 2, len(data) + 400))])
        try:
            source = open_model(tmp_path / "b.glb")
            source.model()
            source.picture(0)
            source.files(tmp_path / "c.glb", {0: Picture(np.zeros((4, 4, 3), np.uint8))}, BOTH, 95)
        except UserError as error:
            told += 1
            assert str(error).count("\n") == 0
    assert told > 50
