"""Pictures larger than memory: a network's pass in strips, with the result of the pass over the whole picture.

A network gets :class:`stylenet.runtime.lazy_features.Features` in place of a tensor. They have a shape but no content,
and record the operations. Rows are computed on demand: for a norm, which needs the mean and variance over the whole
picture, and for the result. So the network's own code defines the operations, and it sees the statistics, borders and
sizes of the whole picture. Each norm costs a pass over its input. Features smaller than the picture are kept between
passes; those of the picture's size are computed again. Knows no network.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from stylenet.nets.regions import Regions
from stylenet.runtime.lazy_features import Compute, Features, Run
from stylenet.runtime.scratch import Scratch

STRIP, HIGHEST = 2**18, 64  # pixels and rows of a strip where nobody says otherwise: larger ones are not faster


def rows_for(width: int) -> int:
    """How high the strips of a picture are where nobody says: a multiple of 8, so that halved sizes are whole too."""
    return min(HIGHEST, max(8, STRIP // width // 8 * 8))


@torch.inference_mode()
def in_strips(
    net: nn.Module,
    size: tuple[int, int],
    read: Compute,
    write: Callable[[int, Tensor], None],
    scratch: Scratch,
    style: Tensor | Regions | None = None,
    rows: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> None:
    """``net(picture, style)`` in strips of ``rows`` rows, for a picture (1, 3, h, w) of the ``size`` (h, w).

    ``read(top, bottom)`` gives these rows of the picture, (1, 3, bottom - top, w) on the network's device, any number
    of times; ``write(top, rows)`` takes the result, from top to bottom. ``progress`` is told what part is done, 0 to 1.
    Raises UserError where the network does what cannot be done in strips, and where the scratch space is full.
    """
    height, width = size
    device = read(0, 1).device
    shares = _shares(net, style, device) if progress else []
    run = Run(rows or rows_for(width), height * width, scratch, progress, shares)
    out = net(Features(run, (1, 3, height, width), device, read), style)
    for top, strip in run.over(out):
        write(top, strip)


def _shares(net: nn.Module, style: Tensor | Regions | None, device: torch.device, side: int = 64) -> list[float]:
    """The part of the work that each pass over a picture is, by its multiply-adds on a small one."""
    from torch.utils.flop_counter import FlopCounterMode

    done: list[int] = []
    style = replace(style, size=(side, side)) if isinstance(style, Regions) else style
    blank = torch.zeros(1, 3, side, side, device=device)
    with FlopCounterMode(display=False) as counter, Scratch(memory=2**30) as scratch:
        run = Run(side, side * side, scratch, lambda _: done.append(counter.get_total_flops()), [0.0] * 10_000)
        out = net(Features(run, blank.shape, device, lambda top, bottom: blank[:, :, top:bottom]), style)
        for _ in run.over(out):
            pass
    return [(after - before) / done[-1] for before, after in zip([0, *done], done, strict=False)]
