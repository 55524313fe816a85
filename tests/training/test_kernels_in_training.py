"""A training step through the kernels for GPUs, in Triton's interpreter: the loss and gradients of the plain layers."""

import os
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from test_training import TWO, model
from torch import Tensor
from torch.nn.functional import one_hot

from stylenet.nets.kernel_net import TrainingPass
from stylenet.training.module import StyleTransfer

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(
    torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") != "1", reason="needs the interpreter"
)

LANES = 2**15


@pytest.fixture(autouse=True)
def large_tiles(monkeypatch):
    """The interpreter takes long for many programs."""
    from stylenet.nets import kernels

    monkeypatch.setattr(kernels, "LANES", LANES)


def gradients(step: StyleTransfer, content: Tensor, style: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    step.zero_grad()
    window = torch.arange(32) + 3, torch.arange(32) + 5
    loss = torch.stack([*step.terms(content, style, window).values()]).sum()
    loss.backward()
    return loss.detach(), {
        name: weight.grad.clone() for name, weight in step.net.named_parameters() if weight.grad is not None
    }


def prepared() -> tuple[StyleTransfer, Tensor, Tensor]:
    """A model of two styles, and four crops, two of each style. In float64: in float32 VGG's ReLUs and poolings make of
    another rounding another gradient.
    """
    step = model(TWO, net={"noise": 1})
    step.loss.calibrate([torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)])
    step.net.begin_noise_at(7, 400)
    step.double()
    content = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    return step, content.double(), one_hot(torch.tensor([0, 1, 0, 1]), 2).double()


def near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Each gradient to a hundred-thousandth of the largest."""
    most = max(gradient.abs().max().item() for gradient in expected.values())
    assert found.keys() == expected.keys() and most > 0
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * most)


def test_the_loss_and_its_gradients_are_those_of_the_layers():
    step, content, style = prepared()
    loss, expected = gradients(step, content, style)
    step.kernels = TrainingPass(step.net)
    found_loss, found = gradients(step, content, style)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=0)
    near(found, expected)
    assert step.kernels.works


def test_validation_uses_the_layers():
    step, content, style = prepared()
    step.kernels = TrainingPass(step.net)
    step.kernels.__class__ = type("Broken", (TrainingPass,), {"__call__": lambda *args, **more: 1 / 0})
    step.net.eval()
    with torch.no_grad():
        assert step.terms(content, style).keys()


def _one_of_two(rank: int, folder: str) -> None:
    from stylenet.nets import kernels

    kernels.LANES = LANES
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    step, content, style = prepared()
    step.kernels = TrainingPass(step.net)
    mine = slice(2 * rank, 2 * rank + 2)
    loss, found = gradients(step, content[mine], style[mine])
    for value in (loss, *found.values()):
        dist.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save((loss, found), f"{folder}/found.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_gradients_of_one(tmp_path: Path):
    """Each has half of the crops; gloo sums. Two GPUs do the same."""
    processes = [get_context("spawn").Process(target=_one_of_two, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    loss, found = torch.load(tmp_path / "found.pt")
    step, content, style = prepared()
    expected_loss, expected = gradients(step, content, style)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=0)
    near(found, expected)
