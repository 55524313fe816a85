"""CUDA graphs: passes over pictures of a repeated size are recorded once and replayed. Knows no networks.

A GPU finishes a small picture's pass before the CPU has launched its hundred kernels one by one. A replay launches all
at once.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stylenet.system.errors import one_line

log = logging.getLogger(__name__)

AFTER = 2  # passes of a size as they are; the next ones are replayed
KEPT = 4  # sizes, those used last: each holds the memory of its pass
LARGEST = 2**20  # pixels, all pictures together: with more, there is nothing to be gained
WARM_UPS = 2
FAR = 0.02  # that a replay may be from its pass, on average

_recording = threading.Lock()  # a process records one graph at a time

Run = Callable[[Tensor, Tensor | None], Tensor]


class Replay:
    """``run(content, style)``, from its third pass over a small size on by what ``record`` makes of it.

    ``record(run, content, style)``: a function of the same arguments, for tensors of these shapes. Where it fails (no
    memory, an operation that cannot be recorded), passes of this size stay as they are. Where the memory is too small
    for a pass, what is recorded makes room.
    """

    def __init__(self, run: Run, record: Callable[[Run, Tensor, Tensor | None], Run]):
        self.run, self.record = run, record
        self._lock = threading.RLock()  # what is replayed has but one place for its picture
        self._seen: OrderedDict[Any, int] = OrderedDict()
        self._recorded: OrderedDict[Any, Run] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        if content.numel() > 3 * LARGEST:
            return self._run(content, style)
        key = content.shape, None if style is None else style.shape
        with self._lock:
            replayed = self._recorded.get(key)
            if replayed is not None:
                self._recorded.move_to_end(key)
                return replayed(content, style)
            seen = self._seen[key] = self._seen.pop(key, 0) + 1
            if len(self._seen) > 16 * KEPT:
                self._seen.popitem(last=False)
            if seen > AFTER:
                self._recorded[key] = self._try_to_record(content, style)
                if len(self._recorded) > KEPT:
                    self._recorded.popitem(last=False)
                return self._recorded[key](content, style)
        return self._run(content, style)

    def _run(self, content: Tensor, style: Tensor | None) -> Tensor:
        try:
            return self.run(content, style)
        except torch.OutOfMemoryError:
            if not self._recorded:
                raise
        with self._lock:
            self._recorded.clear()
            self._seen.clear()
        return self.run(content, style)

    def _try_to_record(self, content: Tensor, style: Tensor | None) -> Run:
        try:
            return self.record(self.run, content, style)
        except Exception as error:  # a driver can fail in any way
            log.info("Passes of %s are not recorded: %s", tuple(content.shape), one_line(error)[:200])
            return self._run


def cuda_graph(run: Run, content: Tensor, style: Tensor | None) -> Run:
    """A pass as a CUDA graph; cuDNN looks for its fastest convolutions of this size before. Raises RuntimeError where
    what is replayed is not the pass.
    """
    given = [None if one is None else one.clone() for one in (content, style)]
    first, second = given
    assert first is not None
    aside, here = torch.cuda.Stream(content.device), torch.cuda.current_stream(content.device)
    aside.wait_stream(here)
    graph = torch.cuda.CUDAGraph()
    with _recording, torch.cuda.device(content.device):
        search, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
        try:
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    run(first, second)
            here.wait_stream(aside)
            # Others use the GPU too, in threads of their own, such as what follows a film's movement.
            with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                made = run(first, second)
        finally:
            torch.backends.cudnn.benchmark = search

    def replayed(content: Tensor, style: Tensor | None = None) -> Tensor:
        for place, one in zip(given, (content, style), strict=True):
            if place is not None and one is not None:
                place.copy_(one)
        with torch.cuda.device(content.device):
            graph.replay()
        return made.clone()

    other = content.flip(3) * 0.5  # another picture than the one it was recorded with
    if not (replayed(other, style) - run(other, style)).abs().mean() < FAR:
        raise RuntimeError("a replay does not give what the pass gives")
    return replayed
