"""Films with alpha, and films of odd sides: what others can hold and play. Read back with PyAV."""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from films import settings
from PIL import Image

from stylenet.files import film_engine
from stylenet.files.planning import Job
from stylenet.files.report import WRITTEN
from stylenet.images.image_io import Picture
from stylenet.video import container, protocol

KINDS = [  # of films with alpha
    ("in.mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
    ("in.mov", "qtrle", "argb", {}),
    ("in.mov", "png", "rgba", {}),
    ("in.webm", "libvpx-vp9", "yuva420p", {"crf": "10", "b": "0"}),
    ("in.webm", "libvpx", "yuva420p", {"crf": "10", "b": "2000000", "auto-alt-ref": "0"}),
    ("in.mkv", "ffv1", "yuva444p", {}),
]


def clear(path: Path, codec: str, pixels: str, options: dict[str, str], size=(64, 48)) -> Path:
    """Five frames: red, its left half transparent, its right half ever more so."""
    with av.open(str(path), "w") as out:
        stream = cast(Any, out.add_stream(codec, rate=25, options=options))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if codec.startswith("libvpx"):
            stream.metadata["alpha_mode"] = "1"
        for number in range(5):
            rgba = np.full((size[1], size[0], 4), (200, 30, 30, 255 - 40 * number), np.uint8)
            rgba[:, : size[0] // 2, 3] = 0
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def done(source: Path, target: Path, paint: Any = lambda picture: Picture(255 - picture.rgb), **how: Any) -> Any:
    outcome = film_engine.stylized(Job(source, target), paint, settings(temporal=0.0, **how))
    assert (outcome.status, outcome.reason) == (WRITTEN, None)
    return outcome


def alphas(path: Path) -> list[np.ndarray]:
    reader = container.Reader(path)
    found = [item.alpha for item in reader if isinstance(item, protocol.Frame)]
    reader.close()
    assert all(one is not None for one in found)
    return cast(Any, found)


@pytest.mark.parametrize(("name", "codec", "pixels", "options"), KINDS)
@pytest.mark.parametrize("to", [".mov", ".webm", ".mkv"])
def test_alpha_is_kept_where_the_output_can_hold_it(tmp_path, capsys, name, codec, pixels, options, to):
    source = clear(tmp_path / name, codec, pixels, options)
    done(source, tmp_path / f"out{to}")
    made = alphas(tmp_path / f"out{to}")
    assert len(made) == 5 and "transparent" not in capsys.readouterr().err
    for number, alpha in enumerate(made):
        assert alpha[:, 4:28].max() <= 8 and np.abs(alpha[:, 36:60].astype(int) - (255 - 40 * number)).max() <= 8
    first = next(item for item in container.Reader(tmp_path / f"out{to}") if isinstance(item, protocol.Frame))
    assert np.abs(first.rgb[24, 48].astype(int) - (55, 225, 225)).max() <= 12


def test_where_it_cannot_it_becomes_white_and_that_is_said_once(tmp_path, capsys):
    source = clear(tmp_path / "in.mov", "qtrle", "argb", {})
    done(source, tmp_path / "out.mp4")
    said = [line for line in capsys.readouterr().err.splitlines() if "transparent" in line]
    assert (
        len(said) == 1 and "out.mp4: what is transparent became white, as mp4 cannot hold it: give .mov, .w" in said[0]
    )
    last = [item.rgb for item in container.Reader(tmp_path / "out.mp4") if isinstance(item, protocol.Frame)][-1]
    assert last[24, 12].min() >= 250  # and what is half transparent lies over white: 255 - (255 - 55) * 95 / 255
    assert abs(int(last[24, 50, 0]) - 180) <= 8


@pytest.mark.parametrize("to", ["out.gif", "out.webp", "out.apng", "%d.png"])
def test_animations_and_numbered_pictures_hold_it(tmp_path, to):
    done(clear(tmp_path / "in.mov", "qtrle", "argb", {}), tmp_path / to)
    with Image.open(tmp_path / to.replace("%d", "1")) as made:
        pixels = np.asarray(made.convert("RGBA"))
    assert pixels[24, 8, 3] == 0 and pixels[24, 50, 3] == 255


def test_an_animation_of_pictures_keeps_it_in_a_film(tmp_path):
    shades = [Image.new("RGBA", (64, 48), (90 * number, 0, 0, 100 * number)) for number in range(3)]
    shades[0].save(tmp_path / "in.webp", save_all=True, append_images=shades[1:], duration=100, lossless=True)
    done(tmp_path / "in.webp", tmp_path / "out.webm")
    assert [abs(int(alpha[24, 32]) - 100 * number) <= 4 for number, alpha in enumerate(alphas(tmp_path / "out.webm"))]
    for number, shade in enumerate(shades):
        shade.convert("RGB").save(tmp_path / f"{number}.png")
    done(tmp_path / "%d.png", tmp_path / "plain.mov")  # nothing is transparent: a film that all play
    with av.open(str(tmp_path / "plain.mov")) as file:
        assert file.streams.video[0].codec_context.name == "h264"


# --- odd sides


@pytest.mark.parametrize(("size", "even"), [((63, 41), (62, 40)), ((64, 41), (64, 40)), ((33, 1), (32, 2))])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_odd_sides_become_h264_that_phones_and_browsers_play(tmp_path, capsys, size, even, suffix):
    source = clear(tmp_path / "in.mkv", "ffv1", "yuv444p", {}, size)
    outcome = done(source, tmp_path / f"out{suffix}")
    assert (outcome.width, outcome.height) == even
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", *even)
    said = [line for line in capsys.readouterr().err.splitlines() if "even sides" in line]
    assert len(said) == 1 and f"it is {even[0]}x{even[1]}, as phones" in said[0]


def test_nothing_is_lost_but_the_last_row_and_column(tmp_path):
    """Painted with its own coordinates, turned by a quarter as telephones store it."""

    def paint(picture: Picture) -> Picture:
        rows, columns = np.indices(picture.rgb.shape[:2])
        return Picture(np.dstack([rows * 4, columns * 4, rows * 0 + 128]).astype(np.uint8))

    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream = cast(Any, out.add_stream("ffv1", rate=25))
        stream.width, stream.height, stream.pix_fmt = 41, 63, "yuv444p"
        stream.set_display_rotation(-90)
        for _ in range(2):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((63, 41, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode())
    outcome = done(tmp_path / "in.mkv", tmp_path / "out.mp4", paint)
    assert (outcome.width, outcome.height) == (62, 40)
    made = next(item.rgb for item in container.Reader(tmp_path / "out.mp4") if isinstance(item, protocol.Frame))
    assert made.shape == (40, 62, 3)
    assert np.abs(np.diff(made[5:-5, 30, 0].astype(int))).mean() == pytest.approx(4, abs=1)


def test_vp9_and_animations_keep_odd_sides(tmp_path, capsys):
    source = clear(tmp_path / "in.mkv", "ffv1", "yuv444p", {}, (63, 41))
    for name in ("out.webm", "out.gif", "out.webp"):
        outcome = done(source, tmp_path / name)
        assert (outcome.width, outcome.height) == (63, 41)
    assert "even sides" not in capsys.readouterr().err
