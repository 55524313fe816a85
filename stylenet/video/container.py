"""Films read and written by way of PyAV: frames as arrays; sound, subtitles, chapters and tags go along.

Knows files and frames; nothing about networks. Needs pip install 'stylenet[video]'.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stylenet.images import srgb
from stylenet.images.suffixes import FILM_FORMATS
from stylenet.system.errors import UserError, one_line
from stylenet.video.streams import Along, failures

if TYPE_CHECKING:
    import av

CLEAR = {  # by container, where it can hold transparency: the encoder, its pixels and its options
    "mov": ("prores_ks", "yuva444p10le", {"profile": "4444"}),  # what editors take
    "matroska": ("libvpx-vp9", "yuva420p", {}),
    "webm": ("libvpx-vp9", "yuva420p", {}),
}
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # what decodes it: FFmpeg's own decoders pass it over
HIGH = 720  # pixels of height: where a film does not say its matrix, players take that of HDTV from here on
BT709, BT601 = 1, 5  # H.273 matrix coefficients
UNSAID = 2
LIMITED, FULL = 1, 2  # FFmpeg's numbers of the range
LATE = Fraction(1, 4)  # seconds that a file may end before the length it claims, and be whole


@dataclass(frozen=True)
class Frame:
    """One frame: ``rgb`` (h, w, 3), upright; when it is shown and for how long, in seconds, exactly.

    ``alpha``: (h, w), where some of it may be transparent. Both are uint8, or uint16 from pictures of 16 bits; films
    are written in 8. ``number``: its own, where its file's name has one.
    """

    rgb: np.ndarray
    time: Fraction
    duration: Fraction | None = None
    alpha: np.ndarray | None = None
    number: int | None = None


@dataclass(frozen=True)
class Look:
    """How a film's frames are stored: what a writer needs to store others in the same way.

    ``matrix``: FFmpeg's display matrix, which turns and mirrors stored frames. ``colors``: H.273 numbers of the
    primaries, the transfer and the matrix, and FFmpeg's of the range. ``aspect``: of a pixel, width to height.
    """

    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    colors: tuple[int, int, int, int] = (UNSAID, UNSAID, UNSAID, 0)
    aspect: Fraction | None = None

    @property
    def swaps(self) -> bool:
        """Whether the rows of a stored frame are the columns of what is seen."""
        return self.matrix is not None and abs(self.matrix[1]) > abs(self.matrix[0])

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """A stored frame (h, w, c) as it is seen: turned by quarters and mirrored, whatever more its matrix says."""
        seen = stored.swapaxes(0, 1) if self.swaps else stored
        return np.ascontiguousarray(seen[self._ways])

    def stored(self, upright: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`upright`."""
        back = upright[self._ways]
        return np.ascontiguousarray(back.swapaxes(0, 1) if self.swaps else back)

    @property
    def _ways(self) -> tuple[slice, slice]:
        """Down and across what is seen: a place (x, y) of the stored frame goes to (a x + c y, b x + d y)."""
        a, b, _, c, d = (self.matrix or (1, 0, 0, 0, 1))[:5]
        across, down = (c, b) if self.swaps else (a, d)
        return slice(None, None, -1 if down < 0 else 1), slice(None, None, -1 if across < 0 else 1)


def require() -> Any:
    """PyAV. Raises UserError where it is not installed."""
    try:
        import av
        import av.logging
    except ImportError as error:
        raise UserError("Films need PyAV: pip install 'stylenet[video]'.") from error
    av.logging.set_level(av.logging.PANIC)  # what goes wrong is said once, by us
    return av


