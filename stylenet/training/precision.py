"""Whether to train in bfloat16 here: whether the processor has it, and whether it is faster with it.

Knows nothing about networks or options.
"""

import os
import time

import torch
from torch.nn import functional as F

ROUNDS = 6  # each way; of such short runs the fastest counts
GAIN = 0.9  # of float32's time at most: a tie must not be decided by chance, and another way after a resume
KNOWN = "STYLENET_BF16_PAYS"  # variable of the environment: processes that this one starts take over its answer


def bf16_pays(accelerator: str) -> bool:
    """Whether training is faster in bfloat16 here. A CPU is timed once a process, in less than half a second: some
    virtual machines have AVX512-BF16 without its speed, and take 1.6 to 1.9 times as long as in float32.
    """
    return has_bf16(accelerator) and (_on_gpu(accelerator) or _faster_on_cpu())


def has_bf16(accelerator: str) -> bool:
    """Whether there are bfloat16 products here: NVIDIA since Ampere, or a CPU with AMX or AVX512-BF16."""
    if _on_gpu(accelerator):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available() and accelerator in ("auto", "gpu", "mps"):
        return False
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch 2.8 has it not
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def _faster_on_cpu() -> bool:
    if KNOWN not in os.environ:
        rounds = [(_seconds(torch.float32), _seconds(torch.bfloat16)) for _ in range(ROUNDS)]
        exact, rounded = (min(times) for times in zip(*rounds, strict=True))
        os.environ[KNOWN] = str(int(rounded <= GAIN * exact))
    return os.environ[KNOWN] == "1"


@torch.inference_mode()
def _seconds(dtype: torch.dtype) -> float:
    """Of a convolution like those of VGG, 64 channels of 96 x 96 px, at the second call: the first one prepares it."""
    maps, weights = (
        torch.ones(size, dtype=dtype).to(memory_format=torch.channels_last)
        for size in ((1, 64, 96, 96), (64, 64, 3, 3))
    )
    F.conv2d(maps, weights, padding=1)
    begun = time.perf_counter()
    F.conv2d(maps, weights, padding=1)
    return time.perf_counter() - begun
