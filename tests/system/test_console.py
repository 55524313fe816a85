"""Programs whose stdout and stderr are closed, full, absent or mere objects: the work is done, without a bar."""

import io
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from stylenet import stylize_files
from stylenet.images.image_io import open_rgb
from stylenet.nets import checkpoint
from stylenet.system import console

STYLIZE = f'"{sys.executable}" "{ROOT}/scripts/stylize.py" ckpt=tiny device=cpu backend=torch'
TRAIN = (
    f'"{sys.executable}" "{ROOT}/scripts/train.py" style=starry_night net=lite steps=2 data.size=64 data.batch_size=1 '
    "data.val=2 data.val_size=64 data.workers=0 style_size=96 logger=none hydra.run.dir=run out=run"
)


@pytest.fixture
def place(place: Path) -> Path:
    """Two photos too."""
    (place / "in").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (20, 16), "red").save(place / "in" / f"{name}.jpg")
    return place


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300)


class WriteOnly:
    """What a window of another program puts in the place of stdout: it has ``write`` and nothing more."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


class Broken(io.StringIO):
    """The terminal has gone."""

    def write(self, text: str) -> int:
        raise OSError(9, "Bad file descriptor")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


if find_spec("absl"):
    import_module("absl.logging")  # TensorBoard's: to the end it keeps the stderr that it first sees

STREAMS = {"None": lambda: None, "closed": closed, "write only": WriteOnly, "broken": Broken}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
@pytest.mark.parametrize("how", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_folder_with_streams_closed(place: Path, how: str) -> None:
    if "full" in how and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = shell(f"{STYLIZE} input=in output=out {how}")
    assert (done.returncode, done.stderr) == (0, "") or "2>" not in how
    assert done.returncode == 0 and "Error" not in done.stderr
    assert done.stdout == ("" if ">&-" in how.replace("2>&-", "") else "out/a_tiny.jpg\nout/b_tiny.jpg\n")
    assert sorted(os.listdir("out")) == ["a_tiny.jpg", "b_tiny.jpg"]
    for name in os.listdir("out"):
        assert open_rgb(f"out/{name}").size == (20, 16)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
def test_a_training_with_streams_closed(place: Path) -> None:
    done = shell(f"{TRAIN} >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checkpoint.load("run/starry_night.safetensors")[1]["training"]["steps"] == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the streams")
def test_mistakes_and_pictures_without_their_stream(place: Path) -> None:
    assert shell(f"{STYLIZE} input=nowhere.jpg 2>&-").returncode == 2
    done = shell(f"{STYLIZE} input=in/a.jpg output=- >&-")
    assert done.returncode == 2 and "stdout cannot take a picture here" in done.stderr
    done = shell(f"{STYLIZE} input=- output=x.png <&-")
    assert done.returncode == 2 and "nothing is piped in" in done.stderr


def test_the_script_inside_another_program(place: Path) -> None:
    """As a host of plug-ins runs it: by its path, with streams of its own making."""
    program = (
        "import runpy, sys\n"
        "class Window:\n"
        "    def __init__(self): self.text = ''\n"
        "    def write(self, text): self.text += text\n"
        "streams = sys.stdout, sys.stderr\n"
        "sys.stdout, sys.stderr = window = Window(), Window()\n"
        f"sys.argv = ['stylize.py', 'ckpt=tiny', 'device=cpu', 'backend=torch', 'input=in', 'output=out']\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'stylize.py')!r}, run_name='__main__')\n"
        "sys.stdout, sys.stderr = streams\n"
        "print(window[0].text, end='')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "out/a_tiny.jpg\nout/b_tiny.jpg\n"), done.stderr


@pytest.mark.parametrize("kind", STREAMS)
def test_from_python(place: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, STREAMS[kind]())
    made = list(stylize_files("tiny", "in", "out", device="cpu", backend="torch"))
    assert [path.name for path in made] == ["a_tiny.jpg", "b_tiny.jpg"]
    made = list(stylize_files("tiny", "in/a.jpg", "strips.png", device="cpu", tile=8))
    assert open_rgb(made[0]).size == (20, 16)


@pytest.mark.parametrize("kind", STREAMS)
def test_every_bar_and_line(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sys, "stderr", STREAMS[kind]())
    with console.bar(total=3, mininterval=0) as bar:
        for _ in range(3):
            bar.update()
        console.warn_line("something")
    if kind == "write only":
        assert "3/3" in sys.stderr.text and "something\n" in sys.stderr.text  # type: ignore[attr-defined]


def test_a_bar_steps_aside_for_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with console.bar(total=3, mininterval=0) as bar:
        bar.update()
        console.warn_line("something")
    assert isinstance(sys.stderr, io.StringIO)
    line = next(line for line in sys.stderr.getvalue().split("\n") if "something" in line)
    assert line.split("\r")[-1] == "something"


@pytest.mark.parametrize("words", [["styles"], [], ["--version"], ["styles", "-h"]], ids=" ".join)
def test_a_reader_that_closes_the_pipe_ends_a_command_quietly(words):
    """As ``stylenet styles | head`` does."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "stylenet", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
