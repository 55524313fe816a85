"""The wheel in an environment without the clone: one command that works from any folder, its configs with it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from stylenet.system.places import home

Stylenet = Callable[..., subprocess.CompletedProcess[str]]
TINY = ["steps=2", "data.size=32", "data.margin=0", "data.batch_size=1", "data.val=1", "data.val_size=32"]
TINY += ["data.workers=0", "style_size=64", "logger=none", "net.widths=[4,4,4]", "net.blocks=1"]
TINY += ["~loss.style_layers.relu3_3", "~loss.style_layers.relu4_3", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs. What stylenet needs is this environment's; stylenet itself is not."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode != 0 and "hatchling" in done.stderr:
        pytest.skip("the package index, where hatchling comes from, cannot be reached")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    inside = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    Path(inside, "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what it says is read, no .pth in it
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python.parent


@pytest.fixture
def stylenet(installed: Path, tmp_path: Path) -> Stylenet:
    """``stylenet("styles")``: the installed command, in a folder that is nobody's."""
    shutil.copy(ROOT / "stylenet/assets/photos/val/castle.jpg", tmp_path / "photo.jpg")

    def run(*words: str, program: tuple[str, ...] = ("stylenet",), **more: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more
        ours |= {"STYLENET_HOME": str(home()), "OMP_NUM_THREADS": "1"}
        command = [str(installed / program[0]), *program[1:], *words]
        return subprocess.run(command, cwd=tmp_path, env=ours, capture_output=True, text=True, timeout=300)

    return run


def test_it_is_the_wheel_that_runs(stylenet: Stylenet):
    where = stylenet("-c", "import stylenet; print(stylenet.__file__)", program=("python",)).stdout
    assert "site-packages" in where and str(ROOT) not in where


def test_the_files_of_the_page_are_in_it(stylenet: Stylenet):
    where = "from stylenet.page.build import STATIC; print(*sorted(file.name for file in STATIC.iterdir()))"
    found = stylenet("-c", where, program=("python",)).stdout.split()
    assert found == sorted(file.name for file in (ROOT / "stylenet" / "page" / "static").iterdir())


def test_stylize(stylenet: Stylenet, tmp_path: Path):
    done = stylenet("stylize", "ckpt=the_scream_lite", "input=photo.jpg", "size=64", "device=cpu", "backend=torch")
    assert (done.returncode, done.stdout) == (0, "photo_the_scream_lite.jpg\n"), done.stderr
    with Image.open(tmp_path / "photo_the_scream_lite.jpg") as painted:
        assert max(painted.size) == 64


def test_train_writes_into_the_current_folder_with_a_style_of_ones_own(stylenet: Stylenet, tmp_path: Path):
    """A two-step training of a painting that ./configs names; the style is then among those that ckpt= takes."""
    (tmp_path / "configs/style").mkdir(parents=True)
    mine = "# @package style\nmine:\n  image: photo.jpg\n  title: My Castle, Me, 2020\n"
    (tmp_path / "configs/style/mine.yaml").write_text(mine)
    done = stylenet("train", "style=mine", *TINY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/checkpoints/mine.safetensors\n"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]
    found = json.loads(stylenet("styles", "--json").stdout)
    (style,) = [one for one in found if one["ckpt"] == "mine"]
    assert (style["title"], style["year"], style["network"]) == ("My Castle, Me", "2020", "johnson 4-4-4")
    assert Path(style["file"]) == Path("checkpoints/mine.safetensors") and style["training"]["steps"] == 2
    lines = stylenet("styles").stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("mine ")][0][:4] == ["mine", "My", "Castle,", "Me"]
    assert any(line.startswith("gallery:great_wave ") and "about 1831" in line for line in lines)


def test_configs_of_ones_own_come_first(stylenet: Stylenet, tmp_path: Path):
    theirs, other = tmp_path / "theirs", tmp_path / "configs"
    (theirs / "experiment").mkdir(parents=True)
    (theirs / "experiment/quick.yaml").write_text("# @package _global_\nsteps: 77\n")
    asked = ["train", "style=great_wave", "experiment=quick", "--cfg=job"]
    assert "steps: 77\n" in stylenet(*asked, "--config-dir=theirs").stdout
    assert "steps: 350\n" in stylenet(*asked).stdout
    other.mkdir()
    (other / "train.yaml").write_text("steps: 5\n")  # another program's
    done = stylenet(*asked)
    assert "steps: 350\n" in done.stdout and "configs/train.yaml here is another program's" in done.stderr
    done = stylenet(*asked, "--config-dir=nowhere")
    assert (done.returncode, done.stderr) == (2, "--config-dir=nowhere: there is no such folder.\n")


def test_all_processes_of_a_training_have_the_configs_of_ones_own(stylenet: Stylenet, tmp_path: Path):
    (tmp_path / "theirs/style").mkdir(parents=True)
    (tmp_path / "theirs/style/mine.yaml").write_text("# @package style\nmine:\n  image: photo.jpg\n  title: null\n")
    both = ["trainer=ddp", "trainer.devices=2", "data.val=2"]
    done = stylenet("train", "style=mine", "--config-dir=theirs", *TINY, *both)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/checkpoints/mine.safetensors\n"), done.stderr


def test_answers_fit_on_a_screen(stylenet: Stylenet):
    for words, code in (([], 0), (["-h"], 0), (["styl"], 2), (["ckpt=a"], 2), (["styles", "--jsn"], 2)):
        done = stylenet(*words)
        assert done.returncode == code
        said = done.stdout if code == 0 else done.stderr
        assert 0 < len(said.splitlines()) <= 24 and "Traceback" not in done.stderr
    assert "Did you mean styles?" in stylenet("styl").stderr
    assert stylenet("--version").stdout.startswith("stylenet 0.")
    assert stylenet("-m", "stylenet", "--version", program=("python",)).stdout == stylenet("--version").stdout
    assert "stylenet export ckpt=starry_night format=onnx" in stylenet("export", "--help").stdout
    assert "  stylenet sheet     put one photo into every style" in stylenet("-h").stdout


def test_tab_completes_commands_and_options(stylenet: Stylenet):
    def completed(line: str) -> list[str]:
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        return stylenet("-sc", "query=bash", **asked).stdout.split()

    assert completed("stylenet st") == ["stylize", "styles"]
    assert completed("stylenet s") == ["stylize", "styles", "sheet", "serve"]
    assert "ckpts=" in completed("stylenet compare ck") and "columns=" in completed("stylenet sheet col")
    assert completed("stylenet se") == ["serve"] and "runtime=" in completed("stylenet page run")
    assert completed("stylenet train style=great") == ["style=great_wave"]
    assert "overwrite=" in completed("stylenet stylize over")
    assert "complete " in stylenet("-sc", "install=bash").stdout
