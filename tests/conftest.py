"""What every test shares: W&B offline, few threads, the real data, and the scripts run as a user runs them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if not any(
    Path(place).exists() for place in ("/proc/driver/nvidia", "/dev/nvidiactl")
):  # before anything imports triton: its kernels run on the CPU then
    os.environ.setdefault("TRITON_INTERPRET", "1")

if "PYTEST_XDIST_WORKER" in os.environ:  # as many threads as cores in each of several processes wait for each other
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    threads = max(1, (os.cpu_count() or 1) // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(min(threads, 2)))  # a container may show more cores than it has

import torch

from stylenet.nets import checkpoint, registry

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"

RunScript = Callable[..., subprocess.CompletedProcess]
# Fixtures of tests/page and of the hub: a second conftest.py would hide this one from imports.
pytest_plugins = ["pages", "hub_server"]

# A shell's background job and nohup start with Ctrl-C ignored, and what they start inherits it: tests that press Ctrl-C
# would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# More threads than this only fight over tests' small tensors.
torch.set_num_threads(min(4, torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def wandb_stays_here(tmp_path_factory: pytest.TempPathFactory):
    """No test, nor a script it starts, reaches W&B's servers or writes to the user's own W&B folders."""
    home = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.delenv("WANDB_API_KEY", raising=False)
        for folder in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{folder}_DIR", str(home))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and paintings beside the checkout."""
    if not DATA.is_dir():
        pytest.skip("no folder shared/data beside the checkout: nothing real to try this on")
    return DATA


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder: not the project's, and with the style tiny."""
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1)
    checkpoint.save(tmp_path / "checkpoints" / "tiny.safetensors", net, {"styles": [{"name": "tiny"}]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def two_styles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small network with a frame and the styles a and b, whose pictures have some contrast."""
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(8, 8, 8), blocks=1, n_styles=2, frame=8)
    net.get_submodule("last").weight.data.mul_(10)  # type: ignore[union-attr, operator]
    folder = tmp_path_factory.mktemp("two_styles")
    return checkpoint.save(folder / "two.safetensors", net, {"styles": [{"name": "a"}, {"name": "b"}]})


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    """``run_script("stylize.py", "ckpt=...", cwd=tmp_path)``: a script of this project in a process of its own.

    Runs in ``tmp_path`` unless told otherwise. ``env`` adds variables; ``stdin`` (bytes) is piped in, else it is empty.
    Returns the CompletedProcess with ``returncode`` and text ``stdout`` and ``stderr`` (bytes with ``text=False``).
    """

    def run(
        script: str,
        *arguments: str | Path,
        cwd: Path = tmp_path,
        env: dict[str, str] | None = None,
        stdin: bytes = b"",
        text: bool = True,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess:
        variables = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())} | (env or {})
        command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=variables, input=stdin, capture_output=True, timeout=timeout)
        if not text:
            return done
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run
