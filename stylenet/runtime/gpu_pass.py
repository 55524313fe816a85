"""A network's pass on a GPU by our own kernels, where they work; else by PyTorch's layers. Knows no picture files."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stylenet.nets import kernel_net
from stylenet.nets.base import StyleNet
from stylenet.nets.johnson import Johnson
from stylenet.system.gpu_kernels import warn_of

log = logging.getLogger(__name__)

Run = Callable[[Tensor, Tensor | None], Tensor]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TRIAL = (1, 3, 49, 71)  # the picture on which the kernels are compared with the network
ALLOWED = 0.02  # the mean difference there: half precision, and the short products of float32 on a GPU


def has_kernels(net: nn.Module, device: torch.device) -> bool:
    """Whether our kernels compute this network's passes on this device."""
    return device.type == "cuda" and kernel_net.works_for(net)


def kernel_pass(net: StyleNet, device: torch.device, precision: str, plain: Run) -> Run:
    """``run(content, style)`` by our kernels: all maps and weights in ``precision`` (fp32, bf16 or fp16), statistics
    and the image in float32. ``plain``: the same pass by PyTorch's layers; it is what is returned, and the log says
    why, where a kernel cannot be compiled, or where the image of a small picture differs from the network's.
    """
    assert isinstance(net, Johnson)
    try:
        run = KernelPass(net, device, precision, plain)
        with torch.inference_mode():
            trial = torch.rand(TRIAL, generator=torch.Generator().manual_seed(0)).to(device)
            difference = (run(trial) - net(trial)).abs().mean().item()
    except Exception as error:  # a compiler or a driver can fail in any way
        warn_of(error)
        return plain
    if not difference < ALLOWED:  # so that NaN fails it
        log.warning("The kernels for GPUs differ from the network by %.3g: PyTorch's layers are used.", difference)
        return plain
    return run


class KernelPass:
    """Passes for inference. The weights are made once, in ``precision``. ``plain`` takes pictures too large for the
    kernels.
    """

    def __init__(self, net: Johnson, device: torch.device, precision: str, plain: Run):
        self._run, self._plain = kernel_net.Pass(net.to(device), DTYPES[precision]), plain

    @torch.inference_mode()
    def __call__(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        if not kernel_net.fits(self._run.net, *content.shape[2:]):
            return self._plain(content, style)
        return self._run(content.float(), style)
