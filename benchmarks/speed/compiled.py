"""Compile every Triton kernel of the network for a GPU, without having one: registers, spills, shared memory.

    python -m benchmarks.speed.compiled [target=90] [output=compiled.json]

``target``: the compute capability times ten: 80 for an A100, 90 for an H100. A pass for inference in fp16, a training
step in bf16 and VGG are traced on the CPU, at the default widths. Nothing is computed: each kernel is compiled instead
of being started. A spill is a number that has no register left, and goes
through memory.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.experiments.trainings import answering, options, write_json
from stylenet.losses import vgg
from stylenet.nets import kernel_net
from stylenet.nets.johnson import Johnson
from stylenet.system import gpu_kernels

OPTIONS: dict[str, Any] = {"target": 90, "output": ""}
TYPES = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}
WARP = 32


def compiled(work: Callable[[], object], target: int, report: Callable[[dict[str, Any]], object]) -> None:
    """Run ``work`` with each kernel compiled in place of started; ``report`` takes what came of it, once a kernel."""
    seen: set[str] = set()

    def start(kernel: Any, grid: Any, read: list[Tensor], written: list[Tensor], *args: Any, **meta: Any) -> None:
        values = {**dict(zip(kernel.arg_names, args, strict=False)), **meta}
        signature = {name: _kind(name, value, meta) for name, value in values.items()}
        if (key := f"{kernel.__name__} {signature} {meta}") in seen:
            return
        seen.add(key)
        constants = {(kernel.arg_names.index(name),): value for name, value in meta.items()}
        began = time.monotonic()
        made = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", target, WARP))
        flags = {name: value for name, value in meta.items() if isinstance(value, int)}
        found = {"kernel": kernel.__name__, "seconds": round(time.monotonic() - began, 1), "flags": flags}
        report(found | {"shared_bytes": made.metadata.shared} | _registers(made.asm["ptx"], target))

    with mock.patch.object(gpu_kernels, "start", start):
        work()


def _kind(name: str, value: Any, meta: dict[str, Any]) -> str:
    return "constexpr" if name in meta else TYPES[value.dtype] if isinstance(value, Tensor) else "i32"


def _registers(ptx: str, target: int) -> dict[str, int]:
    """Registers of a thread and bytes that spill, as the assembler tells them; nothing where it cannot be asked."""
    assembler = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.ptx")
        file.write_text(ptx)
        command = [
            str(assembler),
            "-v",
            f"-arch=sm_{target}{'a' * (target == 90)}",
            str(file),
            "-o",
            f"{folder}/kernel",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    found = {"registers": r"Used (\d+) registers", "spilled_bytes": r"(\d+) bytes spill stores"}
    return {name: int(match[1]) for name, pattern in found.items() if (match := re.search(pattern, said))}


def passes() -> None:
    """A pass for inference, and a step of training with its VGG."""
    for widths in ((32, 64, 128),):
        net = Johnson(widths, 1, n_styles=2, noise=1, frame=24)
        with torch.no_grad():
            kernel_net.Pass(net.eval(), torch.float16)(torch.zeros(1, 3, 32, 32), torch.eye(2)[:1])
        net.train()
        image = kernel_net.Pass(net, torch.bfloat16, kept=False)(torch.zeros(2, 3, 32, 32), torch.eye(2), framed=False)
        image.sum().backward()
    crop = torch.zeros(2, 3, 32, 32, dtype=torch.bfloat16, requires_grad=True)
    with mock.patch.object(vgg, "usable", lambda x: True):
        features = vgg.VGG(["relu1_2", "relu2_2", "relu3_3", "relu4_3"]).bfloat16()(crop)
    torch.stack([each.sum() for each in features.values()]).sum().backward()


def main() -> None:
    chosen = options(OPTIONS)
    found: list[dict[str, Any]] = []
    print(
        "| kernel | flags | registers | spilled bytes | shared bytes | seconds to compile |\n|---|---|---|---|---|---|"
    )

    def report(one: dict[str, Any]) -> None:
        found.append(one)
        flags = " ".join(f"{name}={int(value)}" for name, value in one["flags"].items())
        columns = [one.get(name, "?") for name in ("registers", "spilled_bytes", "shared_bytes", "seconds")]
        print("| " + " | ".join(map(str, [one["kernel"], flags, *columns])) + " |", flush=True)

    compiled(passes, chosen["target"], report)
    if chosen["output"]:
        write_json(chosen["output"], found)


if __name__ == "__main__":
    answering(main)
