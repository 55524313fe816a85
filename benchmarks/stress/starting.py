"""Start scripts/train.py as a process in its own session: new, or forked from this one with the libraries loaded.

A fork saves the loading time. Knows nothing about the training.
"""

import importlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.trainings import TRAIN

OURS = {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
LIBRARIES = ("hydra.main", "hydra._internal.utils", "wandb", "stylenet.training.loggers", "stylenet.training.trainer")


class Copy:
    """What of subprocess.Popen is needed here, for a copy of this process that runs scripts/train.py."""

    def __init__(self, words: Sequence[str], stderr: Path):
        for library in LIBRARIES:
            importlib.import_module(library)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _train(words, stderr)

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        return self._ended(0)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _ended(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def started(words: Sequence[str], stderr: Path, copy: bool = False) -> Any:
    """scripts/train.py at work, with one thread and W&B offline; what it says is added to the file ``stderr``."""
    stderr.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        return Copy(words, stderr)
    ours = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"} | OURS
    command = [sys.executable, str(TRAIN), *words]
    with stderr.open("a") as file:
        return subprocess.Popen(command, env=ours, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True)


def _train(words: Sequence[str], stderr: Path) -> None:
    """Never comes back: what the process this is a copy of would do at its end is not this one's to do."""
    os.setsid()
    os.environ.update(OURS)
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for mine, its in ((0, nothing), (1, nothing), (2, said)):
        os.dup2(its, mine)
    sys.argv[:] = [str(TRAIN), *words]
    code: Any = 1
    try:
        runpy.run_path(str(TRAIN), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
