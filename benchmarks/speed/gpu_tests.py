"""The tests that need a GPU, found among all, each with its outcome. Knows nothing about what they test."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NEEDS_GPU = re.compile(r"\b(gpu|cuda|triton)\b", re.IGNORECASE)
OF_GPU = re.compile(r"cuda|triton|kernel")  # names of files; not gpu: test_gpu.py would run itself


def files(tests: Path) -> list[Path]:
    """Test files whose text has a skip and a GPU, CUDA or Triton in it: only these are imported."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text()
        if OF_GPU.search(path.stem) or ("skip" in text and NEEDS_GPU.search(text)):
            found.append(path)
    return found


def needs_gpu(item: pytest.Item) -> bool:
    """Whether a test is skipped for want of a GPU, or belongs to a file of such tests."""
    reasons = [str(mark.kwargs.get("reason", "")) for mark in item.iter_markers("skipif")]
    names = [mark.name for mark in item.iter_markers()] + list(getattr(item, "fixturenames", []))
    return bool(OF_GPU.search(item.path.stem)) or any(NEEDS_GPU.search(one) for one in [*reasons, *names])


class Told:
    """A plugin of pytest: keeps the tests that need a GPU; calls ``begun`` and ``ended`` for each."""

    def __init__(self, begun: Callable[[str], Any], ended: Callable[[dict[str, Any]], Any]):
        self.begun, self.ended = begun, ended

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        others = [item for item in items if not needs_gpu(item)]
        items[:] = [item for item in items if needs_gpu(item)]
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.begun(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            row: dict[str, Any] = {"test": report.nodeid, "outcome": report.outcome}
            row["seconds"] = round(report.duration, 2)
            if report.failed:
                row["error"] = report.longreprtext[-2000:]
            elif report.skipped and isinstance(report.longrepr, tuple):
                row["error"] = report.longrepr[2]
            self.ended(row)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported, or skips itself, is a row too."""
        if not report.passed:
            row = {"test": report.nodeid, "outcome": report.outcome, "seconds": 0.0}
            self.ended(row | {"error": report.longreprtext[-2000:]})


def run(tests: Path, told: Told) -> None:
    """Run them in this process."""
    words = ["-p", "no:cacheprovider", "--continue-on-collection-errors"]
    pytest.main([*map(str, files(tests)), *words], plugins=[told])
