"""Films: what goes in comes out, but painted. Read back with PyAV and Pillow."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from conftest import ROOT
from films import settings
from PIL import Image

from stylenet import stylize_files
from stylenet.files import film_engine
from stylenet.files.planning import Job, plan
from stylenet.files.report import FAILED, SKIPPED, WRITTEN
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.system.errors import UserError
from stylenet.video import animations, container, image_sequence, protocol, temporal

TICK = Fraction(1, 12800)
MOMENTS = [0, 512, 2048, 2560, 5000, 5512]  # of a film whose frames do not come evenly


def inverted(picture: Picture) -> Picture:
    return Picture(np.iinfo(picture.rgb.dtype).max - picture.rgb)


def film(path: Path, size=(64, 48), moments=MOMENTS, sound=False, **tags) -> Path:
    """Its left half grows brighter from frame to frame, its right half is red."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
        stream.time_base = stream.codec_context.time_base = TICK
        if "turn" in tags:
            stream.set_display_rotation(tags["turn"])
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            if name in tags:
                setattr(stream.codec_context, name, tags[name])
        voice = out.add_stream("aac", rate=48000) if sound else None
        for number, moment in enumerate(moments):
            pixels = np.full((size[1], size[0], 3), 20 + 30 * number % 200, np.uint8)
            pixels[:, size[0] // 2 :] = (200, 30, 30)
            matrix = tags.get("colorspace", container.BT601)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format=stream.pix_fmt,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=tags.get("color_range", 1),
            )
            frame.pts, frame.time_base = moment, TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if voice is not None:
            tone = np.sin(np.arange(24576) / 20).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            heard.sample_rate = 48000
            out.mux(voice.encode(heard))
            out.mux(voice.encode())
    return path


def done(source: Path | str, target: Path, **how):
    outcome = film_engine.stylized(Job(Path(source), target), inverted, settings(**{"temporal": 0.0, **how}))
    assert outcome.status == WRITTEN, outcome.reason
    return outcome


