"""A loaded style in other processes and in copies: the same picture, or at once a line that says what to do."""

import copy
import io
import multiprocessing
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

import stylenet
from stylenet.images.image_io import open_rgb
from stylenet.nets import checkpoint, registry
from stylenet.runtime.options import Runtime
from stylenet.stylizing.stylizer import Stylizer

CAN_FORK = "fork" in multiprocessing.get_all_start_methods()
BACKENDS = ["torch", "openvino", "onnx"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A style file of two styles."""
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    net = registry.build("johnson", widths=(4, 4, 4), blocks=1, n_styles=2, noise=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return checkpoint.save(tmp_path / "two.safetensors", net, {"styles": [{"name": "a"}, {"name": "b"}]})


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


def installed(backend: str) -> str:
    for module in {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnxscript"]}.get(backend, []):
        pytest.importorskip(module)
    return backend


def painted(style: Any) -> np.ndarray:
    return style(photo())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_style_is_pickled_and_copied(file: Path, backend: str) -> None:
    """With its options, and without its file."""
    options: Any = {"mix": "b", "strength": 0.7, "device": "cpu", "backend": installed(backend), "tile": "off"}
    style: Any = stylenet.load(file, **options)
    wanted = style(photo())
    assert (stylenet.load(file, **{**options, "mix": "a"})(photo()) != wanted).any()
    file.unlink()
    for again in (pickle.loads(pickle.dumps(style)), copy.copy(style), copy.deepcopy(style)):
        assert type(again) is Stylizer and (again.name, again.tile, again.info) == (style.name, "off", style.info)
        assert type(again.run) is type(style.run)
        assert (again(photo()) == wanted).all()
    assert (style(photo()) == wanted).all()


def test_what_is_made_of_styles_is_pickled_too(file: Path) -> None:
    masks: Any = [Image.new("L", (8, 8), 200), Image.new("L", (8, 8), 90)]
    masked = stylenet.load([file, file], device="cpu", backend="torch", mask=masks)
    assert (pickle.loads(pickle.dumps(masked))(photo()) == masked(photo())).all()
    by_hand = Stylizer(*checkpoint.load(file), runtime=Runtime(tile=8))
    assert (copy.deepcopy(by_hand)(photo()) == by_hand(photo())).all()


def test_a_spawned_pool_is_given_a_style(file: Path) -> None:
    style = stylenet.load(file, device="cpu", backend="torch")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(painted, style).result(120)
    assert np.abs(found.astype(int) - style(photo())).max() <= 1


def in_a_fork(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A program that has loaded a style, stylized with it and forked, and what ``program`` says in the child."""
    text = (
        "import sys, multiprocessing, numpy as np, stylenet, torch\n"
        "torch.set_num_threads(2)\n"
        "photo = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)\n"
        "style = stylenet.load(sys.argv[1], device='cpu', backend=sys.argv[2])\n"
        "wanted = style(photo).astype(int)\n"
        "def child():\n"
        f"    {program}\n"
        "child_process = multiprocessing.get_context('fork').Process(target=child)\n"
        "child_process.start()\n"
        "child_process.join(60)\n"
        "hangs = child_process.is_alive()\n"
        "child_process.kill()\n"
        "sys.exit('it hangs' if hangs else 0 if (np.abs(style(photo) - wanted) <= 1).all() else 3)\n"
    )
    command = [sys.executable, "-c", text, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT)


SAME = "print(int(np.abs({} - wanted).max()), torch.get_num_threads())"
FORKED: dict[str, str] = {
    "as it is": SAME.format("style(photo)"),
    "in strips": f"style.tile = 8; {SAME.format('style(photo)')}",
    "loaded anew": SAME.format("stylenet.load(sys.argv[1], device='cpu')(photo)"),
    "a copy": f"import copy; {SAME.format('copy.deepcopy(style)(photo)')}",
}

FORKS = [("openvino", "as it is"), ("onnx", "as it is"), *(("torch", use) for use in FORKED)]


@pytest.mark.skipif(not CAN_FORK, reason="no fork here")
@pytest.mark.parametrize(("backend", "use"), FORKS)
def test_a_forked_child_paints_the_same(file: Path, backend: str, use: str) -> None:
    done = in_a_fork(FORKED[use], file, installed(backend))
    assert done.returncode == 0, done.stderr
    most, threads = map(int, done.stdout.split())
    assert most <= 1 and threads == 1
    assert "load the style after the fork" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(not CAN_FORK, reason="no fork here")
def test_a_backend_that_does_not_survive_a_fork_says_so(file: Path) -> None:
    program = "stylenet.load(sys.argv[1], device='cpu', backend='openvino')"
    done = in_a_fork(program, file, installed("openvino"))
    assert "UserError: backend=openvino does not work in a forked process: start it by spawn" in done.stderr


@pytest.mark.skipif(not CAN_FORK, reason="no fork here")
def test_a_fork_before_the_load_costs_nothing(file: Path) -> None:
    text = (
        "import os, sys, stylenet.stylizing.stylizer, torch\n"
        "torch.set_num_threads(2)\n"
        "if os.fork(): sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "style = stylenet.load(sys.argv[1], device='cpu')\n"
        "style('photo.png')\n"
        "print(torch.get_num_threads())\n"
    )
    Image.fromarray(photo()).save(file.parent / "photo.png")
    done = subprocess.run([sys.executable, "-c", text, file], capture_output=True, text=True, cwd=file.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_threads_share_a_style(file: Path) -> None:
    style = stylenet.load(file, device="cpu", backend="torch")
    wanted, found = style(photo()), []
    threads = [threading.Thread(target=lambda: found.append(style(photo()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all((one == wanted).all() for one in found)


# --- the examples of docs/processes.md


def example(number: int, place: Path) -> Path:
    text = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "processes.md").read_text(), re.DOTALL)[number]
    file = place / f"example_{number}.py"
    file.write_text(text)
    return file


def test_the_server_of_the_docs(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = example(0, tmp_path)
    file.write_text(file.read_text().replace("8000", str(port)))
    with subprocess.Popen([sys.executable, file], stderr=subprocess.DEVNULL, cwd=tmp_path) as server:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            content = io.BytesIO()
            Image.fromarray(photo()).save(content, "PNG")
            with urlopen(f"http://127.0.0.1:{port}", content.getvalue(), timeout=60) as response:
                assert Image.open(io.BytesIO(response.read())).size == (48, 40)
            with pytest.raises(HTTPError) as refused:
                urlopen(f"http://127.0.0.1:{port}", b"no picture", timeout=60)
            assert refused.value.code == 400
            refused.value.close()
        finally:
            server.kill()


def test_the_pool_of_the_docs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(photo()).save(tmp_path / name)
    command = [sys.executable, example(1, tmp_path), "a.png", "b.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert (done.returncode, done.stdout) == (0, "a.png_painted.png\nb.png_painted.png\n"), done.stderr
    assert open_rgb(tmp_path / "b.png_painted.png").size == (48, 40)
