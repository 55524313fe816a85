"""What benchmarks/stress/leaks.py sees and how it judges; its 2,000 steps take minutes and are not run here."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks.stress.leaks import Sample, verdict
from benchmarks.stress.watching import belonging, gone, looked_at
from stylenet.system.errors import UserError


def samples(main: list[float], files: list[int]) -> list[Sample]:
    """At steps 100, 200 ... 800."""
    return [Sample(100 * k, m, 50.0, f, 9, 3) for k, (m, f) in enumerate(zip(main, files, strict=True), 1)]


def test_growth_is_that_of_the_last_quarter_over_the_second():
    """Of 800 steps: 200 to 399 and 600 to 800, so (130 + 132 + 134) / 3 - (121 + 123) / 2."""
    found = verdict(samples([90, 121, 123, 400, 125, 130, 132, 134], [5, 7, 6, 90, 8, 9, 6, 5]), 800)
    assert found["main_MB"] == pytest.approx(10) and found["others_MB"] == 0
    assert (found["files"], found["threads"], found["processes"]) == (2, 0, 0)


def test_too_few_samples_are_no_verdict():
    with pytest.raises(UserError, match="more steps"):
        verdict(samples([100] * 2, [5] * 2), 800)


def test_a_process_and_those_it_started_are_seen_also_after_its_end_until_they_are_gone():
    inner = "import time; print('up', flush=True); time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, start_new_session=True) as first:
        assert first.stdout and first.stdout.readline() == b"up\n"
        pids = belonging(first.pid)
        assert len(pids) == 2 and first.pid in pids
        seen = looked_at(first.pid)
        assert seen and seen.memory > 1 and seen.files >= 3 and seen.threads == 1
        first.kill()
        first.wait()
        (left,) = belonging(first.pid)
        assert gone(pids, patience=0) is None
        os.kill(left, signal.SIGKILL)
        assert gone(pids, patience=60) is not None
    assert looked_at(first.pid) is None
