"""What a film is: its frames, how they are stored, and the two protocols that all readers and writers fulfil.

Knows arrays and times; nothing about files or networks. :mod:`stylenet.video.sources` lists the readers and writers.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream

UNSAID = 2  # the H.273 number of colours that a film does not describe


@dataclass(frozen=True)
class Frame:
    """One frame of a film.

    ``rgb``: (h, w, 3), upright, uint8 or, from pictures of 16 bits, uint16. ``time``: the moment it is shown, in
    seconds, exactly. ``duration``: how long it is shown, in seconds; None where the film does not say. ``alpha``:
    (h, w) of the same type as ``rgb``; None where the frame is opaque. ``number``: the number in the name of its file.
    """

    rgb: np.ndarray
    time: Fraction
    duration: Fraction | None = None
    alpha: np.ndarray | None = None
    number: int | None = None


Item: TypeAlias = "Frame | Packet[Stream]"
"""What a source gives: its frames, and the packets of its sound and subtitles between them."""


@dataclass(frozen=True)
class Look:
    """How a film stores its frames. A writer stores other frames in the same way.

    ``rate``: frames a second. ``time_base``: the unit of its times, in seconds. ``matrix``: FFmpeg's display matrix,
    which turns and mirrors stored frames. ``colors``: the H.273 numbers of the primaries, the transfer and the matrix,
    then FFmpeg's number of the range. ``aspect``: the width of a pixel divided by its height.
    """

    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    colors: tuple[int, int, int, int] = (UNSAID, UNSAID, UNSAID, 0)
    aspect: Fraction | None = None

    @property
    def swaps(self) -> bool:
        """Whether the rows of a stored frame are the columns of the upright one."""
        return self.matrix is not None and abs(self.matrix[1]) > abs(self.matrix[0])

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """Turn and mirror a stored frame (h, w, c) or (h, w). Only quarter turns of the matrix count."""
        turned = stored.swapaxes(0, 1) if self.swaps else stored
        return np.ascontiguousarray(turned[self._flips])

    def stored(self, upright: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`upright`."""
        back = upright[self._flips]
        return np.ascontiguousarray(back.swapaxes(0, 1) if self.swaps else back)

    @property
    def _flips(self) -> tuple[slice, slice]:
        """Down and across the upright frame: the matrix moves a stored (x, y) to (a x + c y, b x + d y)."""
        a, b, _, c, d = (self.matrix or (1, 0, 0, 0, 1))[:5]
        across, down = (c, b) if self.swaps else (a, d)
        return slice(None, None, -1 if down < 0 else 1), slice(None, None, -1 if across < 0 else 1)


class FilmSource(Protocol):
    """Moving pictures that are read once, from the first frame to the last, and then closed.

    A new kind is a class with this one as its base, and a row in :mod:`stylenet.video.sources`.

    ``path``: what a user named. ``size``: width and height of the upright frames, in pixels. ``expected``: the number
    of frames it claims to have; None where it makes no claim. ``endless``: Ctrl-C ends it, and ends it well. ``loop``:
    how often it is shown, 0 for ever, None once. ``clear``: whether frames may be transparent. ``others``: its streams
    of sound and subtitles. ``notes``: what a user should know about how it is read.
    """

    path: Path
    look: Look
    size: tuple[int, int]
    expected: int | None
    endless: bool = False
    loop: int | None = 0
    clear: bool = False
    others: "Sequence[Stream]" = ()
    notes: Sequence[str] = ()

    @property
    def tags(self) -> Mapping[str, str]:
        """Title, date, place and such."""
        return {}

    @property
    def chapters(self) -> "Sequence[Chapter]":
        """Its chapters, as PyAV describes them."""
        return ()

    @property
    def numbers(self) -> Sequence[int]:
        """The number of each expected frame, ascending. Numbered results take these numbers."""
        return range(1, (self.expected or 0) + 1)

    @property
    def missing(self) -> str | None:
        """What could not be read, known once all is read; None where nothing is missing."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """The frames in their order, and the packets of ``others`` between them. A frame comes first."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Let go of the file or the device."""
        raise NotImplementedError


class FilmSink(Protocol):
    """Moving pictures that are written, frame after frame. ``close`` ends them, or ``drop`` after a failure.

    ``size``: width and height of the written frames, in pixels, from the first frame on; None where they keep the size
    of the frames that are added.
    """

    size: tuple[int, int] | None = None

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know about the result, known once it is closed."""
        return ()

    def has(self, number: int) -> bool:
        """Whether the frame of this number exists and stays, so that its result is not needed."""
        return False

    @abstractmethod
    def add(self, item: Item) -> None:
        """Write the next frame or packet. Packets are passed over where the format has no place for them."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Finish the result. Raises UserError where it needs a frame and got none."""
        raise NotImplementedError

    @abstractmethod
    def drop(self) -> None:
        """Close the file as it is."""
        raise NotImplementedError
