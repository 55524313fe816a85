"""A film or a camera as time passes: always the newest frame, dropped ones where the taker is slower.

Knows frames and times; nothing about networks, files or windows.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stylenet.video.protocol import FilmSource, Frame, Item

PATIENCE = 5.0  # seconds for a camera to give its last frame


@dataclass(frozen=True)
class Taken:
    """``frame``: the newest since the last one; None if none came. ``others``: packets of sound since then, in order.
    ``ended``: nothing more will come.
    """

    frame: Frame | None
    others: Sequence[Item]
    ended: bool


class Live:
    """Reads a source in a thread while the block lasts, and keeps its newest frame only.

    The frames of a film come at their own times, those of a camera when they come. ``dropped``: the number of frames
    that nobody took before the next one. ``others``: whether packets of sound are kept. ``clock`` gives seconds,
    ``wait`` waits so many seconds, or until the block ends.
    """

    def __init__(
        self,
        source: FilmSource,
        others: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ):
        self.dropped = 0
        self._source, self._keep, self._clock = source, others, clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._others: list[Item] = []
        self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="live", daemon=True)

    def __enter__(self) -> "Live":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)

    def take(self, seconds: float) -> Taken:
        """The newest frame, once one is there; waits at most ``seconds``. Raises what reading the source raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended, seconds)
            taken = Taken(self._frame, self._others, self._ended)
            self._frame, self._others = None, []
            if taken.ended and taken.frame is None and self._failure is not None:
                raise self._failure
            return taken

    def _read(self) -> None:
        try:
            begin: float | None = None
            for item in self._source:
                if self._stopped.is_set():
                    return
                if isinstance(item, Frame):
                    now = self._clock()
                    begin = now - float(item.time) if begin is None else begin
                    early = begin + float(item.time) - now
                    if early > 0 and not self._source.endless:
                        self._wait(early)
                self._put(item)
        except BaseException as error:  # the taker raises it
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _put(self, item: Item) -> None:
        with self._changed:
            if isinstance(item, Frame):
                self.dropped += self._frame is not None
                self._frame = item
                self._changed.notify()
            elif self._keep:
                self._others.append(item)
