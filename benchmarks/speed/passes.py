"""What the time on a GPU is made of: kernel launches and memory passes, of a stylizing pass and of training.

    python -m benchmarks.speed.passes [size=1024] [crop=288] [batch=16] [output=passes.json]

No GPU is needed. Tensors are fake: they have a shape, a type, a layout and the device cuda, and no content. A
dispatch mode sees each operator that PyTorch would send to the GPU. A view launches nothing. Any other operator
counts as one launch, and reads its inputs and writes its outputs once. A memory pass is the time to read or write one
map of the picture's size in the network's first width, in float32.

Each of our own kernels counts as one launch, too. Passes are counted twice: as the kernels of ``nets/kernel_net.py``
compute them, in fp16, and by PyTorch's layers in float32, which is what remains without Triton.

Not in the count: kernels that a library starts within one operator, caches that spare a read, and autocast, which
needs a driver.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.speed.gains import STYLE_LAYERS
from stylenet.losses import vgg
from stylenet.losses.perceptual import PerceptualLoss
from stylenet.nets import kernel_net
from stylenet.nets.johnson import Johnson
from stylenet.nets.registry import build
from stylenet.runtime.backends import TorchBackend
from stylenet.system import gpu_kernels

OPTIONS: dict[str, Any] = {"size": 1024, "crop": 288, "batch": 16, "output": ""}
GPU = torch.device("cuda", 0)


class Cost(NamedTuple):
    """Launches of kernels, and memory passes over a full-size map."""

    launches: int
    passes: float


class Counter(TorchDispatchMode):
    """Counts operators, and the bytes of the tensors that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.bytes = 0
        self.by_name: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or not any(isinstance(one, Tensor) for one in tree_leaves(out)) or _allocates(func):
            return out
        read = {id(one): one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        written = {id(one): one for one in tree_leaves(out) if isinstance(one, Tensor)}
        for argument, given in zip(func._schema.arguments, args, strict=False):
            if argument.is_write:
                written |= {id(one): one for one in tree_leaves(given) if isinstance(one, Tensor)}
        self.add(str(func).removeprefix("aten.").partition(".")[0], [*read.values()], [*written.values()])
        return out

    def add(self, name: str, read: list[Tensor], written: list[Tensor]) -> None:
        """One launch, of an operator or of a kernel."""
        moved = sum(one.numel() * one.element_size() for one in [*read, *written])
        self.launches += 1
        self.bytes += moved
        self.by_name[name] = self.by_name.get(name, 0) + moved


def _allocates(func: Any) -> bool:
    return str(func).startswith(("aten.empty", "aten.new_empty", "aten.detach", "aten.lift"))


def on_fake_gpu(module: nn.Module, fake: FakeTensorMode) -> nn.Module:
    """``module`` with fake weights on the device cuda, in the layout that its weights have."""
    with fake:
        for part in module.modules():
            for name, weight in part._parameters.items():
                if weight is not None:
                    part._parameters[name] = nn.Parameter(_faked(weight), weight.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = _faked(buffer)
    return module


def _faked(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=GPU)


def counted(work: Callable[[], object], maps: int) -> tuple[Cost, Counter]:
    """What ``work`` costs; ``maps``: the bytes of one full-size map."""
    with Counter() as counter, gpu_kernels.counting(counter.add):
        work()
    return Cost(counter.launches, round(counter.bytes / maps, 1)), counter


def stylizing(size: int, ours: bool = True) -> tuple[Cost, Counter]:
    """A pass over one picture of size x size with the default network, as a GPU runs it: by our kernels in fp16, or by
    PyTorch's layers in float32.
    """
    net = build("johnson").eval()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    if ours:
        run: Any = kernel_net.Pass(cast(Johnson, net), torch.float16)
        on_fake_gpu(run.net, fake)
        with fake, torch.no_grad():
            run.weights = kernel_net.weights(run.net, torch.float16)
    else:
        run = TorchBackend(net, torch.device("cpu"), "fp32")
        run.device = GPU
        on_fake_gpu(run.net, fake)
    with fake, torch.inference_mode():
        content = torch.empty(1, 3, size, size, device=GPU)
        return counted(lambda: run(content), 4 * net.config["widths"][0] * size * size)


def training(crop: int, batch: int, ours: bool = True) -> tuple[Cost, Counter]:
    """The forward part of a training step, loss included, on crops of crop x crop.

    The backward part is not counted: without a driver PyTorch's engine takes no gradients of tensors on cuda.
    """
    net = build("johnson").train()
    loss = PerceptualLoss([torch.rand(1, 3, 64, 64)], "johnson", STYLE_LAYERS, {"relu3_3": 1.0}, 8.0, 1.0)
    loss.to(memory_format=torch.channels_last)
    loss.require_calibration()  # now: fake tensors answer no question
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    for module in (net, loss):
        on_fake_gpu(module, fake)
    run = kernel_net.TrainingPass(net) if ours else net
    with fake, mock.patch.object(vgg, "usable", lambda x: ours):
        content = torch.empty(batch, 3, crop, crop, device=GPU)

        def forward() -> Tensor:
            return torch.stack([*loss(run(content, framed=False), content).values()]).sum()

        return counted(forward, 4 * 32 * crop * crop * batch)


def main() -> None:
    chosen = options(OPTIONS)
    found = {}
    for kind, ours in (("our kernels", True), ("PyTorch's layers", False)):
        found[f"pass, {chosen['size']} px, {kind}"] = stylizing(chosen["size"], ours)
        name = f"training, forward, {chosen['batch']} x {chosen['crop']} px, {kind}"
        found[name] = training(chosen["crop"], chosen["batch"], ours)
    print("| what | launches | memory passes | most of them |\n|---|---|---|---|")
    for name, (cost, counter) in found.items():
        most = sorted(counter.by_name.items(), key=lambda one: -one[1])[:4]
        shares = ", ".join(f"{op} {100 * moved / counter.bytes:.0f} %" for op, moved in most)
        print(f"| {name} | {cost.launches} | {cost.passes} | {shares} |")
    if chosen["output"]:
        write_json(chosen["output"], {name: cost._asdict() for name, (cost, _) in found.items()})


if __name__ == "__main__":
    answering(main)
