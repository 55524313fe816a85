"""Files of folders and patterns that are not done: none goes without a word."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from stylenet import stylize_files
from stylenet.files import planning, remote
from stylenet.images import image_io, left_out, plugins, suffixes
from stylenet.images.left_out import Left
from stylenet.system.errors import UserError

# The script, where what reads films, HEIC and JPEG XL is not installed.
WITHOUT = """if True:
    import runpy, sys
    for name in ("av", "pillow_heif", "pillow_jxl"):
        sys.modules[name] = None
    sys.argv = sys.argv[1:]
    sys.path.insert(0, sys.argv[0].rpartition("/")[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(200)
JXL = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50)


@pytest.fixture
def place(place):
    """The folder in too, with a photo and a file of each kind."""
    Path("in/sub").mkdir(parents=True)
    Image.new("RGB", (20, 16), "red").save("in/a.jpg")
    for name, data in {
        **{"b.heic": HEIC, "sub/c.HIF": HEIC, "d.jxl": JXL, "e.dng": b"II*\0", "f.CR3": b"", "g.mp4": b"no film"},
        **{"notes.txt": b"", "a.xmp": b"", "b.xmp": b"", "README": b"", "types.ts": b"export type A = 1"},
        **{".DS_Store": b"", "Thumbs.db": b"", "desktop.ini": b"", "._a.jpg": b"", ".hidden.jpg": b""},
    }.items():
        Path("in", name).write_bytes(data)
    return place


def without(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITHOUT, str(ROOT / "scripts" / "stylize.py"), "ckpt=tiny", "device=cpu"]
    return subprocess.run([*command, *words], capture_output=True, text=True, env={**os.environ})


def left(path: str = "report.jsonl") -> dict[str, str]:
    said = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return {line["input"]: line["reason"] for line in said if line["output"] is None and line["status"] == "skipped"}


def test_what_a_folder_holds_beside_pictures_is_counted_by_kind_and_stands_in_the_report(place):
    done = without("input=in", "output=out", "report=report.jsonl")
    assert (done.returncode, done.stdout) == (0, "out/a_tiny.jpg\n")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Left out: ")]
    for part in (
        "2 HEIC pictures (needs pip install 'stylenet[heif]')",
        "1 JPEG XL picture (needs pip install 'stylenet[heif]'",
        "2 camera raw files (develop to JPEG or TIFF first)",
        "1 film (needs pip install 'stylenet[video]'",
        "5 files that are not pictures",
        "1 hidden file",
    ):
        assert part in line
    assert "2 .xmp" in line and "1 without a suffix" in line and "1 .ts" in line
    names = "b.heic sub/c.HIF d.jxl e.dng f.CR3 g.mp4 notes.txt a.xmp b.xmp README types.ts .hidden.jpg"
    assert {*left()} == {f"in/{name}" for name in names.split()}  # and not a word of the systems' litter
    assert left()["in/b.heic"] == "HEIC picture: needs pip install 'stylenet[heif]'"
    without("input=in", "output=out", "report=report.jsonl", "skip_existing=true")
    assert len(Path("report.jsonl").read_text().splitlines()) == 13  # nothing twice


def test_a_pattern_and_one_photo_alone_tell_too(place):
    done = without("input=in/*", "output=out")
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "1 HEIC picture (" in done.stderr and "1 folder (name it as input=" in done.stderr
    every = without("input=in/**", "output=all")
    assert every.returncode == 0 and "2 HEIC pictures (" in every.stderr and "folder (" not in every.stderr


def test_a_single_one_is_not_called_damaged(place):
    Path("x.jpg").write_bytes(HEIC)  # whatever its name
    for name, kind in {"in/b.heic": "HEIC", "in/d.jxl": "JPEG XL", "x.jpg": "HEIC"}.items():
        done = without(f"input={name}")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"{name}: it is a {kind} picture, which needs a plug-in: pip install 'stylenet[heif]'" in done.stderr


def test_a_folder_without_any_picture_says_what_it_holds(place):
    Path("in/a.jpg").unlink()
    Path("in/g.mp4").unlink()
    done = without("input=in")
    assert done.returncode == 2 and "no pictures in this folder (2 HEIC pictures (needs pip" in done.stderr


def test_results_of_earlier_runs_are_counted(place, capsys):
    for name in [*os.listdir("in")]:
        if name not in ("a.jpg", "sub"):
            Path("in", name).unlink()
    Path("in/sub/c.HIF").unlink()
    Image.new("RGB", (20, 16), "blue").save("in/b.jpg")
    list(stylize_files("tiny", "in", device="cpu"))
    assert "Left out" not in capsys.readouterr().err
    list(stylize_files("tiny", "in", device="cpu", overwrite=True))
    assert "Left out: 2 results of earlier runs.\n" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_told_of(place, capsys):
    if os.geteuid() == 0:
        pytest.skip("nothing is closed to root")
    Path("in/sub").chmod(0)
    try:
        list(stylize_files("tiny", "in", "out", device="cpu", report="report.jsonl"))
    except UserError:
        pass  # of the film that is none
    finally:
        Path("in/sub").chmod(0o755)
    assert "1 folder that cannot be read" in capsys.readouterr().err and "in/sub" in left()


def test_films_beside_pictures_are_done_where_they_can_be_read(place):
    pytest.importorskip("av")
    from test_films import film

    for name in ("b.heic", "d.jxl", "sub/c.HIF"):
        Path("in", name).unlink()
    film(Path("in/g.mp4"))
    paths = [*stylize_files("tiny", "in", "out", device="cpu")]
    assert [path.name for path in paths if path.name[0] in "ag"] == ["a_tiny.jpg", "g_tiny.mp4"]


@pytest.mark.parametrize(("module", "suffix"), [("pillow_heif", "heic"), ("pillow_jxl", "jxl")])
def test_pictures_of_a_plug_in_are_read_as_they_look(place, module, suffix):
    pytest.importorskip(module)
    plugins.register()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20), (200, 30, 30)).save(f"in/turned.{suffix}", exif=exif.tobytes())
    Image.new("RGBA", (40, 20), (200, 30, 30, 0)).save(f"in/clear.{suffix}")
    turned, clear = image_io.read(f"in/turned.{suffix}"), image_io.read(f"in/clear.{suffix}")
    assert turned.rgb.shape == (40, 20, 3) and abs(int(turned.rgb[9, 9, 0]) - 200) < 6
    assert clear.alpha is not None and clear.alpha.max() == 0
    assert f".{suffix}" in suffixes.PICTURES


def test_a_cluster_leaves_out_what_moves_and_says_so(place):
    shades = [Image.new("RGB", (8, 8), (90 * number, 0, 0)) for number in range(3)]
    shades[0].save("in/moves.webp", save_all=True, append_images=shades[1:])
    plan = planning.planned(["in"], "out", "tiny", find=remote.find)
    done = {job.source.name for job in plan.jobs}
    assert "a.jpg" in done and not done & {"g.mp4", "moves.webp", "f.CR3"}
    kinds = {left.path.name: left.reason for left in plan.left}
    assert kinds["moves.webp"] == kinds["g.mp4"] == "film: engine=ray takes pictures only"
    assert kinds["f.CR3"].startswith("camera raw file")


def test_few_words_for_many_suffixes():
    files = [Left(Path(f"{number}.{suffix}"), left_out.OTHER) for number, suffix in enumerate("aabbccddeef")]
    assert left_out.summary(files) == "11 files that are not pictures (2 .a, 2 .b, 2 .c, 2 .d, 3 more)"
