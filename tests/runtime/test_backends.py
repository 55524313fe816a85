"""What computes a pass: the network's own result from every backend, at awkward sizes, on real photos."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import fit, open_rgb, to_tensor
from stylenet.nets import checkpoint, registry
from stylenet.nets.fuse import fast
from stylenet.runtime import backends, graph
from stylenet.runtime.backends import choose, start
from stylenet.system.errors import UserError
from stylenet.system.memory import release_freed_memory
from stylenet.training.precision import has_bf16

CPU = torch.device("cpu")
SIZES = [(1, 1), (3, 40), (16, 16), (97, 131), (120, 64)]
KINDS = {
    "blur": {"upsample": "blur", "output": "sigmoid"},
    "nearest": {"upsample": "nearest", "output": "linear"},
    "noise": {"noise": 1, "upsample": "nearest"},
    "frame": {"noise": 1, "frame": 24},
    "narrow": {"widths": (3, 3, 3), "upsample": "nearest"},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path_factory.getbasetemp() / "home"))


def small(n_styles=1, **args):
    """A network whose pictures are neither black nor white, with norms that are not all alike."""
    torch.manual_seed(0)
    net = registry.build("johnson", **({"widths": (4, 6, 8), "blocks": 2, "n_styles": n_styles} | args)).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if ".norm" in name or "noise" in name:
                parameter.add_(torch.randn_like(parameter) * 0.5)
    return net


def photo(height, width, batch=1):
    picture = to_tensor(fit(open_rgb(PHOTOS / "castle.jpg"), 400))
    return torch.cat([picture[..., 9 * i : 9 * i + height, 7 * i : 7 * i + width] for i in range(batch)])


@torch.inference_mode()
def pass_of(net, content, style=None):
    return net(content, style)


def allowed(size):
    """A picture of one colour has nothing but rounding errors for norms to enlarge, 300 times each."""
    return 5e-3 if size == (1, 1) else 1e-3


def far(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype == torch.float32
    return float((a - b).abs().max())


# --- the rearranged network


@pytest.mark.parametrize("kind", KINDS)
def test_rearranged_is_the_same_function_at_any_size(kind):
    net = small(**KINDS[kind])
    quick = fast(net)
    assert [type(layer).__name__ for layer in quick.children()].count("FourPixels") == 1
    assert sum(type(layer).__name__ == "Doubling" for layer in quick.modules()) == (
        0 if kind in ("blur", "frame") else 2
    )
    for size in SIZES:
        content = photo(*size, batch=2)
        assert far(pass_of(quick, content), pass_of(net, content)) < allowed(size) / 10


def test_rearranging_leaves_the_network_as_it_is():
    net = small(upsample="nearest")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    fast(net)
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


# --- backends


def holds_for(run, net, weights=None):
    """At every size, the last with so many pictures as there are ``weights``."""
    for batch, size in enumerate(SIZES, 1):
        content = photo(*size, batch=batch % 3 + 1)
        assert far(run(content, None), pass_of(net, content)) < allowed(size)
    if weights is not None:
        content = photo(37, 50, batch=len(weights))
        assert far(run(content, weights), pass_of(net, content, weights)) < allowed(size)
        assert far(run(content, weights), run(content, None)) > 0.01  # the weights do something


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("kind", ["blur", "nearest"])
def test_every_backend_gives_the_networks_result_at_any_size(backend, kind):
    net = small(**KINDS[kind])
    holds_for(start(net, CPU, backend, "fp32"), net)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_styles_are_weighted_for_each_picture(backend):
    net = small(n_styles=3, upsample="nearest")
    holds_for(start(net, CPU, backend), net, torch.tensor([[0.2, 0.0, 0.8], [0.0, 1.0, 0.0]]))


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_is_not_to_be_seen(backend):
    net, _ = checkpoint.load("starry_night")
    content = to_tensor(fit(open_rgb(PHOTOS / "castle.jpg"), 384))
    difference = (start(net, CPU, backend, "bf16")(content, None) - pass_of(net, content)).abs() * 255
    if backend == "torch" or has_bf16("cpu"):  # OpenVINO takes float32 on a processor without bfloat16
        assert difference.mean() > 0.01  # it is another arithmetic
    assert difference.mean() < 0.35
    assert difference.flatten().quantile(0.999) < 4


def test_a_real_style_on_a_real_photo():
    net, _ = checkpoint.load("the_scream")
    content = photo(251, 367)
    for backend in ("torch", "openvino"):
        assert far(start(net, CPU, backend)(content, None), pass_of(net, content)) < 1e-4


class Sized(nn.Module):
    """Takes a decision in Python by the picture's size, which no tracing can follow."""

    def forward(self, content, style=None):
        return content * (0.5 if content.shape[-1] == 83 else 0.25)


