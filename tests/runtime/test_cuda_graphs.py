"""Passes of a size that comes again, replayed: the same pictures, and none lost where recording fails."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from stylenet.nets import checkpoint
from stylenet.runtime import cuda_graphs
from stylenet.runtime.backends import TorchBackend, start
from stylenet.runtime.cuda_graphs import AFTER, KEPT, Replay, cuda_graph


def darker(content: Tensor, style: Tensor | None) -> Tensor:
    return content / 2 if style is None else content * style[:, :1, None, None]


def recorder(recorded: list):
    """Stands for a GPU's: notes sizes, and does the same."""

    def record(run, content, style):
        recorded.append(tuple(content.shape))
        return lambda content, style: run(content, style).clone()

    return record


def picture(height: int, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, height, 20, generator=torch.Generator().manual_seed(height))


def test_the_third_pass_of_a_size_is_recorded_and_all_give_the_same():
    recorded: list = []
    run = Replay(darker, recorder(recorded))
    for turn in range(1, 6):
        for content in (picture(10), picture(10, 2), picture(11)):
            assert torch.equal(run(content), content / 2)
        assert len(recorded) == (3 if turn > AFTER else 0)
    weights = torch.tensor([[0.25, 0.75]])
    for _ in range(AFTER + 1):  # weights are another pass
        assert torch.equal(run(picture(10), weights), picture(10) * 0.25)
    assert len(recorded) == 4


def test_of_many_sizes_the_last_are_kept():
    recorded: list = []
    run = Replay(darker, recorder(recorded))
    for height in range(1, KEPT + 3):
        for _ in range(AFTER + 1):
            run(picture(height))
    count = len(recorded)
    run(picture(KEPT + 2))
    assert len(recorded) == count == KEPT + 2 and len(run._recorded) == KEPT
    for height in range(1, 500):  # sizes that are seen once leave nothing behind
        run(picture(height))
    assert len(run._seen) <= 16 * KEPT


def test_large_pictures_are_not_recorded(monkeypatch):
    recorded: list = []
    monkeypatch.setattr(cuda_graphs, "LARGEST", 20 * 12)
    run = Replay(darker, recorder(recorded))
    for _ in range(AFTER + 1):
        for content in (picture(12), picture(13), picture(12, 2)):
            run(content)
    assert recorded == [(1, 3, 12, 20)]


def test_where_recording_fails_the_passes_stay_as_they_are():
    def record(run, content, style):
        raise RuntimeError("operation not permitted when stream is capturing")

    run = Replay(darker, record)
    for _ in range(5):
        assert torch.equal(run(picture(10)), picture(10) / 2)


def test_what_is_recorded_makes_room_where_the_memory_is_full():
    full = []

    def needy(content, style):
        if content.shape[2] == 30 and run._recorded:
            full.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return content / 2

    run = Replay(needy, recorder([]))
    for _ in range(AFTER + 1):
        run(picture(10))
    assert run._recorded and torch.equal(run(picture(30)), picture(30) / 2)
    assert full == [1] and not run._recorded


def test_two_threads_get_their_own_pictures():
    """What is recorded has one place for its picture, as a CUDA graph has."""

    def record(run, content, style):
        place = content.clone()

        def replayed(content, style):
            place.copy_(content)
            time.sleep(0.002)
            return run(place, style).clone()

        return replayed

    run = Replay(darker, record)
    for _ in range(AFTER + 1):
        run(picture(10))
    photos = [torch.full((1, 3, 10, 20), number / 40) for number in range(40)]
    with ThreadPoolExecutor(4) as threads:
        for photo, made in zip(photos, threads.map(run, photos), strict=True):
            assert torch.equal(made, photo / 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_cuda_graph_gives_what_the_pass_gives(precision):
    device = torch.device("cuda")
    net, _ = checkpoint.load("the_scream_lite", device)
    plain = TorchBackend(net, device, precision)
    first, second = (picture(200).to(device), picture(200).flip(3).to(device))
    graph = cuda_graph(plain, first, None)
    run = start(net, device, "torch", precision)
    for content in (first, second, first, second):
        torch.testing.assert_close(graph(content, None), plain(content), atol=2e-2, rtol=0)
        torch.testing.assert_close(run(content, None), plain(content), atol=2e-2, rtol=0)
