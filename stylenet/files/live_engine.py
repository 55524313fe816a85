"""Show a stylized film or camera in a window as it happens, and record it if asked. Knows nothing about networks."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction

import numpy as np

from stylenet.images import srgb
from stylenet.system import console
from stylenet.video.live import Live
from stylenet.video.protocol import FilmSink, FilmSource, Frame
from stylenet.video.window import Window

IDLE = 0.02  # seconds without a frame after which the window is looked after


def show(
    source: FilmSource,
    sink: FilmSink | None,
    size: tuple[int, int],
    stylize: Callable[[Frame], tuple[Frame, np.ndarray]],
    steady: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> bool:
    """Show the frames of ``source``, stylized, in a window of ``size``, width and height in pixels, until it ends, or
    the user ends it by q, Esc, the window's cross or Ctrl-C. Frames that the machine is too slow for are dropped and
    counted. ``sink``: takes those that were shown, with sound; None records nothing. Returns whether all was shown.

    ``stylize``: a frame to that frame at ``size`` and its result (h, w, 3). ``steady``: the frame and its result to
    the result that is shown. Raises UserError where no window can be opened.
    """
    name = source.path.name
    window = Window(f"stylenet {name}: q ends it", size)
    shown, whole, begin = 0, False, time.perf_counter()
    with ExitStack() as stack:
        stack.callback(window.close)
        stylize(Frame(np.zeros((size[1], size[0], 3), np.uint8), Fraction(0)))  # the first pass is the slowest
        live = stack.enter_context(Live(source, others=sink is not None))
        bar = stack.enter_context(console.bar(desc=name, unit="frame", mininterval=0.5, leave=False))
        begin = time.perf_counter()
        try:
            while not window.ended():
                taken = live.take(IDLE)
                if taken.frame is not None:
                    frame, painted = stylize(taken.frame)
                    rgb = steady(frame.rgb, painted)
                    window.show(srgb.eight_bit(rgb))
                    shown += 1
                    bar.update()
                    if sink is not None:
                        sink.add(replace(frame, rgb=rgb))
                if sink is not None and shown:
                    for packet in taken.others:
                        sink.add(packet)
                if taken.ended and taken.frame is None:
                    whole = True
                    break
        except KeyboardInterrupt:
            pass
    seconds = max(time.perf_counter() - begin, 1e-9)
    dropped = f"; {live.dropped} were dropped to keep the time" if live.dropped else ""
    console.warn_line(f"{name}: {shown} frames shown, {shown / seconds:.1f} a second{dropped}")
    return whole