def times(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return [Fraction(cast(Any, frame.pts)) * cast(Any, frame.time_base) for frame in file.decode(video=0)]


def packets(path: Path) -> list[tuple[Any, bytes]]:
    with av.open(str(path)) as file:
        return [(packet.pts, bytes(packet)) for packet in file.demux(file.streams.audio[0]) if packet.size]


def seen(path: Path) -> list[np.ndarray]:
    return [item.rgb for item in container.Reader(path) if isinstance(item, protocol.Frame)]


def test_uneven_times_and_sound_come_out_as_they_went_in(tmp_path):
    source = film(tmp_path / "in.mp4", sound=True)
    outcome = done(source, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4") == [moment * TICK for moment in MOMENTS]
    assert packets(tmp_path / "out.mp4") == packets(source) != []
    assert (outcome.width, outcome.height, outcome.reason) == (64, 48, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_each_container_holds_the_painted_frames(tmp_path, suffix):
    source = film(tmp_path / "in.mp4")
    done(source, tmp_path / f"out{suffix}")
    before = [one.astype(int) for one in seen(source)]
    after = [one.astype(int) for one in seen(tmp_path / f"out{suffix}")]
    assert len(before) == len(after) == len(MOMENTS)
    for photo, made in zip(before, after, strict=True):
        assert np.abs(255 - photo - made)[:, [8, 24, 40, 56]].mean() < 4


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("range_", [1, 2])
def test_colours_are_read_and_stored_by_the_films_own_matrix_and_range(tmp_path, matrix, range_):
    tags = {"colorspace": matrix, "color_range": range_, "color_primaries": 1, "color_trc": 1}
    source = film(tmp_path / "in.mp4", **tags)
    first = seen(source)[0]
    assert np.abs(first[24, 16].astype(int) - 20).max() <= 3
    assert np.abs(first[24, 48].astype(int) - (200, 30, 30)).max() <= 6  # another matrix is 15 and more off
    done(source, tmp_path / "out.mp4")
    made = container.Reader(tmp_path / "out.mp4")
    assert made.look.colors == (1, 1, matrix, range_)
    assert np.abs(seen(tmp_path / "out.mp4")[0][24, 48].astype(int) - (55, 225, 225)).max() <= 6


def test_a_turned_film_is_painted_upright_and_stays_turned(tmp_path):
    source = film(tmp_path / "in.mp4", turn=-90)  # as telephones do: shown a quarter to the right
    shapes = []
    how = settings(temporal=0.0)
    film_engine.stylized(
        Job(source, tmp_path / "out.mp4"), lambda one: shapes.append(one.rgb.shape) or inverted(one), how
    )
    assert set(shapes) == {(64, 48, 3)}
    with av.open(str(tmp_path / "out.mp4")) as file:
        frame = next(file.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (64, 48, -90)
    upright = seen(source)[0]
    assert upright[8, 24, 0] < 60 and upright[56, 24, 0] > 150  # what was left is on top


# Of the display matrix; and where what is stored at the top left is seen.
PLACES = [
    (1, 0, 0, 1, "top left"),
    (-1, 0, 0, 1, "top right"),
    (1, 0, 0, -1, "bottom left"),
    (-1, 0, 0, -1, "bottom right"),
    (0, 1, 1, 0, "top left"),
    (0, 1, -1, 0, "top right"),
    (0, -1, 1, 0, "bottom left"),
    (0, -1, -1, 0, "bottom right"),
]


@pytest.mark.parametrize(("a", "b", "c", "d", "corner"), PLACES)
def test_turned_and_mirrored_films_are_seen_as_players_show_them(a, b, c, d, corner):
    one = 2**16
    look = protocol.Look(matrix=(a * one, b * one, 0, c * one, d * one, 0, 0, 0, 2**30))
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    seen = look.upright(stored)
    assert seen.shape == ((3, 2, 3) if a == 0 else (2, 3, 3))
    down, across = corner.split()
    assert (seen[0 if down == "top" else -1, 0 if across == "left" else -1] == stored[0, 0]).all()
    assert (look.stored(seen) == stored).all()


def test_odd_sides_stay_in_vp9_and_size_gives_even_ones(tmp_path):
    source = film(tmp_path / "in.mp4", size=(63, 41))
    assert (done(source, tmp_path / "same.webm").width, container.Reader(tmp_path / "same.webm").size) == (63, (63, 41))
    done(source, tmp_path / "small.mp4", size=31)
    assert container.Reader(tmp_path / "small.mp4").size == (32, 20)


def test_a_film_cut_short_gives_what_can_be_read_and_says_so(tmp_path):
    whole = film(tmp_path / "whole.mkv", size=(320, 240), moments=[512 * number for number in range(100)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    outcome = done(cut, tmp_path / "out.mp4")
    assert "breaks off after" in (outcome.reason or "") and "of 4.0 seconds" in (outcome.reason or "")
    assert 20 < len(times(tmp_path / "out.mp4")) < 100


def with_sound(
    path: Path,
    codec: str,
    seconds: float = 1.0,
    mark: Any = lambda out, voice: None,
    rate: int = 48000,
    layout: str = "stereo",
    longer: float = 0.0,
) -> Path:
    """A film of as many seconds, and a tone of 440 Hz, which may go on for ``longer``."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice: Any = out.add_stream(codec, rate=rate)
        voice.codec_context.layout = layout
        mark(out, voice)
        for number in range(round(25 * seconds)):
            grey = np.full((48, 64, 3), 5 * number % 256, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())
        tone = np.sin(np.arange(round(rate * (seconds + longer))) * 2 * np.pi * 440 / rate) * 0.5
        channels = av.AudioLayout(layout).nb_channels
        tones = (tone.repeat(channels)[None] * 32767).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(tones, format="s16", layout=layout)
        heard.sample_rate = rate
        out.mux(voice.encode(heard))
        out.mux(voice.encode())
    return path


def sound(path: Path) -> tuple[str, np.ndarray]:
    """The codec, and what is heard to the left."""
    with av.open(str(path)) as file:
        plain = av.AudioResampler("fltp", "stereo", 48000)
        parts = [part.to_ndarray()[0] for frame in file.decode(audio=0) for part in plain.resample(frame)]
        return file.streams.audio[0].codec_context.name, np.concatenate(parts)


@pytest.mark.parametrize(
    ("source", "codec", "suffix", "becomes"),
    [
        (".avi", "pcm_s16le", ".mp4", "aac"),  # what this format cannot hold is encoded anew
        (".mkv", "pcm_s16le", ".webm", "opus"),
        (".mkv", "libopus", ".mov", "aac"),
        (".mkv", "pcm_s16le", ".mkv", "pcm_s16le"),  # what it can hold is copied
        (".mp4", "aac", ".mkv", "aac"),
    ],
)
def test_sound_goes_along_in_every_container(tmp_path, source, codec, suffix, becomes):
    made = tmp_path / f"out{suffix}"
    assert done(with_sound(tmp_path / f"in{source}", codec), made).reason is None
    name, heard = sound(made)
    assert name == becomes and abs(len(heard) / 48000 - 1) < 0.1
    spectrum = np.abs(np.fft.rfft(heard[4800:43200]))
    assert abs(np.argmax(spectrum) * 48000 / 38400 - 440) < 3
    if codec != "libopus":
        assert len(times(made)) == 25


@pytest.mark.parametrize(
    ("rate", "layout", "suffix"),
    [(44100, "stereo", ".webm"), (8000, "mono", ".mp4"), (192000, "stereo", ".mp4"), (6000, "mono", ".mp4")]
    + [(48000, "2.1", ".webm"), (48000, "4.0", ".webm"), (48000, "5.1", ".mp4"), (48000, "16 channels", ".webm")],
)
def test_sound_that_is_encoded_anew_lasts_as_long(tmp_path, rate, layout, suffix):
    """Of all rates and layouts, also such that the encoder does not know."""
    source = with_sound(tmp_path / "in.mkv", "pcm_s16le", 1.0, rate=rate, layout=layout)
    assert done(source, tmp_path / f"out{suffix}").reason is None
    name, heard = sound(tmp_path / f"out{suffix}")
    assert name == ("opus" if suffix == ".webm" else "aac") and 48000 - 1100 <= len(heard) <= 48000 + 3500
    assert len(times(tmp_path / f"out{suffix}")) == 25


def test_a_full_disk_is_no_damaged_sound(tmp_path):
    """In a process that may write no larger files: the film with its sound is refused, and leaves nothing."""
    source = with_sound(tmp_path / "in.mkv", "pcm_s16le", 4.0)
    code = f"""if True:
        import resource, signal
        from pathlib import Path
        from stylenet.files import film_engine, planning
        from stylenet.video.options import FilmOptions
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        job = planning.Job(Path({str(source)!r}), Path({str(tmp_path / "out.mkv")!r}))
        print(film_engine.stylized(job, lambda one: one, film_engine.FilmSettings(FilmOptions(temporal=0.0))).status)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert told.stdout == "failed\n", told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_damaged_sound_costs_no_film(tmp_path, capsys):
    """In a transport stream, packets of sound that begin with nonsense."""
    source = with_sound(tmp_path / "in.ts", "aac", 2.0)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        voice = file.streams.audio[0].index
        places = [packet.pos for packet in file.demux() if packet.stream.index == voice and packet.pos]
    for place in places[len(places) // 2 :][:6]:
        head = data.index(b"\xff\xf1", place)
        data[head : head + 2] = b"\x00\x00"
    source.write_bytes(data)
    done(source, tmp_path / "out.mp4")
    assert len(times(tmp_path / "out.mp4")) == 50 and len(sound(tmp_path / "out.mp4")[1]) > 48000


def test_chapters_and_the_tracks_marks_go_along(tmp_path):
    marks: Any = [{"id": n, "start": n, "end": n + 1, "time_base": Fraction(1)} for n in (0, 1)]

    def mark(out: Any, voice: Any) -> None:
        voice.disposition = Disposition.comment
        out.set_chapters([one | {"metadata": {"title": f"part {one['id']}"}} for one in marks])

    done(with_sound(tmp_path / "in.mkv", "aac", 2.0, mark), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert [chapter["metadata"]["title"] for chapter in made.chapters()] == ["part 0", "part 1"]
        assert made.streams.audio[0].disposition & Disposition.comment


@pytest.mark.parametrize("part", [0.5, 0.8, 0.93])
def test_a_matroska_film_that_misses_its_end_is_told_of(tmp_path, part):
    whole = with_sound(tmp_path / "whole.mkv", "aac", 8.0)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: round(whole.stat().st_size * part)])
    assert "breaks off after" in (done(cut, tmp_path / "out.mp4").reason or "")
    assert done(whole, tmp_path / "all.mp4").reason is None
    late = with_sound(tmp_path / "late.mkv", "aac", 2.0, longer=3.0)  # sound that outlasts the pictures
    assert done(late, tmp_path / "late.mp4").reason is None


def test_what_is_no_film_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "in.mp4").write_bytes(b"no film" * 100)
    outcome = film_engine.stylized(Job(tmp_path / "in.mp4", tmp_path / "out.mp4"), inverted, settings(temporal=0.0))
    assert outcome.status == FAILED and "Cannot read" in (outcome.reason or "")
    with pytest.raises(UserError, match="holds no film"):
        film_engine.check_target(Job(tmp_path / "in.mp4", tmp_path / "out.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_failing_network_leaves_no_half_film(tmp_path):
    def fails(picture: Picture) -> Picture:
        raise RuntimeError("broken")

    source = film(tmp_path / "in.mp4")
    assert film_engine.stylized(Job(source, tmp_path / "out.mp4"), fails, settings(temporal=0.0)).status == FAILED
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_what_exists_is_kept_unless_asked(tmp_path):
    source = film(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"mine")
    kept = film_engine.stylized(Job(source, tmp_path / "out.mp4"), inverted, settings(temporal=0.0))
    assert kept.status == FAILED and (tmp_path / "out.mp4").read_bytes() == b"mine"
    done(source, tmp_path / "out.mp4", overwrite=True)
    assert len(times(tmp_path / "out.mp4")) == len(MOMENTS)


# --- GIFs, numbered pictures, names


def test_a_gif_keeps_its_times_and_what_is_transparent(tmp_path):
    shades = [Image.new("RGBA", (20, 10), (40 * number, 0, 0, 255)) for number in range(4)]
    for shade in shades:
        shade.paste((0, 0, 0, 0), (0, 0, 5, 10))
    lasting = [50, 120, 300, 40]
    shades[0].save(tmp_path / "in.gif", save_all=True, append_images=shades[1:], duration=lasting, loop=0, disposal=2)
    done(tmp_path / "in.gif", tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as made:
        assert cast(Any, made).n_frames == 4 and made.info["loop"] == 0
        for number in range(4):
            made.seek(number)
            assert made.info["duration"] == lasting[number]
            pixels = np.asarray(made.convert("RGBA"))
            assert pixels[5, 2, 3] == 0 and pixels[5, 12, 3] == 255
            assert np.abs(pixels[5, 12, :3].astype(int) - (255 - 40 * number, 255, 255)).max() <= 8


def test_each_frame_of_a_gif_is_seen_by_itself(tmp_path):
    """Opaque, half transparent, wholly transparent, opaque: nothing of the one before shines through."""
    sink = animations.GifWriter(tmp_path / "out.gif", protocol.Look(Fraction(10)))
    half = np.full((8, 10), 255, np.uint8)
    half[:, :5] = 0
    colours = [((250, 0, 0), None), ((0, 250, 0), half), ((0, 0, 0), half * 0), ((0, 0, 250), None)]
    for number, (colour, alpha) in enumerate(colours):
        sink.add(protocol.Frame(np.full((8, 10, 3), colour, np.uint8), Fraction(number, 10), None, alpha))
    sink.close()
    with Image.open(tmp_path / "out.gif") as made:
        found = []
        for number in range(4):
            made.seek(number)
            found.append(np.asarray(made.convert("RGBA"))[4, [2, 7]])
    assert [pixel[3] for pair in found for pixel in pair] == [255, 255, 0, 255, 0, 0, 255, 255]
    assert found[0][0][0] > 240 and found[1][1][1] > 240 and found[3][0][2] > 240


def test_a_gif_of_a_quick_film_is_not_slower(tmp_path):
    """60 frames a second: more than the format can say, so that some are left out."""
    source = film(tmp_path / "in.mp4", moments=[round(12800 * number / 60) for number in range(60)])
    done(source, tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as made:
        lasting = []
        for number in range(cast(Any, made).n_frames):
            made.seek(number)
            lasting.append(made.info["duration"])
    assert abs(sum(lasting) - 1000) <= 20 and min(lasting) >= 20 and 25 <= len(lasting) <= 50


def test_a_gif_is_written_as_its_frames_come(tmp_path):
    sink = animations.GifWriter(tmp_path / "out.gif", protocol.Look(Fraction(10)), None)
    held = []
    for number in range(30):
        sink.add(protocol.Frame(noise(number, (40, 50)), Fraction(number, 10)))
        held.append((tmp_path / "out.gif").stat().st_size)
    assert held[20] > 10 * 1500
    sink.close()
    with Image.open(tmp_path / "out.gif") as made:
        assert (cast(Any, made).n_frames, made.info["duration"], made.info.get("loop")) == (30, 100, None)
        made.seek(29)
        assert np.abs(np.asarray(made.convert("RGB")).astype(int) - noise(29, (40, 50))).mean() < 15
    with pytest.raises(UserError, match="no frames to write"):
        animations.GifWriter(tmp_path / "none.gif", protocol.Look()).close()


def test_numbered_pictures_of_16_bits_with_alpha(tmp_path):
    deep = np.zeros((12, 10, 4), np.uint16)
    deep[..., :3], deep[:, 5:, 3] = 40000, 65535
    image_io.write(tmp_path / "1.png", Picture(deep[..., :3], deep[..., 3]))
    done(tmp_path / "%d.png", tmp_path / "out" / "%d.tif")
    made = image_io.read(tmp_path / "out" / "1.tif")
    assert made.rgb[0, 0].tolist() == [65535 - 40000] * 3 and made.alpha is not None
    assert made.alpha[0].tolist() == [0] * 5 + [65535] * 5
    done(tmp_path / "%d.png", tmp_path / "small" / "%d.png", size=6)
    small = image_io.read(tmp_path / "small" / "1.png")
    assert small.rgb.shape == (6, 4, 3) and abs(int(small.rgb[3, 2, 0]) - 25535) <= 1 and small.rgb.dtype == np.uint16
    for name in ("out.mp4", "out.gif", "out.webp", "out.mov"):  # these have 8 bits
        done(tmp_path / "%d.png", tmp_path / name)


def test_numbered_pictures_of_16_bits_are_held_steady_in_all_their_bits(tmp_path):
    """Of a still scene: each frame is blended with the one before, to values between those of 8 bits."""
    scene = np.asarray(Image.fromarray(noise(5, (12, 16))).resize((128, 96), Image.Resampling.BICUBIC)) * np.uint16(257)
    for number in (1, 2, 3):
        image_io.write(tmp_path / f"{number}.png", Picture(scene))
    levels = iter([20000, 20003, 20009])
    flat = lambda picture: Picture(np.full_like(picture.rgb, next(levels)))  # noqa: E731
    how = settings(temporal=0.5, flow="dis")
    assert film_engine.stylized(Job(tmp_path / "%d.png", tmp_path / "out" / "%d.png"), flat, how).status == WRITTEN
    made = [int(image_io.read(tmp_path / "out" / f"{number}.png").rgb[48, 64, 0]) for number in (1, 2, 3)]
    assert made[0] == 20000 and made[1] in (20001, 20002) and made[2] in (20005, 20006)


def test_of_numbered_pictures_the_broken_ones_are_passed_over(tmp_path):
    for number in (1, 2, 3, 4):
        Image.new("RGB", (16, 16), (9, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    (tmp_path / "3.png").write_bytes(b"broken")
    outcome = done(tmp_path / "%d.png", tmp_path / "out" / "%d.png")
    assert "2 of 4 pictures cannot be read: 1.png, 3.png" in (outcome.reason or "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2.png", "4.png"]


def test_numbered_results_go_on_and_are_skipped_when_complete(tmp_path):
    source, target = film(tmp_path / "in.mp4"), tmp_path / "out" / "%03d.png"
    done(source, target)
    (tmp_path / "out" / "004.png").unlink()
    (tmp_path / "out" / "002.png").write_bytes(b"mine")
    done(source, target, skip_existing=True)
    assert (tmp_path / "out" / "002.png").read_bytes() == b"mine" and (tmp_path / "out" / "004.png").stat().st_size > 50
    again = film_engine.stylized(Job(source, target), inverted, settings(temporal=0.0, skip_existing=True))
    assert again.status == SKIPPED
    (tmp_path / "out" / "003.png").unlink()
    passes = []
    count = lambda picture: passes.append(1) or inverted(picture)  # noqa: E731
    film_engine.stylized(Job(source, target), count, settings(temporal=0.0, skip_existing=True))
    assert len(passes) == 1 and (tmp_path / "out" / "003.png").exists()


def test_a_percent_sign_in_a_films_name_is_one(tmp_path):
    source = film(tmp_path / "20%discount.mp4")
    done(source, tmp_path / "30%down.mp4")
    assert len(times(tmp_path / "30%down.mp4")) == len(MOMENTS)
    shades = [Image.new("RGB", (20, 10), (40 * number, 0, 0)) for number in range(3)]
    shades[0].save(tmp_path / "100%dance.gif", save_all=True, append_images=shades[1:])
    done(tmp_path / "100%dance.gif", tmp_path / "out.gif")
    assert [job.target.name for job in plan([tmp_path / "100%dance.gif", source], None, "wave")] == [
        "100%dance_wave.gif",
        "20%discount_wave.mp4",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": "photo.png", "temporal": 0.5}, "temporal=0.5 is for films, but there is none among the inputs"),
        ({"input": "photo.png", "fps": 25}, "fps=25 is for films, but there is none among the inputs"),
        ({"input": "in.mp4", "fps": 25}, "fps=25 is for numbered pictures and cameras: films have their own times"),
        ({"input": "in.mp4", "temporal": 2}, "temporal=2: give a number from 0"),
        ({"input": ["in.mp4", "b.mp4"], "output": "all.mp4"}, "output=all.mp4 names one file, but there are 2"),
    ],
)
def test_options_of_films_without_effect_are_told_of(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("photo.png")
    film(Path("in.mp4"))
    film(Path("b.mp4"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=said):
        list(stylize_files("the_scream_lite", device="cpu", **options))
    assert sorted(tmp_path.iterdir()) == before


def test_numbered_pictures_keep_their_numbers_or_become_a_film(tmp_path):
    for number in (5, 7, 9):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number:04}.png")
    done(tmp_path / "%04d.png", tmp_path / "out" / "%04d.png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0005.png", "0007.png", "0009.png"]
    assert np.asarray(Image.open(tmp_path / "out" / "0007.png"))[0, 0].tolist() == [248, 255, 255]
    done(tmp_path / "%04d.png", tmp_path / "out.mp4", fps=10)
    assert times(tmp_path / "out.mp4") == [0, Fraction(1, 10), Fraction(2, 10)]


def test_names_of_results(tmp_path):
    for name in ("a.mp4", "b.avi", "c.webm"):
        film(tmp_path / "x.mp4").rename(tmp_path / name)
    named = [job.target.name for job in plan([tmp_path], None, "wave")]
    assert named == ["a_wave.mp4", "b_wave.mp4", "c_wave.webm"]
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    assert [job.source.name for job in plan([tmp_path], None, "wave")] == ["a.mp4", "b.avi", "c.webm", "photo.png"]
    assert plan(["camera:0"], None, "wave")[0].target.name == "camera_0_wave.mp4"


def test_a_camera_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such camera"):
        image_sequence.Camera("camera:99", Fraction(25))


@pytest.mark.parametrize(
    "wrong", [{"temporal": 1.0}, {"temporal": -0.1}, {"flow": "farneback"}, {"fps": 0}, {"fps": 0.001}]
)
def test_mistakes_in_the_options(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        settings(**wrong)


# --- steadiness


def noise(seed: int, size=(96, 128)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_of_a_still_film_each_result_is_blended_with_the_one_before(device):
    photo = Image.fromarray(noise(0, (12, 16))).resize((128, 96), Image.Resampling.BICUBIC)
    steady = temporal.Steady(0.75, device=device)
    first, second = np.full((96, 128, 3), 200, np.uint8), np.full((96, 128, 3), 100, np.uint8)
    assert (steady(np.asarray(photo), first) == 200).all()
    assert (steady(np.asarray(photo), second)[8:-8, 8:-8] == 175).all()  # 100 + 0.75 * (200 - 100)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_what_moves_takes_its_paint_along(device):
    photo = np.asarray(Image.fromarray(noise(1, (15, 20))).resize((160, 120), Image.Resampling.BICUBIC))
    paint = np.asarray(Image.fromarray(noise(2, (15, 20))).resize((160, 120), Image.Resampling.BICUBIC))
    steady = temporal.Steady(0.9, device=device)
    steady(photo, paint)
    moved = steady(np.roll(photo, 4, axis=1), np.full_like(paint, 128))
    expected = 128 + 0.9 * (np.roll(paint, 4, axis=1).astype(float) - 128)
    inner = np.s_[16:-16, 16:-16]
    assert np.abs(moved[inner] - expected[inner]).mean() < 6
    assert np.abs(moved[inner] - (128 + 0.9 * (paint[inner].astype(float) - 128))).mean() > 12  # not where it was


@pytest.mark.parametrize("device", [None, "cpu"])
def test_another_shot_takes_over_nothing(device):
    steady = temporal.Steady(0.9, device=device)
    steady(noise(3), np.full((96, 128, 3), 10, np.uint8))
    assert (steady(noise(4), np.full((96, 128, 3), 240, np.uint8)) == 240).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_pytorch_blends_as_opencv_does(depth):
    photo = np.asarray(Image.fromarray(noise(5, (15, 20))).resize((1100, 700), Image.Resampling.BICUBIC))
    levels = np.iinfo(depth).max // 255
    found = [temporal.Steady(0.9), temporal.Steady(0.9, device="cpu")]
    for shift in (0, 3, 5, 40):
        frame, paint = np.roll(photo, shift, axis=1), np.roll(photo[::-1], 2 * shift, axis=0).astype(depth) * levels
        ours, others = (steady(frame, paint).astype(float) / levels for steady in found)
        assert np.abs(ours - others).mean() < 0.1 and np.abs(ours - others).max() < 4
        assert shift == 0 or np.abs(ours - paint / levels).mean() > 1  # something was kept


def test_a_change_of_size_starts_afresh():
    steady, photo = temporal.Steady(0.9), noise(6)
    steady(photo, np.full_like(photo, 10))
    larger = np.asarray(Image.fromarray(photo).resize((256, 192)))
    assert (steady(larger, np.full_like(larger, 240)) == 240).all()
    assert (steady(larger, np.full_like(larger, 140))[8:-8, 8:-8] > 200).all()


def test_where_the_gpu_has_no_memory_left_the_film_goes_on_without_it(monkeypatch):
    photo = np.asarray(Image.fromarray(noise(7, (15, 20))).resize((320, 240), Image.Resampling.BICUBIC))
    found = [temporal.Steady(0.9), temporal.Steady(0.9, device="cpu")]
    for shift in range(4):
        if shift == 2:  # the network of the next frame has taken it
            monkeypatch.setattr(torch.nn.functional, "grid_sample", full)
        frame, paint = np.roll(photo, shift, axis=1), np.roll(photo[::-1], 2 * shift, axis=0)
        ours, others = (steady(frame, paint).astype(float) for steady in found)
        assert np.abs(ours - others).mean() < 0.1 and (shift == 0 or np.abs(ours - paint).mean() > 1)


def full(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 96.00 MiB.")


LET_GO = """
import sys
from pathlib import Path
from stylenet.system.errors import UserError
from stylenet.video.container import Reader
for _ in range(20):
    try:
        Reader(sys.argv[1])
    except UserError:
        pass
"""


def test_a_damaged_film_is_let_go_while_its_threads_tell_of_the_damage(tmp_path):
    """FFmpeg's threads would wait for Python, and Python for them. In a process of its own, as it would stand still."""
    path = film(tmp_path / "in.mp4", size=(256, 192))
    raw = bytearray(path.read_bytes())
    begin = raw.index(b"mdat")
    for place in range(begin + (len(raw) - begin) // 3, len(raw), 37):
        if raw.index(b"moov") < begin or place < raw.index(b"moov"):
            raw[place] ^= 0x5A
    path.write_bytes(raw)
    subprocess.run([sys.executable, "-c", LET_GO, path], check=True, timeout=120)
