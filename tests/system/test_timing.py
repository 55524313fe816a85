"""What figures are told to hold for, and that a clock counts what it is told to."""

import subprocess
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from stylenet.system import timing
from stylenet.system.timing import Clock, commit, duration, hardware, versions


@pytest.mark.parametrize(("seconds", "said"), [(20, "1 min"), (130, "2 min"), (4800, "1 h 20 min")])
def test_durations_in_words(seconds: float, said: str):
    assert duration(seconds) == said


def test_work_is_repeated_within_its_budget_and_once_before(monkeypatch: pytest.MonkeyPatch):
    now = 0.0

    def work() -> None:
        nonlocal now
        now += 2.0 if now else 100.0  # the first is slow, and does not count

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    found = Clock(torch.device("cpu")).repeated(work, least=3, most=9, budget=9.0)
    assert found == {"median": 2.0, "min": 2.0, "max": 2.0, "measurements": 5}
    assert Clock(torch.device("cpu")).repeated(work, least=3, most=9, budget=1.0)["measurements"] == 3
    assert Clock(torch.device("cpu")).repeated(work, least=3, most=4, budget=1000)["measurements"] == 4


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch):
    """As where the code runs from its folder alone."""

    def version(name: str) -> str:
        if name == "stylenet":
            raise PackageNotFoundError(name)
        return f"of {name}"

    monkeypatch.setattr(timing, "version", version)
    assert "stylenet" not in versions() and versions()["torch"] == "of torch"


def test_machine_versions_and_commit_are_named():
    assert hardware(torch.device("cpu"))["threads"] == torch.get_num_threads()
    assert versions()["torch"].startswith(torch.__version__.split("+")[0])
    git = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(git, cwd=timing.__file__.rpartition("/")[0], capture_output=True, text=True)
    if head.returncode == 0:
        assert str(commit()).removesuffix("-changed") == head.stdout[:12]
