"""decoder=nvdec: refused in a line where no GPU decodes; what a GPU cannot decode, the CPU does."""

from pathlib import Path

import numpy as np
import pytest
from films import assert_refused, usable
from PIL import Image
from test_films import film

from stylenet import stylize_files
from stylenet.system.errors import UserError
from stylenet.video import container, protocol


def decodes() -> bool:
    return usable(container.require_nvdec)


def frames(path: Path, decoder: str = "cpu") -> list[protocol.Frame]:
    return [item for item in container.Reader(path, decoder) if isinstance(item, protocol.Frame)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": "in.mp4", "decoder": "cuda"}, "decoder=cuda: give cpu or nvdec"),
        ({"input": "photo.png"}, "decoder=nvdec is for films, but there is none among the inputs"),
        ({"input": "moving.gif"}, r"decoder=nvdec reads films, such as .mp4, and moving.gif is none: leave it out"),
        (
            {"input": "photo.png", "ckpt": "gallery", "walk": ["udnie", "sunflowers"]},
            "decoder=nvdec reads films, such as .mp4, and there is none among the inputs: leave it out",
        ),
        pytest.param(
            {"input": "in.mp4"},
            r"decoder=nvdec: no NVIDIA GPU can be used here \(.+\)\. .* Leave it out, or give decoder=cpu",
            marks=pytest.mark.skipif(decodes(), reason="a GPU decodes here"),
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_painted(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    pictures[0].save("photo.png")
    pictures[0].save("moving.gif", save_all=True, append_images=pictures[1:])
    film(Path("in.mp4"))
    assert_refused(tmp_path, said, **{"decoder": "nvdec"} | options)


def test_an_ffmpeg_without_it_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr(container, "NVDEC", "drm")  # which decodes no H.264
    with pytest.raises(UserError, match="decoder=nvdec: no NVIDIA GPU can be used here .*No supported hardware config"):
        container.require_nvdec()


@pytest.mark.skipif(not decodes(), reason="no GPU decodes here")
def test_it_reads_the_film(tmp_path: Path):
    """Its frames with their times and colours."""
    source = film(tmp_path / "in.mp4", size=(256, 192))
    made, expected = frames(source, "nvdec"), frames(source)
    assert [frame.time for frame in made] == [frame.time for frame in expected]
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.rgb.astype(int) - other.rgb).mean() < 1
    reader = container.Reader(source, "nvdec")
    assert reader.notes == [] and reader._film.codec_context.pix_fmt == "cuda"


@pytest.mark.skipif(decodes(), reason="a GPU decodes here")
def test_a_gpu_that_fails_at_a_film_leaves_it_to_the_cpu(tmp_path):
    source = film(tmp_path / "in.mp4")
    assert len(frames(source, "nvdec")) == len(frames(source)) > 1
    said = "decoder=nvdec does not read it (the GPU cannot be used): it was decoded on the CPU"
    assert container.Reader(source, "nvdec").notes == [said]
    (tmp_path / "no.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match="Cannot read .*no.mp4 as a film"):
        container.Reader(tmp_path / "no.mp4", "nvdec")


def test_what_the_gpu_cannot_decode_the_cpu_does_and_that_is_said(tmp_path, monkeypatch, capsys):
    """To a device that decodes no H.264, the film is one of a codec that is too new or too old."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(container, "NVDEC", "drm")
    monkeypatch.setattr(container, "require_nvdec", container.require)
    source = film(tmp_path / "in.mp4", size=(64, 48))
    made, expected = frames(source, "nvdec"), frames(source)
    assert len(made) == len(expected) > 1
    assert all((one.rgb == other.rgb).all() for one, other in zip(made, expected, strict=True))
    (path,) = stylize_files("the_scream_lite", "in.mp4", "out.mp4", device="cpu", decoder="nvdec")
    assert path == Path("out.mp4") and len(frames(path)) == len(expected)
    assert "in.mp4: decoder=nvdec does not read it (h264): it was decoded on the CPU" in capsys.readouterr().err
