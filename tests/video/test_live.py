"""Live: the newest frame is shown, late ones are dropped, q ends it, and what was shown is recorded.

A film stands in for the camera. The window is OpenCV's own where this machine has one; else its calls are stood in for.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_films import film, times

import stylenet
from stylenet.files import live_engine
from stylenet.system.errors import UserError
from stylenet.video.live import Live
from stylenet.video.options import FilmOptions
from stylenet.video.protocol import FilmSource, Frame, Look

cv2 = pytest.importorskip("cv2")
TENTHS = [1280 * number for number in range(4)]  # a film of ten frames a second


class Frames(FilmSource):
    """Frames of the levels 0, 1, 2 and so on, at these moments."""

    def __init__(self, moments: list[float], endless: bool = False):
        self.path, self.look, self.size, self.expected = Path("frames"), Look(), (4, 2), len(moments)
        self.moments, self.endless, self.closed = moments, endless, False

    def __iter__(self) -> Iterator[Frame]:
        for number, moment in enumerate(self.moments):
            yield Frame(np.full((2, 4, 3), number, np.uint8), Fraction(moment))

    def close(self) -> None:
        self.closed = True


def level(frame: Frame | None) -> int:
    assert frame is not None
    return int(frame.rgb[0, 0, 0])


# --- frames as time passes


def test_who_is_slow_gets_the_newest_frame_and_the_others_are_counted():
    with Live(Frames([0.0] * 6, endless=True)) as live:
        live._thread.join()  # six came while nobody took one
        taken = live.take(0)
        assert (level(taken.frame), taken.ended, live.dropped) == (5, True, 5)
        assert live.take(0).frame is None


def test_who_is_fast_gets_every_frame_and_waits_no_longer_than_told():
    step = threading.Semaphore(0)

    class Slow(Frames):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                step.acquire()
                yield frame

    with Live(Slow([0, 1, 2], endless=True)) as live:
        assert live.take(0.01).frame is None
        for number in range(3):
            step.release()
            assert level(live.take(60).frame) == number
    assert live.dropped == 0


def test_a_films_frames_come_at_their_own_times_from_its_first_one_on():
    now, waited = [100.0], []

    def wait(seconds: float) -> None:
        waited.append(round(seconds, 6))
        now[0] += seconds
        if len(waited) == 2:
            now[0] += 0.7  # the machine was busy: the next frame is late already, and the one after comes in time

    with Live(Frames([5.0, 5.25, 5.5, 6.0, 6.5]), clock=lambda: now[0], wait=wait) as live:
        live._thread.join()
    assert waited == [0.25, 0.25, 0.3]


def test_what_reading_raises_is_raised_after_the_last_frame():
    class Broken(Frames):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            raise UserError("the cable is out")

    with Live(Broken([0], endless=True)) as live:
        live._thread.join()
        assert level(live.take(0).frame) == 0
        with pytest.raises(UserError, match="the cable is out"):
            live.take(0)


# --- a window


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for OpenCV's window: ``shown`` frames as RGB, the ``keys`` that are pressed, one a turn, and whether
    the window is ``open``.
    """
    state: dict[str, Any] = {"shown": [], "keys": [], "open": None, "title": ""}

    def open_window(title: str, flags: int) -> None:
        state.update(open=True, title=title)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", open_window)
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, width, height: state.update(size=(width, height)))
    monkeypatch.setattr(cv2, "imshow", lambda title, bgr: state["shown"].append(bgr[..., ::-1].copy()))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: state["keys"].pop(0) if state["keys"] else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, which: float(state["open"]))
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: state.update(open=False))
    return state


def inverted(frame: Frame) -> tuple[Frame, np.ndarray]:
    return frame, 255 - frame.rgb


def plain(frame: np.ndarray, stylized: np.ndarray) -> np.ndarray:
    return stylized


def show(source: FilmSource, stylize: Callable[[Frame], tuple[Frame, np.ndarray]] = inverted) -> bool:
    return live_engine.show(source, None, source.size, stylize, plain)


def test_stylized_frames_are_shown_and_the_window_is_closed_at_the_end(screen, capsys):
    assert show(Frames([0.0, 0.01, 0.02]))
    assert [int(rgb[0, 0, 0]) for rgb in screen["shown"]][-1] == 253 and screen["open"] is False
    assert screen["size"] == (4, 2) and screen["title"] == "stylenet frames: q ends it"
    assert "frames: " in capsys.readouterr().err


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x100000 + 27])
def test_q_and_esc_end_it(screen, key: int):
    screen["keys"] = [-1, ord("x"), key]
    assert not show(Frames([0.0, 1000.0]))  # nobody waits for the second frame
    assert len(screen["shown"]) <= 2 and screen["open"] is False


def test_the_windows_cross_and_ctrl_c_end_it(screen):
    def crossed(frame: Frame) -> tuple[Frame, np.ndarray]:
        screen["open"] = False
        return inverted(frame)

    def interrupted(frame: Frame) -> tuple[Frame, np.ndarray]:
        if calls.append(1) or len(calls) > 1:  # the first call is the warm-up
            raise KeyboardInterrupt
        return inverted(frame)

    calls: list[int] = []
    assert not show(Frames([0.0, 1000.0]), crossed)
    assert not show(Frames([0.0, 1000.0]), interrupted)
    assert screen["open"] is False


