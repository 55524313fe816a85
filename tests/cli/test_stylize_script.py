"""The script as a user runs it: a real checkpoint, real files, another folder, what is printed and the exit code."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image, ImageChops

from stylenet.images.image_io import open_rgb

ROOT = Path(__file__).resolve().parents[2]
NAMES = [  # each as a user may have it, none quoted for Hydra
    "holiday (1).jpg",
    "a, b.jpg",
    "a=b.jpg",
    'it\'s "quoted".jpg',
    "[brackets].jpg",
    "{braces}.jpg",
    "back\\slash.jpg",
    "slash at the end\\",
    "$HOME ${oc.env:HOME} \\${x}.jpg",
    "Straße 東京 é.jpg",
    "~tilde #hash %20 & ; * ?.jpg",
    "./???",
    " spaces around .jpg",
]


def stylize(*words, stdin=None):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "stylize.py", "ckpt=tiny", "device=cpu", *words],
        input=stdin,
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def photo(name):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 16), "red").save(name, "JPEG")
    return name


def test_one_photo(place):
    photo("my photos/a, (1)=é.jpg")
    done = stylize("input=my photos/a, (1)=é.jpg")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "my photos/a, (1)=é_tiny.jpg\n"
    assert open_rgb("my photos/a, (1)=é_tiny.jpg").size == (20, 16)
    assert sorted(os.listdir(place)) == ["checkpoints", "my photos"]  # Hydra leaves nothing behind
    again = stylize("input=my photos/a, (1)=é.jpg")
    assert again.returncode == 2 and again.stdout == b"" and b"overwrite=true" in again.stderr
    assert again.stderr.count(b"\n") == 1


def test_a_folder_with_a_bad_file(place):
    for name in ("in/a.jpg", "in/sub/b.jpg"):
        photo(name)
    Path("in/bad.jpg").write_bytes(b"not a picture")
    done = stylize("input=in", "output=out, all=here", "size=10")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == ["out, all=here/a_tiny.jpg", "out, all=here/sub/b_tiny.jpg"]
    assert open_rgb("out, all=here/sub/b_tiny.jpg").size == (10, 8)
    end = done.stderr.decode().splitlines()[-2:]
    assert end[0] == "1 of 3 pictures failed:" and "in/bad.jpg" in end[1]


def test_several_ways_to_say_several(place):
    names = [photo(name) for name in ("a.jpg", "b c.jpg", "d.jpg")]
    expected = ["out/a_tiny.jpg", "out/b c_tiny.jpg", "out/d_tiny.jpg"]
    ways = [["input=[a.jpg, b c.jpg]", "input=d.jpg"], ["input=*.jpg"], names]
    for way in ways:
        done = stylize(*way, "output=out", "overwrite=true")
        assert (done.returncode, done.stdout.decode().splitlines()) == (0, expected)


def test_stdin_and_stdout_carry_nothing_but_the_picture(place):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), "red").save(buffer, "WEBP")
    done = stylize("input=-", stdin=buffer.getvalue())
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("WEBP", (20, 16))
    done = stylize(f"input={photo('a.jpg')}", "output=-")
    assert done.stdout.startswith(b"\xff\xd8") and done.stderr == b""
    done = stylize("input=-", stdin=b"nonsense")
    assert done.returncode == 2 and done.stdout == b"" and done.stderr.count(b"\n") == 1


def in_bash(words):
    """The script with what only a shell makes: <(...) and >(...)."""
    script = f"{sys.executable} {ROOT / 'scripts' / 'stylize.py'} ckpt=tiny device=cpu"
    return subprocess.run(["bash", "-c", words.replace("stylize", script)], capture_output=True, timeout=100)


def test_pipes_that_have_a_name_are_read_and_written(place):
    photo("a.jpg")
    Image.new("L", (20, 16), 0).save("black.png")
    shown = in_bash("stylize input=<(cat a.jpg) mask=<(cat black.png)")
    assert shown.returncode == 0 and shown.stdout.startswith(b"\xff\xd8"), shown.stderr
    with Image.open(io.BytesIO(shown.stdout)) as image:
        assert np.asarray(ImageChops.difference(image, open_rgb("a.jpg"))).max() < 9  # nothing of the style in black
    for words in ("input=<(sleep 3; cat a.jpg) output=b.jpg", "input=a.jpg output=>(cat > c.jpg; touch done)"):
        assert in_bash(f"stylize {words}").returncode == 0
    end = time.monotonic() + 20
    while not Path("done").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert open_rgb("b.jpg").size == open_rgb("c.jpg").size == (20, 16)
    for words in ("input=a.jpg output=/dev/stdout", "input=/dev/stdin output=/dev/stdout < a.jpg"):
        assert in_bash(f"stylize {words}").stdout.startswith(b"\xff\xd8")
    assert in_bash("stylize input=a.jpg output=/dev/null").returncode == 0


def test_a_named_pipe_stays_one_and_gets_the_picture_though_it_exists(place):
    photo("a.jpg")
    os.mkfifo("out.png")
    done = in_bash("cat out.png > got.png & stylize input=a.jpg output=out.png && wait")
    assert (done.returncode, done.stdout) == (0, b"out.png\n"), done.stderr
    assert Path("out.png").is_fifo() and open_rgb("got.png").size == (20, 16)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("stylize input=<(cat a.jpg) input=a.jpg", b"is one picture: it cannot be combined with other inputs"),
        ("stylize input=a.jpg input=b.jpg output=/dev/null", b"output=/dev/null holds one picture, but there are 2"),
        ("stylize input=<(echo nothing) output=c.jpg", b"it is not a picture"),
        (
            "mkfifo pipe; stylize input=pipe output=c.jpg",
            b"Cannot read pipe: it is a pipe, and nothing was written to it",
        ),
    ],
)
def test_mistakes_with_pipes_get_one_line(place, words, message):
    for name in ("a.jpg", "b.jpg"):
        photo(name)
    done = in_bash(words)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1) and message in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=absent.jpg"], "absent.jpg: there is no such file"),
        (["input=a.jpg", "device=gpu"], "device=gpu: there is no such device"),
    ],
)
def test_mistakes_get_one_line(place, words, message):
    photo("a.jpg")
    done = stylize(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert message in done.stderr.decode()


# --- the command line, without the time that torch takes

PROBE = """
import json, pathlib, sys
from omegaconf import OmegaConf
from stylenet.cli import hydra_app
from stylenet.system import places
places.CONFIGS = pathlib.Path(sys.argv.pop(1))
keys = ["ckpt", "input", "output", "style.image"]
show = lambda config: print(json.dumps(OmegaConf.to_container(config, resolve=True)))
hydra_app.run(show, "main", keys, several="input", texts=["called"])
"""


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """Runs the command line against a small config with a group, and gives (exit code, config or stderr)."""
    quiet = ["_self_", {"override hydra/job_logging": "disabled"}, {"override hydra/hydra_logging": "disabled"}]
    main = {
        "defaults": [{"style": "one"}, *quiet],
        "ckpt": None,
        "input": None,
        "output": None,
        "steps": 10,
        "must": "???",
        "called": None,
        "folder": None,
        "hydra": {"output_subdir": None, "run": {"dir": "."}},
    }
    (tmp_path / "configs" / "style").mkdir(parents=True)
    OmegaConf.save(main, tmp_path / "configs" / "main.yaml")
    for name in ("one", "two"):
        OmegaConf.save({"name": name, "image": None}, tmp_path / "configs" / "style" / f"{name}.yaml")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words):
        command = [sys.executable, "-c", PROBE, str(tmp_path / "configs"), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()] or done.stderr

    return run


def test_file_names_arrive_as_typed(probe):
    for name in NAMES:
        Path(name).touch()
    typed = [name.removeprefix("./") for name in NAMES]  # alone, ??? would mean "missing" to OmegaConf
    single = [f"{key}={name}" for key, name in zip(["ckpt", "output", "style.image"], NAMES, strict=False)]
    code, configs = probe("must=1", *single, *[f"input={name}" for name in typed])
    assert code == 0, configs
    config = configs[0]
    assert config["input"] == NAMES
    assert [config["ckpt"], config["output"], config["style"]["image"]] == NAMES[:3]


@pytest.mark.parametrize("name", NAMES)
def test_each_file_name_also_where_nothing_exists_yet(probe, name):
    code, configs = probe("must=1", f"output=new {name}", f"++style.image=new {name}")
    assert code == 0
    assert (configs[0]["output"], configs[0]["style"]["image"]) == (f"new {name}", f"new {name}")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["stepps=3"], "There is no option 'stepps'. Did you mean steps=?"),
        (["style.imag=3"], "There is no option 'style.imag'. Did you mean style.image=?"),
        (["style=three"], "There is no style 'three'. There are: one, two."),
        (["style=3"], "needs a name"),
        (["steps=3)"], "Cannot understand 'steps=3)': put quotes"),
        (["steps=0,5"], "steps=0,5: a comma separates values. Give one number with a point"),
        (["photo.jpg"], "What is 'photo.jpg'? Options are written as name=value"),
        (["--steps", "3"], "Options are written without dashes: steps=..., not --steps."),
        ([], "Please give must=..."),
    ],
)
def test_wrong_options_get_a_line_and_no_traceback(probe, words, seen):
    code, error = probe(*words)
    assert code == 2 and seen in error and error.count("\n") == 1, error


def test_file_names_go_before_hydras_own_options(probe):
    code, configs = probe("must=1", "input=a.jpg", "steps=1,2", "input=b.jpg", "-m")
    assert code == 0, configs
    assert [(config["steps"], config["input"]) for config in configs] == [(n, ["a.jpg", "b.jpg"]) for n in (1, 2)]


def test_multirun_sweeps_options_but_not_file_names(probe):
    code, configs = probe("-m", "must=1", "style=one,two", "steps=1,2", "output=a,b ${x}.jpg")
    assert code == 0
    assert [(config["style"]["name"], config["steps"]) for config in configs] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
        ("two", 2),
    ]
    assert all(config["output"] == "a,b ${x}.jpg" for config in configs)


def test_a_name_that_looks_like_a_number_stays_as_it_is(probe):
    for name in ("1_1_1", "1e3", "0012", "2024", "true", "1.50", "v2", "-1"):
        code, configs = probe("must=1", f"called={name}")
        assert (code, configs[0]["called"]) == (0, name), configs
    code, configs = probe("-m", "must=1", "called=1_1,1_2", "steps=1")
    assert [config["called"] for config in configs] == ["1_1", "1_2"]
    assert [probe("must=1", word)[1][0]["called"] for word in ("called=null", "called='a b'")] == [None, "a b"]


def test_a_tilde_is_the_home_of_the_user_in_every_option(probe, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for typed in ("~/runs", "'~/runs'", '"~/runs"'):
        code, configs = probe("must=1", f"folder={typed}", f"output={typed}")
        assert code == 0, configs
        assert configs[0]["folder"] == configs[0]["output"] == "/home/me/runs"


def test_a_tilde_in_the_folder_of_the_run_makes_no_folder_of_that_name(probe, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for number, quote in enumerate(("", "'")):
        code, configs = probe("must=1", f"hydra.run.dir={quote}~/runs/{number}{quote}", "hydra.output_subdir=.hydra")
        assert code == 0, configs
        assert (tmp_path / "home" / "runs" / str(number) / ".hydra").is_dir()
    assert os.listdir() == []


def test_help_explains_every_option():
    command = [sys.executable, ROOT / "scripts" / "stylize.py", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(OmegaConf.load(ROOT / "configs" / "stylize.yaml")) - {"defaults", "hydra"}
    assert {line.split("=")[0].strip() for line in told.splitlines() if "= " in line} >= options


def test_who_reads_no_further_gets_no_traceback(tmp_path):
    for number in range(12):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    script = f"{sys.executable} {ROOT / 'scripts' / 'stylize.py'} ckpt=the_scream_lite device=cpu backend=torch"
    shell = f"({script} input={tmp_path} output={tmp_path / 'out'} 2>{tmp_path / 'said'}) | head -1"
    assert subprocess.run(shell, shell=True, capture_output=True, text=True).stdout.count("\n") == 1
    assert "Traceback" not in (tmp_path / "said").read_text() and "Exception" not in (tmp_path / "said").read_text()
    if os.path.exists("/dev/full"):
        shell = f"{script} input={tmp_path / '00.png'} output=- >/dev/full"
        full = subprocess.run(shell, shell=True, capture_output=True)
        assert full.returncode == 2
        assert full.stderr.decode() == "Cannot write the picture to the output: No space left on device.\n"
