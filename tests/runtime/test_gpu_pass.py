"""Passes by our kernels: the network's own picture, and PyTorch's layers wherever a kernel fails."""

import logging
import os

import pytest
import torch
from torch import Tensor

from stylenet.nets import kernel_net
from stylenet.nets.johnson import Johnson
from stylenet.nets.registry import build
from stylenet.runtime.backends import choose, start
from stylenet.runtime.gpu_pass import has_kernels, kernel_pass

pytest.importorskip("triton")
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
pytestmark = pytest.mark.skipif(
    not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1", reason="needs the interpreter"
)


@pytest.fixture
def net(monkeypatch):
    from stylenet.nets import kernels

    monkeypatch.setattr(kernels, "LANES", 1024 if ON_GPU else 2**15)
    torch.manual_seed(0)
    return build("johnson", widths=(4, 4, 8), blocks=1, frame=4).to(DEVICE).eval()


def plain(content: Tensor, style: Tensor | None = None) -> Tensor:
    return content * 0


def test_the_kernels_give_the_networks_picture(net, caplog):
    run = kernel_pass(net, DEVICE, "fp16", plain)
    content = torch.rand(1, 3, 20, 31, device=DEVICE)
    with torch.inference_mode():
        assert run is not plain and not caplog.text
        assert (run(content, None) - net(content)).abs().mean() < 2e-3
        assert (kernel_pass(net, DEVICE, "fp32", plain)(content, None) - net(content)).abs().max() < (
            1e-2 if ON_GPU else 1e-5
        )


def test_pictures_too_large_for_the_kernels_go_the_other_way(net, monkeypatch):
    run = kernel_pass(net, DEVICE, "fp32", plain)
    monkeypatch.setattr(kernel_net, "MOST", 8 * 40 * 40)
    assert run(torch.rand(1, 3, 30, 30, device=DEVICE), None).max() == 0  # 30 + 18 a side
    assert run(torch.rand(1, 3, 20, 20, device=DEVICE), None).max() > 0


@pytest.mark.parametrize("fault", ["raises", "wrong", "not a number"])
def test_where_a_kernel_fails_the_layers_do_it(net, monkeypatch, caplog, fault):
    def broken(self, content, style=None, framed=True):
        if fault == "raises":
            raise RuntimeError("PTX was compiled with an unsupported toolchain")
        return self.net(content) + (0.1 if fault == "wrong" else float("nan"))

    monkeypatch.setattr(kernel_net.Pass, "__call__", broken)
    with caplog.at_level(logging.WARNING):
        assert kernel_pass(net, DEVICE, "fp16", plain) is plain
    assert "PyTorch's layers are used" in caplog.text and (fault != "raises" or "unsupported toolchain" in caplog.text)


def test_training_goes_on_with_the_layers_where_a_kernel_fails(net, monkeypatch, caplog):
    run, content = kernel_net.TrainingPass(net.train()), torch.rand(1, 3, 20, 20, device=DEVICE)
    monkeypatch.setattr(kernel_net, "weights", lambda *args: 1 / 0)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(run(content), net(content))
        torch.testing.assert_close(run(content), net(content))
    assert caplog.text.count("PyTorch's layers are used") == 1


def test_full_memory_is_no_reason_to_change(net, monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    run = kernel_net.TrainingPass(net)
    monkeypatch.setattr(kernel_net, "weights", full)
    with pytest.raises(torch.OutOfMemoryError):
        run(torch.rand(1, 3, 20, 20, device=DEVICE))
    assert run.works


def test_which_networks_and_devices_have_kernels():
    cuda = torch.device("cuda")
    assert has_kernels(build("johnson"), cuda) and not has_kernels(build("johnson"), torch.device("cpu"))
    assert not has_kernels(Johnson(blocks=0), cuda) and not has_kernels(torch.nn.Identity(), cuda)
    assert choose(cuda, kernels=True)[1] == "fp16" and choose(cuda, precision="bf16", kernels=True)[1] == "bf16"


@pytest.mark.skipif(not ON_GPU, reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("size", [(200, 301), (1024, 768)], ids=str)
def test_on_a_gpu_each_size_gives_the_networks_picture(size, precision):
    """Of networks of the default widths and the light ones: at most half a level from it on average."""
    for widths in ((32, 64, 128), (8, 18, 36)):
        net = build("johnson", widths=widths, frame=24).to(DEVICE).eval()
        content = torch.rand(1, 3, *size, device=DEVICE)
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            expected = net(content)
            for _ in range(4):  # the later ones are replayed
                found = start(net, DEVICE, "torch", precision)(content, None)
                assert (found - expected).abs().mean() < 0.5 / 255
