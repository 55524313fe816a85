"""The compiler sees every pass and every training step as one graph, and the second batch compiles nothing anew."""

from typing import Any

import pytest
import torch
from test_training import ONE, TWO, model
from torch import Tensor
from torch._dynamo import reset
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import one_hot

from stylenet.nets.registry import build

BACKENDS = ("eager", "aot_eager")
NETS: list[dict[str, Any]] = [
    {},
    {"n_styles": 3},
    {"noise": 0},
    {"upsample": "nearest"},
    {"output": "linear"},
    {"frame": 0},
]


def styles(n_styles: int, turn: int) -> Tensor | None:
    """Two pictures' styles, others in each batch."""
    return None if n_styles == 1 else one_hot((torch.arange(2) + turn) % n_styles, n_styles).float()


@pytest.fixture(autouse=True)
def nothing_compiled():
    reset()
    yield
    reset()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("args", NETS, ids=str)
def test_a_networks_pass_is_one_graph(args: dict[str, Any], training: bool):
    net = build("johnson", widths=(4, 6, 8), blocks=1, **args).train(training)
    count = CompileCounterWithBackend("eager")
    compiled = torch.compile(net, fullgraph=True, backend=count)
    for turn in range(3):
        content, style = torch.rand(2, 3, 32, 48), styles(args.get("n_styles", 1), turn)
        torch.testing.assert_close(compiled(content, style), net(content, style))
    assert count.frame_count == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("names", [ONE, TWO], ids=["one style", "two styles"])
def test_a_training_step_is_one_graph(names: tuple[str, ...], half: bool, backend: str):
    """With its window, which moves in each batch, its styles, which take turns, and all terms of the loss."""
    step = model(names, loss={"repeat_weight": 0.3})
    step.loss.calibrate([torch.rand(1, 3, 48, 48) for _ in range(2)])
    step.loss.require_calibration()  # as compile_training does: to ask would cut the graph in two
    count = CompileCounterWithBackend(backend)
    compiled = torch.compile(step.terms, fullgraph=True, backend=count, dynamic=False)
    for turn in range(3):
        window = torch.arange(64) + turn, torch.arange(64) + 2 * turn
        batch = torch.rand(2, 3, 72, 72), styles(len(names), turn), window
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            terms, expected = compiled(*batch), step.terms(*batch)
        assert terms.keys() == expected.keys() and "repeat" in terms
        for name, term in terms.items():
            torch.testing.assert_close(term, expected[name], rtol=2e-2 if half else 1e-4, atol=1e-4)
        torch.stack([*terms.values()]).sum().backward()
    assert count.frame_count == 1
