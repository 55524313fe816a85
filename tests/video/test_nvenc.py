"""encoder=nvenc: refused in a line where no GPU encodes; the film is else the one that x264 writes."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import assert_refused, usable
from PIL import Image
from test_films import MOMENTS, film, times

from stylenet import stylize_files
from stylenet.system.errors import UserError
from stylenet.video import container, protocol, sources


def encodes() -> bool:
    return usable(container.require_nvenc)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": "in.mp4", "encoder": "h264"}, "encoder=h264: give cpu or nvenc"),
        ({"input": "photo.png", "encoder": "nvenc"}, "encoder=nvenc is for films, but there is none among the inputs"),
        (
            {"input": "in.mp4", "output": "out.webm"},
            r"encoder=nvenc writes H.264, and out.webm holds none: give .mp4, .m",
        ),
        ({"input": "in.mp4", "output": "out/%04d.png"}, "encoder=nvenc writes H.264, and out/%04d.png holds none"),
        (
            {"input": "photo.png", "output": "o.gif", "ckpt": "gallery", "walk": ["udnie", "sunflowers"]},
            "o.gif holds none",
        ),
        pytest.param(
            {"input": "in.mp4"},
            r"encoder=nvenc: no GPU here encodes H.264 \(.+\)\. .* Leave it out, or give encoder=cpu",
            marks=pytest.mark.skipif(encodes(), reason="a GPU encodes here"),
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_painted(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("photo.png")
    film(Path("in.mp4"))
    assert_refused(tmp_path, said, **{"encoder": "nvenc"} | options)


@pytest.mark.skipif(encodes(), reason="a GPU encodes here")
@pytest.mark.parametrize("output", [None, "made"])
def test_a_walk_over_a_picture_is_a_film_and_no_reason_to_refuse(tmp_path, monkeypatch, output):
    """What is missing is the GPU alone."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("photo.png")
    with pytest.raises(UserError, match="no GPU here encodes"):
        options = {"walk": ["udnie", "sunflowers"], "encoder": "nvenc", "device": "cpu"}
        list(stylize_files("gallery", "photo.png", output, **options))


def test_an_ffmpeg_without_it_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(container, "NVENC", "h264_nothere")
    with pytest.raises(UserError, match=r"encoder=nvenc: no GPU here encodes H.264 \(.*h264_nothere"):
        container.require_nvenc()


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The GPU's where there is one; else another encoder of FFmpeg has its place."""
    if encodes():
        return "h264"
    monkeypatch.setattr(container, "NVENC", "mpeg4")
    monkeypatch.setattr(container, "H264", ("libx264", "mpeg4"))
    return "mpeg4"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_it_writes_the_film(tmp_path: Path, encoder: str, suffix: str):
    """Its frames with their times and colours, and even sides."""
    source = container.Reader(film(tmp_path / "in.mp4", size=(257, 193)))
    with sources.open_sink(tmp_path / f"out{suffix}", source, encoder="nvenc") as sink:
        for item in source:
            sink.add(item)
    assert sink.size == (256, 192) and "even sides" in sink.notes[0]
    assert [round(float(moment), 2) for moment in times(tmp_path / f"out{suffix}")] == [
        round(float(Fraction(moment, 12800)), 2) for moment in MOMENTS
    ]
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        assert made.streams.video[0].codec_context.name == encoder
    frames = [item for item in container.Reader(tmp_path / f"out{suffix}") if isinstance(item, protocol.Frame)]
    assert np.abs(frames[0].rgb[100, 200].astype(int) - (200, 30, 30)).max() <= 12


def test_transparency_goes_to_an_encoder_that_holds_it_and_that_is_said(tmp_path: Path, encoder: str):
    look = protocol.Look(Fraction(5))
    sink = container.Writer(tmp_path / "out.mov", look, encoder="nvenc")
    for number in range(3):
        alpha = np.full((48, 64), 90 * number, np.uint8)
        sink.add(protocol.Frame(np.full((48, 64, 3), 128, np.uint8), Fraction(number, 5), alpha=alpha))
    sink.close()
    with av.open(str(tmp_path / "out.mov")) as made:
        assert made.streams.video[0].codec_context.name == "prores"
    assert sink.notes == ["encoder=nvenc holds no transparency: prores_ks wrote it, on the CPU"]
