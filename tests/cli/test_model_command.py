"""``stylenet model`` as a user runs it: one file for another, one line for a mistake, and nothing half-written."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import stylenet
from benchmarks.experiments import shapes
from stylenet.files import model_file, turntable
from stylenet.files.model_formats import open_model
from stylenet.meshes import renderer
from stylenet.system.errors import UserError

Command = Callable[..., subprocess.CompletedProcess]
FAST = ("ckpt=tiny", "device=cpu", "backend=torch", "stroke=8")


@pytest.fixture
def command(place: Path) -> Command:
    """Runs ``stylenet model`` in a folder with ``my box.glb``."""
    shapes.write(shapes.box(96), place / "my box.glb")

    def run(*words: str) -> subprocess.CompletedProcess:
        variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "error"}
        line = [sys.executable, "-m", "stylenet", "model", *words]
        return subprocess.run(line, capture_output=True, text=True, env=variables, timeout=300)

    return run


def test_a_model_is_painted_beside_the_old_one(command: Command):
    before = Path("my box.glb").read_bytes()
    done = command("input=my box.glb", *FAST)
    assert (done.returncode, done.stdout) == (0, "my box_tiny.glb\n"), done.stderr
    assert "Scale on the surface, highest to lowest: 7" in done.stderr and "1 as painted (6 islands)" in done.stderr
    old, new = open_model(Path("my box.glb")), open_model(Path("my box_tiny.glb"))
    assert np.array_equal(old.model().corners, new.model().corners)
    changed = np.abs(new.picture(0).rgb.astype(float) - old.picture(0).rgb)
    assert changed.mean() > 10 and new.picture(0).rgb.shape == (96, 96, 3)
    painted = Path("my box_tiny.glb").read_bytes()
    again = command("input=my box.glb", *FAST)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "my box_tiny.glb exists: give overwrite=true to replace it, or another output=.\n"
    assert Path("my box_tiny.glb").read_bytes() == painted and Path("my box.glb").read_bytes() == before
    assert sorted(os.listdir()) == ["checkpoints", "my box.glb", "my box_tiny.glb"]


def test_mistakes_get_one_line_and_nothing_is_written(command: Command):
    Path("cut.glb").write_bytes(Path("my box.glb").read_bytes()[:9000])
    before = sorted(os.listdir())
    for words, message in (
        (["input=my box.glb", "sise=3"], "There is no option 'sise'. Did you mean size=?"),
        (["input=cut.glb"], "Cannot read cut.glb: it is cut off: it has 9000 of"),
        (["input=my box.glb", "turntable=a.png"], "turntable=a.png holds no film"),
    ):
        done = command(*words, *FAST)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert message in done.stderr
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "absent.glb"}, "Cannot read absent.glb: there is no such file"),
        ({"input": "."}, "input=.: give one model, a file that ends in .glb, .gltf, .obj"),
        ({"input": ["a.glb", "a.glb"]}, "give one model"),
        ({"output": "a.obj"}, "output=a.obj: the painted .glb is written as .glb"),
        ({"output": ""}, "output='': give the name"),
        ({"emissive": "yes"}, "emissive=yes: give true or false"),
        ({"size": 0}, "size=0"),
        ({"size": 99999}, "size=99999: give the longer side of the textures, up to 16384"),
        ({"stroke": 99}, "stroke=99"),
        ({"mask": "person"}, "mask= and wrap= have no meaning for models"),
        ({"turntable": ""}, "turntable='': give the name of a film"),
        ({"megapixels": 0.001}, "texture 1 of a.glb: it claims more than 0.001 million pixels"),
    ],
)
def test_mistakes_are_named_before_a_network_is_loaded(place: Path, options: dict, message: str, monkeypatch):
    shapes.write(shapes.box(64), place / "a.glb")
    monkeypatch.setattr("stylenet.stylizing.surfaces.paint", lambda *args: pytest.fail("something was painted"))
    with pytest.raises(UserError, match=message):
        model_file.model_file(**{"ckpt": "tiny", "input": "a.glb", **options})
    assert sorted(os.listdir()) == ["a.glb", "checkpoints"]


def test_a_film_shows_it_before_and_after(place: Path, monkeypatch):
    monkeypatch.setattr(turntable, "FRAMES", 2)
    monkeypatch.setattr(turntable, "SIDE", 64)
    monkeypatch.setattr(renderer, "SHADOW_SIDE", 64)
    shapes.write(shapes.box(64), place / "a.glb")
    options = {"device": "cpu", "backend": "torch", "stroke": 8, "quality": 90}
    made = stylenet.paint_model("tiny", "a.glb", "out/", turntable="new/turn.webp", size=32, **options)
    assert made == [Path("out/a_tiny.glb"), Path("new/turn.webp")]
    assert open_model(made[0]).picture(0).rgb.shape == (32, 32, 3)
    with Image.open(made[1]) as film:
        assert (film.size, film.n_frames) == ((128, 64), 2)  # type: ignore[attr-defined]
        frame = np.array(film.convert("RGB")).astype(int)
    left, right = frame[16:48, 16:48], frame[16:48, 80:112]
    corner = frame[:4, :4].mean((0, 1))
    assert np.abs(left - corner).mean() > 20 and np.abs(left - right).mean() > 10
    assert np.abs(frame[:4, -4:].mean((0, 1)) - corner).max() < 3  # the same backdrop


def test_emissive_textures_are_painted_if_asked(place: Path):
    whole = shapes.glb(shapes.box(64))
    (length,) = struct.unpack_from("<I", whole, 12)
    document, body = json.loads(whole[20 : 20 + length]), whole[28 + length :]
    document["materials"][0] |= {"emissiveTexture": {"index": 1}, "normalTexture": {"index": 2}}
    document["textures"] += [{"source": 1}, {"source": 2}]
    document["images"] += [{"bufferView": 3, "mimeType": "image/png"}, {"bufferView": 3, "mimeType": "image/png"}]
    Path("a.glb").write_bytes(shapes.packed(document, body))
    old = open_model(Path("a.glb"))
    for emissive in (False, True):
        options = {"device": "cpu", "backend": "torch", "stroke": 8, "overwrite": True}
        (made,) = model_file.model_file("tiny", "a.glb", "b.glb", emissive=emissive, **options)
        new = open_model(made)
        changed = [np.abs(new.picture(k).rgb.astype(float) - old.picture(k).rgb).mean() > 10 for k in range(3)]
        assert changed == [True, emissive, False]


def test_an_obj_is_written_whole_or_not_at_all(place: Path):
    Path("in").mkdir()
    Image.new("RGB", (16, 16), "red").save("in/wall.jpg")
    Path("in/a.mtl").write_text("newmtl one\nmap_Kd wall.jpg\n")
    Path("in/a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl one\nf 1/1 2/2 3/3\n"
    )
    made = model_file.model_file("tiny", "in/a.obj", "out/b.obj", device="cpu", backend="torch", stroke=8)
    assert made == [Path("out/b.obj")] and sorted(os.listdir("out")) == ["b.mtl", "b.obj", "b_wall.jpg"]
    os.remove("out/b.obj")
    with pytest.raises(UserError, match="out/b.mtl exists"):
        model_file.model_file("tiny", "in/a.obj", "out/b.obj", device="cpu", backend="torch")
    assert sorted(os.listdir("out")) == ["b.mtl", "b_wall.jpg"] and sorted(os.listdir("in")) == [
        "a.mtl",
        "a.obj",
        "wall.jpg",
    ]


def test_a_model_without_textures_or_places_in_them(place: Path):
    Path("a.mtl").write_text("newmtl one\nKd 1 0 0\n")
    Path("a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl one\nf 1 2 3\n")
    with pytest.raises(UserError, match="^a.obj: it has no base colour texture to paint"):
        model_file.model_file("tiny", "a.obj")
    Path("a.mtl").write_text("newmtl one\nmap_Kd b.png\n")
    with pytest.raises(UserError, match="no places in the textures \\(vt\\): unwrap the model first"):
        model_file.model_file("tiny", "a.obj")