def test_frames_that_come_while_the_network_works_are_dropped_and_said_so(screen, capsys):
    source, all_read = Frames([0.0] * 5, endless=True), threading.Event()

    class Watched(Frames):
        def __iter__(self) -> Iterator[Frame]:
            yield from source
            all_read.set()

    def slow(frame: Frame) -> tuple[Frame, np.ndarray]:
        if frame.rgb.any() or calls:
            all_read.wait(60)
        calls.append(1)
        return inverted(frame)

    calls: list[int] = []
    assert show(Watched([0.0] * 5, endless=True), slow)
    shown = [255 - int(rgb[0, 0, 0]) for rgb in screen["shown"]]
    assert shown[-1] == 4 and len(shown) <= 2 and shown == sorted(shown)
    assert (
        f"{len(shown)} frames shown" in (told := capsys.readouterr().err) and f"; {5 - len(shown)} were dropp" in told
    )


# --- from the front door


@pytest.fixture
def brief(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film of 0.4 s in the present folder."""
    monkeypatch.chdir(tmp_path)
    return film(tmp_path / "in.mp4", moments=TENTHS, sound=True).relative_to(tmp_path)


def stylized(**options: Any) -> list[Path]:
    return list(stylenet.stylize_files("the_scream_lite", device="cpu", backend="torch", preview=True, **options))


def test_a_film_is_shown_and_nothing_is_written(brief: Path, screen):
    assert stylized(input=brief) == []
    assert 1 <= len(screen["shown"]) <= 4 and screen["shown"][0].shape == (48, 64, 3)
    assert [file.name for file in Path.cwd().iterdir()] == ["in.mp4"]


def test_what_is_shown_is_recorded_with_its_times_and_sound(brief: Path, screen):
    assert stylized(input=brief, output="out.mp4", temporal=0) == [Path("out.mp4")]
    found = times(Path("out.mp4"))
    assert len(found) == len(screen["shown"]) and set(found) <= set(times(brief))
    with av.open("out.mp4") as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        recorded = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert np.abs(recorded[0].astype(int) - screen["shown"][0]).mean() < 8
    with pytest.raises(UserError, match="out.mp4 exists: give overwrite=true"):
        stylized(input=brief, output="out.mp4")


def test_a_camera_is_shown_smaller_until_q(brief: Path, screen, monkeypatch):
    """The camera is a film that OpenCV reads: the same class and calls as for the device."""
    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: opened("in.mp4"))
    screen["keys"] = [-1] * 3 + [ord("q")]
    assert stylized(input="camera:0", size=32) == []
    assert screen["shown"] and screen["shown"][0].shape == (24, 32, 3)
    assert "camera:0" in screen["title"]


def test_mistakes_are_told_before_a_window_opens(brief: Path, screen):
    film(Path("other.mp4"))
    Image.new("RGB", (8, 8)).save("photo.png")
    for options, message in (
        ({"input": [brief, "other.mp4"]}, "preview=true shows one film or camera, not 2 inputs: give one"),
        ({"input": "photo.png"}, "preview=True is for films, but there is none among the inputs"),
        ({"input": brief, "skip_existing": True}, "preview=true and skip_existing=true contradict each other"),
    ):
        with pytest.raises(UserError, match=message):
            stylized(**options)
    with pytest.raises(UserError, match="preview=2: give true or false"):
        FilmOptions(preview=2)  # type: ignore[arg-type]
    assert screen["open"] is None


def test_the_flow_is_left_out_unless_it_is_asked_for():
    assert (FilmOptions(preview=True).steadiness, FilmOptions(preview=True, temporal=0.5).steadiness) == (0, 0.5)
    assert FilmOptions().steadiness == 0.6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the two libraries agree elsewhere")
def test_opencv_comes_before_pyav_whose_libraries_would_hang_its_windows(brief: Path):
    def told(code: str) -> str:
        variables = os.environ | {"PYTHONPATH": str(ROOT), "DISPLAY": ":0", "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-c", code]
        return subprocess.run(line, env=variables, capture_output=True, text=True, timeout=300).stderr

    late = "preview=true hangs where PyAV is imported before OpenCV: import cv2 first, then av."
    assert late in told("import av; from stylenet.video.window import prepare; prepare()")
    assert late not in told("import cv2, av; from stylenet.video.window import prepare; prepare()")
    show = "list(stylenet.stylize_files('the_scream_lite', 'in.mp4', preview=True, device='cpu', backend='torch'))"
    assert late not in told(f"import stylenet; {show}")  # no module of ours imports PyAV before


def test_without_windows_or_a_screen_one_line_says_what_to_do(brief: Path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="^preview=true needs a screen, but DISPLAY is unset"):
        stylized(input=brief)
    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(
        UserError, match="the one here has none: pip uninstall -y opencv-python-headless && pip install"
    ):
        stylized(input=brief)