def test_a_graph_that_is_not_the_network_is_never_used(caplog):
    net = Sized().eval()
    with pytest.raises(UserError, match=r"backend=openvino: its result differs from the network's by 0\.\d+"):
        start(net, CPU, "openvino")
    with caplog.at_level(logging.WARNING):
        run = start(net, CPU)
    assert "torch is used" in caplog.text
    assert torch.equal(run(torch.ones(1, 3, 4, 4), None), torch.full((1, 3, 4, 4), 0.25))


# --- the cache


def test_what_was_made_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path))
    net, content = small(), photo(33, 47)
    expected = start(net, CPU, "openvino")(content, None)
    (file,) = (tmp_path / "graphs").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(graph, "openvino", lambda *args: pytest.fail("it is made again"))
        assert torch.equal(start(net, CPU, "openvino")(content, None), expected)
        with torch.no_grad():
            next(net.parameters()).add_(0.1)  # another network
        with pytest.raises(pytest.fail.Exception):
            start(net, CPU, "openvino")
        net = small()
    file.write_bytes(file.read_bytes()[:-1000])
    assert torch.equal(start(net, CPU, "openvino")(content, None), expected)
    file.write_bytes(b"nonsense")
    assert torch.equal(start(net, CPU, "openvino")(content, None), expected)


def test_the_cache_keeps_the_latest_and_can_be_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path))
    monkeypatch.setattr(backends, "KEPT", 2)
    for width in (1, 2, 3):
        start(small(widths=(width, 4, 4)), CPU, "openvino")
    assert len(list((tmp_path / "graphs").iterdir())) == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path / "file"))  # no folder can be made there
    net, content = small(), photo(20, 20)
    assert far(start(net, CPU, "openvino")(content, None), pass_of(net, content)) < 1e-4


# --- what is chosen, and what there is not


def test_auto(monkeypatch):
    assert choose(CPU) == ("openvino", "fp32")
    assert choose(CPU, "torch", "bf16") == ("torch", "bf16")
    assert choose(torch.device("cuda"), precision="fp32") == ("torch", "fp32")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose(CPU) == ("torch", "fp32")


@pytest.mark.parametrize(
    ("device", "backend", "precision", "message"),
    [
        ("cpu", "tensorrt", "auto", "backend=tensorrt: allowed are auto, torch, openvino, onnx."),
        ("cpu", "auto", "fp16", "precision=fp16 is for GPUs: give precision=bf16, or fp32."),
        ("cpu", "auto", "int8", "precision=int8: allowed are auto, fp32, bf16, fp16."),
        ("cuda", "onnx", "auto", "device=cpu with it, or backend=torch"),
        ("cpu", "onnx", "bf16", "backend=onnx has no bf16"),
    ],
)
def test_what_there_is_not(device, backend, precision, message):
    with pytest.raises(UserError) as error:
        choose(torch.device(device), backend, precision)
    assert message in str(error.value)


@pytest.mark.parametrize(("backend", "module"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(backend, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"{module} is not installed: pip install 'stylenet\[{backend}\]'"):
        start(small(blocks=0), CPU, backend)


OPENED_IN_TURN = """
import faulthandler, gc, signal, subprocess, sys
import torch
from stylenet.nets.registry import build
from stylenet.runtime import backends

faulthandler.enable()  # signals have a stack of their own, as under pytest
signal.signal(signal.SIGCHLD, lambda *_: None)  # as a DataLoader does
net = build("johnson", widths=(4, 4, 4), blocks=0).eval()
runs = [backends.start(net, torch.device("cpu"), "openvino", "fp32") for _ in range(2)]
for run in runs:
    run(torch.rand(1, 3, 16, 16), None)
while runs:
    del run
    run = runs.pop(0)  # the first to come is the first to go
del run
gc.collect()
for _ in range(20):
    filled = [bytearray(2**16) for _ in range(500)]
    subprocess.run([sys.executable, "-c", ""], check=True)
print("alive")
"""


def test_a_child_that_ends_after_openvino_was_used_does_no_harm(tmp_path: Path):
    pytest.importorskip("openvino")
    env = os.environ | {"STYLENET_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", OPENED_IN_TURN], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from Linux's /proc")
def test_ever_new_sizes_take_no_ever_more_memory():
    """OpenVINO keeps what it made ready for each size: for the last ones only, or 120 more would take 100 MB."""
    net, _ = checkpoint.load("the_scream_lite")
    run = start(net, CPU, "openvino")

    def held_after(sizes):
        for size in sizes:
            run(torch.rand(1, 3, 40 + size, 64 + size % 7), None)
        release_freed_memory()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    before = held_after(range(120))
    assert held_after(range(120, 240)) - before < 30
