"""Gain of each change to the training step: the current step against the step with one change reverted.

    python -m benchmarks.speed.gains [repeats=5] [size=256] [batch=4] [output=gains.json]

All variants run in turns in one process; the figures are medians. Batches are noise, so the loader is excluded.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.experiments.trainings import answering, options, write_json
from stylenet.losses import perceptual, vgg
from stylenet.nets import layers
from stylenet.nets.registry import build
from stylenet.system import memory

OPTIONS: dict[str, Any] = {"repeats": 5, "size": 256, "batch": 4, "output": ""}
STYLE_LAYERS = dict.fromkeys(["relu1_2", "relu2_2", "relu3_3", "relu4_3"], 1.0)


class Step:
    """One training step on noise: the default network and losses, without Lightning around it."""

    def __init__(self, size: int, batch: int):
        self.net = build("johnson").to(memory_format=torch.channels_last)
        painting = torch.rand(1, 3, 384, 384)
        self.loss = perceptual.PerceptualLoss([painting], "johnson", STYLE_LAYERS, {"relu3_3": 1.0}, 4.0, 1.0)
        self.loss.to(memory_format=torch.channels_last)
        self.content = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(self.net.parameters(), 1e-3, fused=True)
        self.half = True

    def __call__(self) -> float:
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            loss = torch.stack([*self.loss(self.net(self.content), self.content).values()]).sum()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.adam.step()
        return time.perf_counter() - begin


@contextmanager
def float32(step: Step) -> Iterator[None]:
    step.half = False
    yield
    step.half = True


@contextmanager
def contiguous(step: Step) -> Iterator[None]:
    def lay_out(format: torch.memory_format) -> None:
        step.net.to(memory_format=format)
        step.loss.to(memory_format=format)
        step.content = step.content.contiguous(memory_format=format)

    lay_out(torch.contiguous_format)
    yield
    lay_out(torch.channels_last)


@contextmanager
def freed_memory_given_back(step: Step) -> Iterator[None]:
    memory.restore_defaults()
    yield
    memory.keep_freed_memory()


def norms_by_autograd(step: Step) -> Any:
    return patch.object(torch.compiler, "is_compiling", lambda: True)  # the path of all other devices


def grams_by_autograd(step: Step) -> Any:
    def gram(features: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            flat = features.float().flatten(2)
            return flat @ flat.mT / features[0].numel()

    return patch.object(perceptual, "gram", gram)


def weights_of_vgg_rounded_in_each_pass(step: Step) -> Any:
    def weights(self: vgg.VGG, conv: str, device: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{conv}_weight"), self.get_buffer(f"{conv}_bias")

    return patch.object(vgg.VGG, "_weights", weights)


def padding_in_float32(step: Step) -> Any:
    def filter(x: Tensor, taps: list[float]) -> Tensor:
        row = torch.tensor(taps, dtype=x.dtype) / sum(taps)
        kernel = (row[:, None] * row).expand(x.shape[1], 1, -1, -1)
        return F.conv2d(F.pad(x, (len(taps) // 2,) * 4, mode="replicate"), kernel, groups=x.shape[1])

    return patch.object(layers, "_filter", filter)


def the_photo_through_the_whole_vgg(step: Step) -> Any:
    forward = vgg.VGG.forward
    return patch.object(vgg.VGG, "forward", lambda self, image, layers=None: forward(self, image))


@contextmanager
def adam_not_fused(step: Step) -> Iterator[None]:
    fused, step.adam = step.adam, torch.optim.Adam(step.net.parameters(), 1e-3)
    yield
    step.adam = fused


TAKEN_BACK: list[Callable[[Step], Any]] = [
    float32,
    contiguous,
    freed_memory_given_back,
    norms_by_autograd,
    grams_by_autograd,
    weights_of_vgg_rounded_in_each_pass,
    padding_in_float32,
    the_photo_through_the_whole_vgg,
    adam_not_fused,
]


def main() -> None:
    chosen = options(OPTIONS)
    repeats, size, batch, output = (chosen[name] for name in OPTIONS)
    memory.keep_freed_memory()
    torch.manual_seed(0)
    step = Step(size, batch)
    times: dict[str, list[float]] = {"as it is": []} | {change.__name__: [] for change in TAKEN_BACK}
    for _ in range(repeats + 1):
        times["as it is"].append(step())
        for change in TAKEN_BACK:
            with ExitStack() as stack:
                stack.enter_context(change(step))
                step()  # to settle: layouts, caches, memory
                times[change.__name__].append(step())
            step()
    medians = {name: statistics.median(seen[1:]) for name, seen in times.items()}  # the first turn warms up
    base = medians["as it is"]
    for name, seconds in medians.items():
        print(f"{name.replace('_', ' '):40} {seconds:6.3f} s  x {seconds / base:.3f}")
    if output:
        seconds = {name: round(value, 4) for name, value in medians.items()}
        write_json(Path(output), {"size": size, "batch": batch, "repeats": repeats, "seconds": seconds})


if __name__ == "__main__":
    answering(main)
