"""``stylenet sheet`` and ``stylenet compare`` as a user runs them: a page beside the photo, one line for a mistake."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from stylenet.cli import hydra_app
from stylenet.files import planning, sheet_file
from stylenet.images.image_io import open_rgb
from stylenet.system.errors import UserError

Command = Callable[..., subprocess.CompletedProcess]
FAST = ("device=cpu", "backend=torch", "size=64")


@pytest.fixture
def command(place: Path) -> Command:
    """Runs ``stylenet`` in a folder with the photo ``my photo, (1).png``."""
    Image.new("RGB", (96, 64), "red").save("my photo, (1).png")

    def run(*words: str) -> subprocess.CompletedProcess:
        variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "error"}
        line = [sys.executable, "-m", "stylenet", *words]
        return subprocess.run(line, capture_output=True, text=True, env=variables, timeout=300)

    return run


def test_a_sheet_is_written_beside_the_photo_and_not_replaced(command: Command):
    done = command("sheet", "my photo, (1).png", "styles=tiny", "styles=the_scream_lite", *FAST)
    assert (done.returncode, done.stdout) == (0, "my photo, (1)_styles.jpg\n"), done.stderr
    with Image.open("my photo, (1)_styles.jpg") as page:
        assert (page.format, page.size) == ("JPEG", (2 * 21 + 3 * 192 + 2 * 14, 2 * 21 + 43 + 45))
    assert "3/3" in done.stderr and "Traceback" not in done.stderr
    before = Path("my photo, (1)_styles.jpg").read_bytes()
    again = command("sheet", "input=my photo, (1).png", "styles=tiny", *FAST)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == ("my photo, (1)_styles.jpg exists: give overwrite=true to replace it, or another output=.\n")
    assert Path("my photo, (1)_styles.jpg").read_bytes() == before
    done = command("sheet", "input=my photo, (1).png", "styles=tiny", "overwrite=true", "columns=1", *FAST)
    assert done.returncode == 0 and open_rgb("my photo, (1)_styles.jpg").size[0] == 2 * 21 + 192
    assert sorted(os.listdir()) == ["checkpoints", "my photo, (1).png", "my photo, (1)_styles.jpg"]


def test_a_comparison_of_settings_and_checkpoints(command: Command):
    settings = ["settings=strength=0.5", "settings=stroke=2,color=luminance"]
    done = command("compare", "my photo, (1).png", "ckpts=tiny", *settings, *FAST)
    assert (done.returncode, done.stdout) == (0, "my photo, (1)_compared.jpg\n"), done.stderr
    three = open_rgb("my photo, (1)_compared.jpg").size
    listed = 'settings=["strength=0.5","stroke=2,color=luminance"]'
    both = command("compare", "input=my photo, (1).png", "ckpts=[tiny,tiny]", listed, "output=new/both.png", *FAST)
    assert (both.returncode, both.stdout) == (0, "new/both.png\n"), both.stderr
    assert open_rgb("new/both.png").size == (three[0], three[1] + 43 + 45 + 14)


def test_mistakes_get_one_line(command: Command):
    photo = "input=my photo, (1).png"
    for words, message in (
        (["sheet", photo, "input=checkpoints"], "input=my photo, (1).png, checkpoints: give one photo"),
        (["sheet", photo, "colums=2"], "There is no option 'colums'. Did you mean columns=?"),
        (["compare", photo], "Please give ckpts=..."),
        (["compare", photo, "ckpts=tiny", "settings=color=photo", *FAST], "color=photo: give style, luminance or"),
    ):
        done = command(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert message in done.stderr


@pytest.mark.parametrize("value", [".", "*.png", "film.mp4", "-", "/dev/stdin", ["a.png", "b.png"], [], [""], None, 3])
def test_one_photo_is_asked_for(place: Path, value):
    for name in ("a.png", "b.png", "film.mp4"):
        Image.new("RGB", (8, 8)).save(name, "PNG")
    with pytest.raises(UserError, match="^input=.*: give one photo, the name of a picture file.$"):
        sheet_file.sheet_file(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "absent.png"}, "input=absent.png: there is no such file or folder"),
        ({"output": "-"}, "output=-: a sheet is written to a file"),
        ({"output": ""}, "output= is empty"),
        ({"output": "a.txt"}, "Cannot write a.txt: the name must end in one of"),
        ({"quality": 0}, "quality=0"),
        ({"overwrite": "yes"}, "overwrite=yes: give true or false"),
        ({"columns": 400, "size": 512, "styles": ["tiny"] * 400}, "JPEG holds sides up to 65500 pixels, not 82428"),
    ],
)
def test_mistakes_are_named_before_any_picture_is_made(place: Path, options: dict, message: str, monkeypatch):
    monkeypatch.setattr("stylenet.stylizing.stylizer.load_one", lambda *args: pytest.fail("a network was loaded"))
    Image.new("RGB", (8, 8)).save("a.png")
    with pytest.raises(UserError, match=message):
        sheet_file.sheet_file(**{"input": "a.png", "styles": "tiny", **options})


def test_a_folder_as_output_and_a_jpeg_by_default(place: Path):
    Image.new("RGB", (8, 8)).save("a.gif")
    assert sheet_file.sheet_file("a.gif", "out", styles="tiny", size=64) == Path("out/a_styles.jpg")
    assert sheet_file.compare_file("a.gif", "tiny", "b.webp", size=64) == Path("b.webp")
    with Image.open("out/a_styles.jpg") as page:
        assert page.format == "JPEG" and page.info["icc_profile"]


def test_sheets_are_no_photos_of_the_next_run(place: Path):
    for name in ("a.jpg", "a_styles.jpg", "a_compared.jpg", "b_styles.jpg"):
        Image.new("RGB", (8, 8)).save(name)
    assert [job.source.name for job in planning.plan(["."], None, "udnie")] == ["a.jpg", "b_styles.jpg"]


def test_files_without_a_key_belong_to_the_first_key_and_each_key_gathers_its_own(place: Path):
    Path("a b.jpg").touch()
    words = ["a b.jpg", "ckpts=x", "size=3", "settings=mix=[1,2]", "ckpts=[y, z]", "settings=null", "input=c"]
    typed = hydra_app.as_typed(words, ["input", "ckpts", "settings"], ["input", "ckpts", "settings"])
    expected = ["input=['a b.jpg','c']", "ckpts=['x','y','z']", "size=3", "settings=['mix=[1,2]']", "settings=null"]
    assert typed == expected
