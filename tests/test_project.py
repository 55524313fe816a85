"""The Makefile on machines that are not as it wishes: an old Python, a moved clone, a setup that was killed. What is
installed has no known holes.
"""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")

# Stands in for Python: answers what setup asks, makes a .venv whose python is itself, and keeps a diary of its tasks.
NEW = """#!/bin/sh
case "$*" in
    *"-m venv"*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >> diary ;;
    *"-m pip install"*) echo install >> diary ;;
esac
"""
OLD = """#!/bin/sh
case "$1" in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    clone = tmp_path / "it's a clone (1)"
    clone.mkdir()
    shutil.copy(ROOT / "Makefile", clone)
    (clone / "pyproject.toml").touch()
    return clone


def install(clone: Path, python: str) -> subprocess.CompletedProcess[str]:
    """What ``make setup`` does before it fetches weights, with ``python`` as the interpreter."""
    interpreter = clone.parent / "python"
    interpreter.write_text(python)
    interpreter.chmod(0o755)
    variables = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", f"PYTHON={interpreter}", ".venv/.installed"]
    return subprocess.run(command, cwd=clone, env=variables, capture_output=True, text=True)


def diary(clone: Path) -> list[str]:
    """What was done since the last look."""
    page = clone / "diary"
    words = page.read_text().split() if page.exists() else []
    page.unlink(missing_ok=True)
    return words


@needs_make
def test_an_old_python_is_named_with_the_way_out_and_nothing_is_made(clone: Path):
    done = install(clone, OLD)
    assert done.returncode != 0
    assert "Python 3.9.2" in done.stderr and "3.11 or newer" in done.stderr and "make PYTHON=" in done.stderr
    assert not (clone / ".venv").exists()


@needs_make
def test_installs_once_and_again_when_the_dependencies_change(clone: Path):
    assert install(clone, NEW).returncode == 0
    assert diary(clone) == ["venv", "install"]
    assert install(clone, NEW).returncode == 0
    assert diary(clone) == []
    os.utime(clone / "pyproject.toml", (2**32, 2**32))
    install(clone, NEW)
    assert diary(clone) == ["install"]


@needs_make
def test_a_moved_clone_is_installed_anew(clone: Path):
    install(clone, NEW)
    moved = clone.rename(clone.parent / "moved")
    diary(moved)
    assert install(moved, NEW).returncode == 0
    assert diary(moved) == ["install"]


@needs_make
def test_a_killed_setup_is_begun_again(clone: Path):
    killed = NEW.replace("echo install >> diary", "kill -9 $PPID; exit 1")
    assert install(clone, killed).returncode != 0
    assert diary(clone) == ["venv"]
    assert install(clone, NEW).returncode == 0
    assert diary(clone) == ["venv", "install"]


def test_releases_with_known_holes_are_not_allowed():
    """Of what reads files of strangers: the least version is one in which the known holes are mended."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    allowed = {one.name: one.specifier for one in map(Requirement, wanted) if one.specifier}
    holes = {
        "pytorch-lightning": ["2.6.2", "2.6.3", "2.6.5"],
        "torch": ["2.5.1", "2.9.1"],
        "pillow": ["11.2.1", "12.1.0", "12.2.0"],
        "onnx": ["1.16.2", "1.20.1"],
        "tqdm": ["4.66.2"],
        "filelock": ["3.20.0", "3.20.2"],
        "opencv-python-headless": ["4.11.0.86"],
        "ray": ["2.51.1"],
    }
    for name, versions in holes.items():
        assert not [one for one in versions if one in allowed[name]], name
