"""Animated pictures become animations, whatever their format; of other files with several pictures it is said."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from films import settings
from PIL import Image, features

from stylenet import stylize_files
from stylenet.files import film_engine, planning
from stylenet.files.planning import Job
from stylenet.files.report import WRITTEN
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.system.errors import UserError
from stylenet.video import animations, protocol

LASTS = [50, 120, 300, 40]
FORMATS = ["gif", "webp", "png", "apng", *(["avif"] if features.check("avif") else [])]


def animated(path: Path, clear: bool = True, **options: Any) -> Path:
    """Four frames that grow redder; their left quarter is transparent."""
    shades = [Image.new("RGBA", (20, 10), (60 * number, 0, 0, 255)) for number in range(4)]
    for shade in shades:
        shade.paste((0, 0, 0, 0), (0, 0, 5, 10))
    shades = shades if clear else [shade.convert("RGB") for shade in shades]
    exact = {".gif": {"disposal": 2}, ".webp": {"lossless": True}}.get(path.suffix, {})
    options = {"format": "PNG"} | options if path.suffix == ".apng" else options
    shades[0].save(path, save_all=True, append_images=shades[1:], duration=LASTS, loop=3, **exact, **options)
    return path


def shown(path: Path) -> list[tuple[float, np.ndarray]]:
    """The frames of a file with how long each is shown, in milliseconds."""
    with Image.open(path) as image:
        found = []
        for number in range(cast(Any, image).n_frames):
            image.seek(number)
            pixels = np.asarray(image.convert("RGBA"))
            found.append((image.info["duration"], pixels))
        return found


def done(source: Path, target: Path) -> None:
    inverted = lambda picture: Picture(255 - picture.rgb)  # noqa: E731
    outcome = film_engine.stylized(Job(source, target), inverted, settings(temporal=0.0))
    assert (outcome.status, outcome.reason) == (WRITTEN, None)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("to", ["gif", "webp", "apng", "png"])
def test_an_animation_stays_one_with_its_times_and_what_is_transparent(tmp_path, suffix, to):
    source = animated(tmp_path / f"in.{suffix}")
    assert planning.moves(source)
    done(source, tmp_path / f"out.{to}")
    made = shown(tmp_path / f"out.{to}")
    assert [lasts for lasts, _ in made] == LASTS
    for number, (_, pixels) in enumerate(made):
        assert pixels[5, 2, 3] < 30 and pixels[5, 12, 3] > 225
        assert np.abs(pixels[5, 12, :3].astype(int) - (255 - 60 * number, 255, 255)).max() <= 24
    with Image.open(tmp_path / f"out.{to}") as image:
        assert image.info["loop"] == (0 if suffix == "avif" else 3)  # which does not say how often


@pytest.mark.parametrize(("suffix", "named"), [("webp", "webp"), ("png", "png"), ("avif", "webp"), ("gif", "gif")])
def test_the_script_makes_an_animation_of_one(tmp_path, monkeypatch, suffix, named):
    if suffix not in FORMATS:
        pytest.skip("this Pillow has no AVIF")
    monkeypatch.chdir(tmp_path)
    animated(Path(f"x.{suffix}"))
    assert [*stylize_files("the_scream_lite", f"x.{suffix}", device="cpu")] == [Path(f"x_the_scream_lite.{named}")]
    assert len(shown(Path(f"x_the_scream_lite.{named}"))) == 4


def test_still_pictures_of_these_formats_stay_still(tmp_path):
    still = Image.new("RGBA", (8, 8), (9, 9, 9, 100))
    for suffix in ("gif", "webp", "png", "tif"):
        still.save(tmp_path / f"x.{suffix}")
        assert not planning.moves(tmp_path / f"x.{suffix}")
    for name, data in {
        "cut.png": b"\x89PNG\r\n\x1a\n\0\0",
        "cut.webp": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\2",
        "x": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        assert not animations.is_animated(tmp_path / name)


def test_a_hidden_first_picture_of_an_apng_is_not_of_its_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), (90 * number, 0, 0)) for number in range(3)]
    hidden = Image.new("RGB", (8, 8), "blue")
    hidden.save(tmp_path / "x.png", save_all=True, append_images=frames, default_image=True, duration=70)
    source = animations.Animation(tmp_path / "x.png")
    found = [frame.rgb[0, 0].tolist() for frame in source]
    source.close()
    assert found == [[0, 0, 0], [90, 0, 0], [180, 0, 0]]
    hidden.save(tmp_path / "y.png", save_all=True, append_images=frames[:1], default_image=True)
    assert not animations.is_animated(tmp_path / "y.png")


def test_opaque_animations_are_written_without_alpha_and_films_too(tmp_path):
    done(animated(tmp_path / "in.png", clear=False), tmp_path / "out.webp")
    assert (tmp_path / "out.webp").read_bytes()[20] == 0x02  # of the header's flags: animated, without alpha
    done(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
    sink = animations.ApngWriter(tmp_path / "film.apng", protocol.Look(Fraction(50)), clear=False)
    for number in range(5):
        sink.add(protocol.Frame(np.full((9, 7, 3), 50 * number, np.uint8), Fraction(number, 50)))
    sink.close()
    assert [(lasts, int(pixels[0, 0, 0])) for lasts, pixels in shown(tmp_path / "film.apng")] == [
        (20, 50 * number) for number in range(5)
    ]


def test_a_film_is_not_put_into_a_png_by_mistake(tmp_path):
    with pytest.raises(UserError, match=r"out.png holds no film: give a file with .mp4.*\.apng"):
        film_engine.check_target(Job(tmp_path / "in.mp4", tmp_path / "out.png"))


# --- several pictures in a file, of which one is done


def pages(path: Path, count: int, **options: Any) -> Path:
    each = [Image.new("RGB", (20, 16), (40 * number, 0, 0)) for number in range(count)]
    each[0].save(path, save_all=True, append_images=each[1:], **options)
    return path


def test_the_pages_that_are_not_done_are_told_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pages(Path("scan.tif"), 5)
    list(stylize_files("the_scream_lite", "scan.tif", device="cpu"))
    assert capsys.readouterr().err == "scan.tif: it has 5 pages, only the first is used.\n"
    Path("in").mkdir()
    pages(Path("in/scan.tif"), 3)
    pages(Path("in/wrong name.jpg"), 4, format="GIF")
    Image.new("RGB", (20, 16)).save("in/x.png")
    list(stylize_files("the_scream_lite", "in", "out", device="cpu", report="report.jsonl"))
    said = capsys.readouterr().err
    assert "scan.tif: it has 3 pages, only" in said and "wrong name.jpg: it has 4 frames, only" in said
    lines = [json.loads(line) for line in Path("report.jsonl").read_text().splitlines()]
    assert {line["status"] for line in lines} == {"written"}
    assert {line["input"]: line["reason"] for line in lines} == {
        "in/scan.tif": "it has 3 pages, only the first is used",
        "in/wrong name.jpg": "it has 4 frames, only the first is used",
        "in/x.png": None,
    }


def test_through_a_pipe_too_but_not_what_belongs_to_one_picture(tmp_path):
    for suffix, options in {
        "webp": {},
        "gif": {},
        "png": {"format": "PNG"},
        "tif": {"compression": "tiff_lzw"},
    }.items():
        data = pages(tmp_path / f"x.{suffix}", 3, **options).read_bytes()
        assert image_io.read(io.BytesIO(data)).note.startswith("it has 3 ")
    thumbnail = Image.new("RGB", (10, 8))
    Image.new("RGB", (20, 16)).save(tmp_path / "x.mpo", save_all=True, append_images=[thumbnail])
    Image.new("RGB", (20, 16)).save(tmp_path / "y.tif", save_all=True, append_images=[Image.new("RGB", (10, 8))])
    assert [image_io.read(tmp_path / name).note for name in ("x.mpo", "y.tif")] == ["", ""]