class Reader:
    """A film's frames and the packets of its other streams, in the order of the file but a frame first.

    ``look``: see :class:`Look`; ``clear``: whether its frames have alpha; ``others``: its sound and subtitles;
    ``expected``: how many frames the file claims, None where it does not. What cannot be read is passed over:
    ``missing`` says so afterwards. Raises UserError where the file cannot be opened or holds no film.
    """

    def __init__(self, path: str | Path):
        self._av = require()
        self.path = Path(path)
        try:
            self._file = self._av.open(str(path), metadata_errors="replace")
        except failures() as error:
            raise UserError(f"Cannot read {path} as a film: {_reason(error)}.") from error
        with ExitStack() as stack:
            stack.callback(self._file.close)
            films = [stream for stream in self._file.streams.video if not _is_cover(stream)]
            if not films:
                raise UserError(f"{path} holds no film: no moving pictures are in it.")
            self._film = films[0]
            self._film.thread_type = "AUTO"
            self._decoder = self._own_decoder()
            self.others = [one for one in self._file.streams if one.type in ("audio", "subtitle")]
            self._packets = self._read = self._broken = 0
            self._end: Fraction = Fraction(0)  # of the frames
            self._reached: Fraction = Fraction(0)  # by the packets of any stream
            self._cut: str | None = None
            self._early: list[Any] = []  # read before the first frame, which the look is taken from
            self._frames = self._decoded()
            self._first = next(self._frames, None)
            if self._first is None:
                raise UserError(f"Cannot read {path} as a film: not one of its frames can be decoded.")
            while not isinstance(self._first, self._av.VideoFrame):
                self._early.append(self._first)
                self._first = next(self._frames, None)
                if self._first is None:
                    raise UserError(f"Cannot read {path} as a film: not one of its frames can be decoded.")
            self.look = _look(self._film, self._first)
            self._size = self._first.width, self._first.height
            self.clear: bool = any(one.is_alpha for one in self._first.format.components)
            stack.pop_all()

    def close(self) -> None:
        self._file.close()

    @property
    def tags(self) -> dict[str, str]:
        """Title, date, place and such."""
        own = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # of the container, not the film
        return {key: value for key, value in self._file.metadata.items() if key.lower() not in own}

    @property
    def chapters(self) -> list[Any]:
        return self._file.chapters()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames, in pixels."""
        return self._size[:: -1 if self.look.swaps else 1]

    @property
    def expected(self) -> int | None:
        if self._claimed:
            return self._claimed
        seconds = self._seconds()
        return None if seconds is None else max(1, round(seconds * self.look.rate))

    @property
    def missing(self) -> str | None:
        """What could not be read, once all is read; None where nothing is missing."""
        claimed, seconds = self._claimed, self._seconds()
        if claimed and self._packets < claimed:
            return f"only {self._read} of {claimed} frames can be read"
        if self._cut or (not claimed and seconds and self._reached < seconds - self._vague * seconds - LATE):
            of = f" of {float(seconds):.1f}" if seconds else ""
            return f"it breaks off after {float(self._end):.1f}{of} seconds"
        if self._broken:
            return f"{self._broken} frames are damaged"
        return None

    def __iter__(self) -> Iterator["Frame | av.Packet"]:
        if self._first is not None:
            yield self._frame(self._first)
            self._first = None
        yield from self._early
        self._early = []
        for item in self._frames:
            yield self._frame(item) if isinstance(item, self._av.VideoFrame) else item

    @property
    def _claimed(self) -> int:
        """How many frames the file says it has, 0 where that says nothing: an AVI counts gaps as frames, and a film
        that was trimmed without being encoded anew those that are not shown.
        """
        frames, seconds = self._film.frames, self._seconds()
        trimmed = seconds is not None and frames / self.look.rate > seconds * 11 / 10 + 1
        return 0 if self._file.format.name == "avi" or trimmed else frames

    @property
    def _vague(self) -> Fraction:
        """The part by which the length that a file claims may be wrong: Matroska writes it down, others are guessed."""
        return Fraction(0) if "matroska" in self._file.format.name else Fraction(1, 10)

    def _own_decoder(self) -> Any:
        """What decodes the film with its alpha; None where that is the usual decoder."""
        name = _WITH_ALPHA.get(self._film.codec_context.name)
        said = {key.lower(): value for key, value in self._film.metadata.items()}
        if name is None or said.get("alpha_mode") != "1":
            return None
        try:
            return self._av.CodecContext.create(name, "r")
        except failures():  # without it the film is read as it was
            return None

    def _decoded(self) -> Iterator[Any]:
        """Frames of the film and packets of the others."""
        errors = failures()
        packets = self._file.demux(self._film, *self.others)
        while True:
            try:
                packet = next(packets, None)
            except errors as error:
                self._cut, packet = _reason(error), None
            if packet is None:
                return
            if packet.pts is not None:
                self._reached = max(self._reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream is not self._film:
                if packet.dts is not None:
                    yield packet
                continue
            self._packets += packet.dts is not None or packet.size > 0
            try:
                frames = packet.decode() if self._decoder is None else self._decoder.decode(packet)
            except errors:
                self._broken += 1
                continue
            for frame in frames:
                self._read += 1
                self._broken += bool(frame.is_corrupt)
                yield frame

    def _frame(self, frame: Any) -> Frame:
        primaries, transfer, matrix, range_ = self.look.colors
        full = range_ == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
        rgb = frame.reformat(
            *self._size,  # a film that changes its size keeps that of its first frame
            format="rgba" if self.clear else "rgb24",
            src_colorspace=_matrix(matrix, self._size[1]),
            src_color_range=FULL if full else LIMITED,
            dst_color_range=FULL,
            interpolation="BICUBIC",
        ).to_ndarray()
        base = frame.time_base or self._film.time_base
        time = self._end if frame.pts is None else frame.pts * base
        duration = frame.duration * base if frame.duration else None
        self._end = max(self._end, time + (duration or 1 / self.look.rate))
        alpha = self.look.upright(rgb[..., 3]) if self.clear else None
        return Frame(self.look.upright(rgb[..., :3]), time, duration, alpha)

    def _seconds(self) -> Fraction | None:
        if self._film.duration:
            return self._film.duration * self._film.time_base
        return Fraction(self._file.duration, self._av.time_base) if self._file.duration else None


class Writer:
    """A film file: ``add`` takes frames in their order, and packets of the ``others``. Then ``close``.

    ``path``: its suffix, one of FILM_FORMATS, says the container. ``quality``: 1 to 100, as of JPEG. ``look``: how to
    store the frames. ``said``: what of the film is not in it, once it is closed. ``size``: of its frames as they are
    seen, from the first on: H.264 gets even sides, as phones and browsers play no others.
    """

    def __init__(
        self,
        path: str | Path,
        look: Look,
        quality: int = 95,
        others: Sequence[Any] = (),
        tags: Any = None,
        chapters: Sequence[Any] = (),
    ):
        self._av = require()
        self._container, self._encoder = FILM_FORMATS[Path(path).suffix.lower()]
        self._file = self._av.open(str(path), "w", format=self._container)
        self._file.metadata.update(tags or {})
        self._look, self._quality = look, quality
        self._film: Any = None
        self._notes: dict[str, None] = {}  # in their order, each once
        self.size: tuple[int, int] | None = None
        self._along: Along | None = None
        self._streams, self._chapters = others, chapters
        self._base = Fraction(1)
        self._last: int | None = None

    def add(self, item: "Frame | av.Packet") -> None:
        if not isinstance(item, Frame):
            if self._along is None:
                raise ValueError("a film begins with a frame")
            return self._along.add(item)
        film = self._film or self._begin(item)
        self._file.mux(film.encode(self._stored(item)))

    def close(self) -> None:
        """End the file well. Raises UserError where nothing was added."""
        if self._film is None:
            self.drop()
            raise UserError("There are no frames to write.")
        self._file.mux(self._film.encode())
        if self._along is not None:
            self._along.close()
        self._file.close()

    @property
    def said(self) -> list[str]:
        if self._along is None:
            return []
        said = [
            *self._notes,
            *(f"left out is the {kind}, which {self._container} does not hold" for kind in self._along.left_out),
        ]
        damaged = self._along.damaged
        return [*said, f"{damaged} pieces of its sound or subtitles are damaged and left out"] if damaged else said

    def drop(self) -> None:
        """Close the file as it is."""
        with suppress(Exception):
            self._file.close()

    def _begin(self, frame: Frame) -> Any:
        clear = CLEAR.get(self._container) if frame.alpha is not None else None
        self._encoder, pixels, options = clear or (self._encoder, "yuv420p", {})
        height, width = self._sides(frame)
        film = self._file.add_stream(self._encoder, rate=self._look.rate)
        film.width, film.height, film.pix_fmt = width, height, pixels
        crf = round(13 + (100 - self._quality) / 2)  # 95: 16, which nobody tells from the original
        if self._encoder == "libx264":
            options = {"crf": str(min(51, crf))}
        elif self._encoder == "libvpx-vp9":
            options = {"crf": str(min(63, crf * 3 // 2)), "b": "0", "row-mt": "1", "cpu-used": "4"}
            film.metadata.update({"alpha_mode": "1"} if clear else {})
        film.options = options
        base = self._look.time_base or 1 / self._look.rate
        film.time_base = film.codec_context.time_base = base
        primaries, transfer, matrix, range_ = self._look.colors
        context = film.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, matrix
        context.color_range = range_
        if self._look.aspect:
            context.sample_aspect_ratio = self._look.aspect
        if self._look.matrix:
            film.set_display_matrix(self._look.matrix)
        self._film, self._base = film, base
        self._along = Along(self._av, self._file, self._container, self._streams)
        with suppress(*failures()):
            self._file.set_chapters(list(self._chapters))
        return film

    def _sides(self, frame: Frame) -> tuple[int, int]:
        """Height and width of the stored frames. H.264 keeps odd sides with whole colours only (4:4:4)."""
        height, width = self._look.stored(frame.rgb).shape[:2]
        if self._encoder == "libx264":
            height, width = (max(2, side // 2 * 2) for side in (height, width))
        self.size = (height, width) if self._look.swaps else (width, height)
        if self.size != frame.rgb.shape[1::-1]:
            shape = "x".join(map(str, self.size))
            self._notes[f"it is {shape}, as phones and browsers play H.264 of even sides only"] = None
        return height, width

    def _pixels(self, frame: Frame) -> np.ndarray:
        """A frame as it is stored, (h, w, 3) or, where alpha is kept, (h, w, 4)."""
        rgb, alpha = srgb.eight_bit(frame.rgb), None if frame.alpha is None else srgb.eight_bit(frame.alpha)
        if "a" in self._film.pix_fmt:
            alpha = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
            rgb = np.dstack([rgb, alpha])
        elif alpha is not None and alpha.min() < 255:
            shown = alpha[..., None].astype(np.float32) / 255
            rgb = np.rint(255 + (rgb - np.float32(255)) * shown).astype(np.uint8)
            into = ".webm, .webp or .gif" if self._container == "mov" else ".mov, .webm, .webp or .gif"
            self._notes[f"what is transparent became white, as {self._container} cannot hold it: give {into}"] = None
        pixels = self._look.stored(rgb)[: self._film.height, : self._film.width]
        rest = self._film.height - pixels.shape[0], self._film.width - pixels.shape[1]
        return np.ascontiguousarray(
            np.pad(pixels, [(0, rest[0]), (0, rest[1]), (0, 0)], "edge") if any(rest) else pixels
        )

    def _stored(self, frame: Frame) -> Any:
        pixels = self._pixels(frame)
        *_, matrix, range_ = self._look.colors
        kind = "rgb24" if pixels.shape[2] == 3 else "rgba"
        stored = self._av.VideoFrame.from_ndarray(pixels, format=kind).reformat(
            format=self._film.pix_fmt,
            src_color_range=FULL,
            dst_colorspace=_matrix(matrix, len(pixels)),
            dst_color_range=range_ or LIMITED,
            interpolation="BICUBIC",
        )
        ticks = round(frame.time / self._base)
        self._last = ticks if self._last is None else max(ticks, self._last + 1)  # no two at the same moment
        stored.pts, stored.time_base = self._last, self._base
        if frame.duration:
            stored.duration = round(frame.duration / self._base)
        return stored


# --- what a stream says of itself


def _look(film: Any, first: Any) -> Look:
    rate = film.average_rate or film.guessed_rate or Fraction(25)
    tags = (int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range))
    if first.format.name.startswith("yuvj"):
        tags = (*tags[:3], FULL)
    elif first.format.is_rgb:
        tags = (*tags[:2], UNSAID, 0)
    matrix = None
    if "DISPLAYMATRIX" in first.side_data:
        matrix = tuple(int(one) for one in np.frombuffer(bytes(first.side_data["DISPLAYMATRIX"]), np.int32))
    aspect = film.codec_context.sample_aspect_ratio or film.sample_aspect_ratio
    return Look(Fraction(rate), film.time_base, matrix, tags, aspect if aspect and aspect > 0 else None)


def _matrix(named: int, height: int) -> int:
    """The matrix to reckon with: FFmpeg knows those of H.273 by the same numbers, as far as it converts them."""
    if named in (1, 4, 5, 6, 7, 9, 10):
        return {6: BT601, 10: 9}.get(named, named)
    return BT709 if height >= HIGH else BT601


def _is_cover(stream: Any) -> bool:
    return bool(getattr(stream, "disposition", 0) & 0x400)  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)
