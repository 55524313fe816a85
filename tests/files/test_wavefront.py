"""OBJ files with their MTL: faces, textures and their new names. All other lines keep their bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylenet.files.model_formats import open_model
from stylenet.files.wavefront import Wavefront
from stylenet.images.image_io import Picture
from stylenet.meshes.model import BASE, EMISSIVE
from stylenet.system.errors import UserError

OBJ = """# by hand \xe9
mtllib my colours.mtl
v 0 0 0
v 2 0 0
v 2 2 0
v 0 2 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
usemtl wall
f 1/1/1 2/2/1 3/3/1 4/4/1
usemtl plain
f -4 -3 -2
"""
MTL = """newmtl wall
Kd 1 0.5 0
map_Kd -s 2 2 1 -clamp on tex\\my wall.png
  map_Ke glow.png
map_Bump -bm 0.3 normal.png
newmtl plain\r
Kd 0.2 0.2 0.2\r
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "tex").mkdir(parents=True)
    (folder / "a.obj").write_bytes(OBJ.encode("latin-1"))
    (folder / "my colours.mtl").write_bytes(MTL.encode())
    for name, color in (("tex/my wall.png", "red"), ("glow.png", "green"), ("normal.png", "blue")):
        Image.new("RGB", (8, 8), color).save(folder / name)
    return folder


def test_faces_are_read_with_their_textures(folder: Path):
    obj = Wavefront(folder / "a.obj")
    model = obj.model()
    assert obj.images == ["tex\\my wall.png", "glow.png"] and list(model.repeats) == ["", "xy"]
    assert np.allclose(model.corners[1], [[0, 0, 0], [2, 2, 0], [0, 2, 0]])  # a square is two triangles
    assert np.allclose(model.layers[BASE].places[0], [[0, 1], [2, 1], [2, -1]])  # twice as large; y down
    assert np.allclose(model.layers[EMISSIVE].places[0], [[0, 1], [1, 1], [1, 0]])
    assert model.layers[BASE].image.tolist() == [0, 0, -1] and model.layers[EMISSIVE].image.tolist() == [1, 1, -1]
    assert np.allclose(model.color[2], 0.2**2.2)


def test_a_result_names_its_own_textures_and_keeps_all_else(folder: Path):
    source = open_model(folder / "a.obj")
    source.model()
    picture = Picture(np.full((8, 8, 3), 9, np.uint8))
    out = folder.parent / "out" / "new one.obj"
    layers = frozenset([BASE])
    files, notes = source.files(out, {0: picture}, layers, 95)
    assert notes == [] and sorted(files) == sorted(source.places(out, [0], layers))
    names = sorted(path.relative_to(out.parent).as_posix() for path in files)
    assert names == ["glow.png", "new one.mtl", "new one.obj", "new one_my wall.png", "normal.png"]
    assert files[out] == OBJ.replace("my colours.mtl", "new one.mtl").encode("latin-1")
    expected = MTL.replace("tex\\my wall.png", "new one_my wall.png")
    assert files[out.with_suffix(".mtl")] == expected.encode()
    assert files[out.parent / "normal.png"] == (folder / "normal.png").read_bytes()
    beside = source.files(folder / "b.obj", {0: picture}, layers, 95)[0]
    assert sorted(path.name for path in beside) == ["b.mtl", "b.obj", "b_my wall.png"]


def test_more_text_than_the_memory_holds(folder: Path, monkeypatch):
    monkeypatch.setattr("stylenet.files.wavefront.free_memory", lambda: 3000)
    with pytest.raises(UserError, match="MB of text take about .* Save it as .glb"):
        open_model(folder / "a.obj")


def test_names_in_any_script(tmp_path: Path):
    (tmp_path / "мир.mtl").write_text("newmtl a\nmap_Kd стена ü.png\nmap_Bump рельеф.png\n", encoding="utf-8")
    (tmp_path / "a.obj").write_text(
        "mtllib мир.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl a\nf 1/1 2/1 3/1\n", encoding="utf-8"
    )
    for name in ("стена ü.png", "рельеф.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    source = open_model(tmp_path / "a.obj")
    assert source.model().layers[BASE].image.tolist() == [0] and source.picture(0).rgb.shape == (4, 4, 3)
    out = tmp_path / "out" / "кот.obj"
    files, _ = source.files(out, {0: Picture(np.zeros((4, 4, 3), np.uint8))}, frozenset([BASE]), 95)
    assert [path.name for path in files] == ["кот.obj", "кот.mtl", "кот_стена ü.png", "рельеф.png"]
    assert files[out].decode().startswith("mtllib кот.mtl\n")
    assert files[out.with_suffix(".mtl")].decode() == "newmtl a\nmap_Kd кот_стена ü.png\nmap_Bump рельеф.png\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tex\\my wall.png", "C:\\Users\\ann\\wall.png", "outside of its folder"),
        ("tex\\my wall.png", "..\\wall.png", "outside of its folder"),
        ("tex\\my wall.png", "gone.png", "names the texture gone.png, which is missing"),
    ],
)
def test_textures_that_are_elsewhere(folder: Path, old: str, new: str, message: str):
    (folder / "my colours.mtl").write_bytes(MTL.replace(old, new).encode())
    with pytest.raises(UserError, match=message):
        open_model(folder / "a.obj").picture(0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("f 1/1/1", "f 9/1/1", "it is damaged"),
        ("v 2 0 0", "v 2 x 0", "it is damaged"),
        ("v 2 0 0", "v nan 0 0", "it is damaged"),
        ("f ", "g ", "it has no faces"),
        ("my colours.mtl", "../b.mtl", "outside of its folder"),
        ("my colours.mtl", "gone.mtl", "which is missing"),
    ],
)
def test_damage_is_told_in_a_line(folder: Path, old: str, new: str, message: str):
    (folder / "a.obj").write_bytes(OBJ.replace(old, new).encode("latin-1"))
    with pytest.raises(UserError, match=message):
        open_model(folder / "a.obj").model()
