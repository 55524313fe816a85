"""Films read and written with PyAV. Frames are arrays; sound, subtitles, chapters and tags are copied.

Knows files and frames; nothing about networks. Needs pip install 'stylenet[video]'.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from stylenet.images import srgb
from stylenet.images.suffixes import FILM_FORMATS
from stylenet.system.errors import UserError, one_line
from stylenet.video.protocol import UNSAID, FilmSink, FilmSource, Frame, Item, Look
from stylenet.video.streams import StreamCopier, failures

if TYPE_CHECKING:
    from av.container.core import Chapter
    from av.packet import Packet
    from av.sidedata.sidedata import SideData
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CLEAR = {  # by container, where it can hold transparency: the encoder, its pixels and its options
    "mov": ("prores_ks", "yuva444p10le", {"profile": "4444"}),  # what editors take
    "matroska": ("libvpx-vp9", "yuva420p", {}),
    "webm": ("libvpx-vp9", "yuva420p", {}),
}
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # what decodes it: FFmpeg's own decoders pass it over
NVENC = "h264_nvenc"  # FFmpeg's name of an NVIDIA GPU's encoder
H264 = ("libx264", NVENC)
NVDEC = "cuda"  # and of its devices, whose decoder is NVDEC
HIGH = 720  # pixels of height: where a film does not say its matrix, players take that of HDTV from here on
BT709, BT601 = 1, 5  # H.273 matrix coefficients
LIMITED, FULL = 1, 2  # FFmpeg's numbers of the range
LATE = Fraction(1, 4)  # seconds that a file may end before the length it claims, and be whole


def require() -> None:
    """Raises UserError where PyAV is not installed.

    PyAV passes over FFmpeg's messages if nobody asks for them. With any level set, also with one that shows nothing,
    FFmpeg's threads wait for Python's lock to tell of errors, and a decoder that is let go meanwhile waits for its
    threads, holding that lock: for ever.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UserError("Films need PyAV: pip install 'stylenet[video]'.") from error


def require_nvenc() -> None:
    """Raises UserError where no GPU of this machine encodes H.264, or PyAV is not installed."""
    require()
    import av

    try:
        trial = cast("VideoCodecContext", av.CodecContext.create(NVENC, "w"))
        trial.width, trial.height, trial.pix_fmt, trial.time_base = 256, 256, "yuv420p", Fraction(1, 25)
        trial.open()
    except failures() as error:
        raise UserError(
            f"encoder=nvenc: no GPU here encodes H.264 ({_reason(error)}). It takes an NVIDIA GPU with an encoder, "
            "which cards such as A100 and H100 lack. Leave it out, or give encoder=cpu."
        ) from error


def require_nvdec() -> None:
    """Raises UserError where no NVIDIA GPU with its driver is in this machine, or PyAV is not installed."""
    require()
    import av
    from av.codec.hwaccel import HWAccel

    try:
        HWAccel(NVDEC).create(av.Codec("h264", "r"))
    except (*failures(), NotImplementedError) as error:
        raise UserError(
            f"decoder=nvdec: no NVIDIA GPU can be used here ({_reason(error)}). It takes one and its driver. Leave it "
            "out, or give decoder=cpu."
        ) from error


class Reader(FilmSource):
    """A film's frames and the packets of its other streams, in the order of the file but a frame first.

    ``decoder``: "cpu", or "nvdec" where the first NVIDIA GPU is to decode, see :func:`require_nvdec`; a film that it
    cannot decode is decoded on the CPU, and ``notes`` says so. What cannot be read is passed over, and ``missing`` says
    so. Raises UserError where PyAV is not installed, where the file cannot be opened, or where it holds no film.
    """

    def __init__(self, path: str | Path, decoder: str = "cpu"):
        require()
        self.path, self.notes = Path(path), []
        if decoder == "nvdec":
            kind = "the GPU cannot be used"
            with suppress(UserError):  # a film that cannot be read at all is told of below
                self._open(NVDEC)
                if self._film.codec_context.pix_fmt == NVDEC and self._decoder is None:
                    return
                codec = self._film.codec_context.codec.canonical_name
                kind = codec if self._decoder is None else f"{codec} with transparency"
                self.close()
            self.notes.append(f"decoder=nvdec does not read it ({kind}): it was decoded on the CPU")
        self._open()

    def _open(self, device: str | None = None) -> None:
        """Open the file and read its first frame. ``device``: FFmpeg's name of the one that is to decode; FFmpeg itself
        takes the CPU for what that does not decode, and says so in the format of the frames alone.
        """
        import av
        from av.codec.hwaccel import HWAccel

        try:
            hardware = HWAccel(device, allow_software_fallback=True) if device else None
            self._file = av.open(str(self.path), metadata_errors="replace", hwaccel=hardware)
        except failures() as error:
            raise UserError(f"Cannot read {self.path} as a film: {_reason(error)}.") from error
        with ExitStack() as stack:
            stack.callback(self._file.close)
            films = [stream for stream in self._file.streams.video if not _is_cover(stream)]
            if not films:
                raise UserError(f"{self.path} holds no film: no moving pictures are in it.")
            self._film = films[0]
            if not self._film.codec_context.is_hwaccel:
                self._film.thread_type = "AUTO"
            self._decoder = self._own_decoder()
            self.others = [one for one in self._file.streams if one.type in ("audio", "subtitle")]
            self._packets = self._read = self._broken = 0
            self._end = Fraction(0)  # of the frames
            self._reached = Fraction(0)  # by the packets of any stream
            self._cut: str | None = None
            self._early: list[Packet[Stream]] = []  # read before the first frame, which the look is taken from
            self._frames = self._decoded()
            first = self._first_frame()
            self._first: VideoFrame | None = first
            self.look = _look(self._film, first)
            self._size = first.width, first.height
            self.size = (first.height, first.width) if self.look.swaps else (first.width, first.height)
            self.expected = self._expected()
            self.clear = any(one.is_alpha for one in first.format.components)
            stack.pop_all()

    def close(self) -> None:
        self._file.close()

    @property
    def tags(self) -> Mapping[str, str]:
        own = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # of the container, not the film
        return {key: value for key, value in self._file.metadata.items() if key.lower() not in own}

    @property
    def chapters(self) -> "Sequence[Chapter]":
        return self._file.chapters()

    @property
    def missing(self) -> str | None:
        claimed, seconds = self._claimed, self._seconds()
        if claimed and self._packets < claimed:
            return f"only {self._read} of {claimed} frames can be read"
        if self._cut or (not claimed and seconds and self._reached < seconds - self._vague * seconds - LATE):
            of = f" of {float(seconds):.1f}" if seconds else ""
            return f"it breaks off after {float(self._end):.1f}{of} seconds"
        if self._broken:
            return f"{self._broken} frames are damaged"
        return None

    def __iter__(self) -> Iterator[Item]:
        import av

        if self._first is not None:
            yield self._frame(self._first)
            self._first = None
        yield from self._early
        self._early = []
        for item in self._frames:
            yield self._frame(item) if isinstance(item, av.VideoFrame) else item

    def _first_frame(self) -> "VideoFrame":
        """The first frame; packets that precede it are kept. Raises UserError where there is no frame."""
        import av

        for item in self._frames:
            if isinstance(item, av.VideoFrame):
                return item
            self._early.append(item)
        raise UserError(f"Cannot read {self.path} as a film: not one of its frames can be decoded.")

    def _expected(self) -> int | None:
        if self._claimed:
            return self._claimed
        seconds = self._seconds()
        return None if seconds is None else max(1, round(seconds * self.look.rate))

    @property
    def _claimed(self) -> int:
        """The number of frames that the file states, 0 where the statement is of no use.

        An AVI counts gaps as frames. A film that was trimmed without being encoded anew counts frames that are not
        shown.
        """
        frames, seconds = self._film.frames, self._seconds()
        trimmed = seconds is not None and frames / self.look.rate > seconds * 11 / 10 + 1
        return 0 if self._file.format.name == "avi" or trimmed else frames

    @property
    def _vague(self) -> Fraction:
        """By which part the length of a file may be wrong: Matroska states it, for other formats FFmpeg guesses it."""
        return Fraction(0) if "matroska" in self._file.format.name else Fraction(1, 10)

    def _own_decoder(self) -> "VideoCodecContext | None":
        """The decoder that keeps the alpha of the film; None where the usual decoder does."""
        import av

        name = _WITH_ALPHA.get(self._film.codec_context.name)
        metadata = {key.lower(): value for key, value in self._film.metadata.items()}
        if name is None or metadata.get("alpha_mode") != "1":
            return None
        try:
            return cast("VideoCodecContext", av.CodecContext.create(name, "r"))
        except failures():  # without it the film is read as it was
            return None

    def _decoded(self) -> "Iterator[VideoFrame | Packet[Stream]]":
        """The frames of the film, and the packets of the others."""
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
                frames = (self._decoder or self._film).decode(packet)
            except errors:
                self._broken += 1
                continue
            for frame in frames:
                self._read += 1
                self._broken += bool(frame.is_corrupt)
                yield frame

    def _frame(self, frame: "VideoFrame") -> Frame:
        *_, matrix, range_ = self.look.colors
        full = range_ == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
        rgb = frame.reformat(
            *self._size,  # a film that changes its size keeps that of its first frame
            format="rgba" if self.clear else "rgb24",
            src_colorspace=_matrix(matrix, self._size[1]),
            src_color_range=FULL if full else LIMITED,
            dst_color_range=FULL,
            interpolation="BICUBIC",
        ).to_ndarray()
        base = frame.time_base or self._film.time_base or Fraction(1)
        time = self._end if frame.pts is None else frame.pts * base
        duration = frame.duration * base if frame.duration else None
        self._end = max(self._end, time + (duration or 1 / self.look.rate))
        alpha = self.look.upright(rgb[..., 3]) if self.clear else None
        return Frame(self.look.upright(rgb[..., :3]), time, duration, alpha)

    def _seconds(self) -> Fraction | None:
        """The length that the file states, in seconds."""
        import av

        if self._film.duration and self._film.time_base:
            return self._film.duration * self._film.time_base
        return Fraction(self._file.duration, av.time_base) if self._file.duration else None


class Writer(FilmSink):
    """Writes a film file: its frames, in their order, and the packets of ``others`` between them.

    ``path``: its suffix, one of FILM_FORMATS, names the container. ``look``: how to store the frames. ``quality``: 1 to
    100, as of JPEG. ``encoder``: "cpu", or "nvenc" where an NVIDIA GPU is to write H.264, see :func:`require_nvenc`.
    ``size`` differs from that of the frames where H.264 needs even sides, as phones and browsers play no others. Raises
    UserError where PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        look: Look,
        quality: int = 95,
        others: "Sequence[Stream]" = (),
        tags: Mapping[str, str] | None = None,
        chapters: "Sequence[Chapter]" = (),
        encoder: str = "cpu",
    ):
        require()
        import av

        self._container, self._encoder = FILM_FORMATS[Path(path).suffix.lower()]
        if encoder == "nvenc" and self._encoder in H264:
            self._encoder = NVENC
        self._file = av.open(str(path), "w", format=self._container)
        self._file.metadata.update(tags or {})
        self._look, self._quality = look, quality
        self._film: VideoStream | None = None
        self._remarks: dict[str, None] = {}  # in their order, each once
        self._copier: StreamCopier | None = None
        self._streams, self._chapters = others, chapters
        self._base = Fraction(1)
        self._last: int | None = None

    @classmethod
    def like(cls, path: Path, source: FilmSource, quality: int, encoder: str = "cpu") -> "Writer":
        """A writer for the stylized frames of ``source``, with its look, sound, tags and chapters."""
        return cls(path, source.look, quality, source.others, source.tags, source.chapters, encoder)

    def add(self, item: Item) -> None:
        """Write a frame or a packet. Raises ValueError where a packet precedes the first frame."""
        if not isinstance(item, Frame):
            if self._copier is None:
                raise ValueError("a film begins with a frame")
            return self._copier.add(item)
        film = self._film or self._begin(item)
        self._file.mux(film.encode(self._stored(film, item)))

    def close(self) -> None:
        """Finish the file. Raises UserError where no frame was added."""
        if self._film is None:
            self.drop()
            raise UserError("There are no frames to write.")
        self._file.mux(self._film.encode())
        if self._copier is not None:
            self._copier.close()
        self._file.close()

    @property
    def notes(self) -> list[str]:
        if self._copier is None:
            return []
        notes = [
            *self._remarks,
            *(f"left out is the {kind}, which {self._container} does not hold" for kind in self._copier.left_out),
        ]
        damaged = self._copier.damaged
        return [*notes, f"{damaged} pieces of its sound or subtitles are damaged and left out"] if damaged else notes

    def drop(self) -> None:
        with suppress(Exception):
            self._file.close()

    def _begin(self, frame: Frame) -> "VideoStream":
        """Add the stream of frames and those that are copied, now that the first frame tells what is needed."""
        clear = CLEAR.get(self._container) if frame.alpha is not None else None
        if clear and self._encoder == NVENC:
            self._remarks[f"encoder=nvenc holds no transparency: {clear[0]} wrote it, on the CPU"] = None
        self._encoder, pixels, options = clear or (self._encoder, "yuv420p", {})
        height, width = self._sides(frame)
        film = cast("VideoStream", self._file.add_stream(self._encoder, rate=self._look.rate))
        film.width, film.height, film.pix_fmt = width, height, pixels
        film.options = {**(self._options() or options)}
        if clear and self._encoder == "libvpx-vp9":
            film.metadata.update({"alpha_mode": "1"})
        self._describe(film)
        self._film = film
        self._copier = StreamCopier(self._file, self._container, self._streams)
        with suppress(*failures()):
            self._file.set_chapters(list(self._chapters))
        return film

    def _options(self) -> dict[str, str]:
        """The encoder's options for the quality; none for encoders without such."""
        crf = round(13 + (100 - self._quality) / 2)  # 95: 16, which nobody tells from the original
        if self._encoder == "libx264":
            return {"crf": str(min(51, crf))}
        if self._encoder == NVENC:  # its constant quality has the range of x264's
            return {"preset": "p5", "rc": "vbr", "cq": str(min(51, crf)), "b": "0"}
        if self._encoder == "libvpx-vp9":
            return {"crf": str(min(63, crf * 3 // 2)), "b": "0", "row-mt": "1", "cpu-used": "4"}
        return {}

    def _describe(self, film: "VideoStream") -> None:
        """Have the stream state the look."""
        self._base = self._look.time_base or 1 / self._look.rate
        film.time_base = film.codec_context.time_base = self._base
        primaries, transfer, matrix, range_ = self._look.colors
        context = film.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, matrix
        context.color_range = range_
        if self._look.aspect:
            context.sample_aspect_ratio = self._look.aspect
        if self._look.matrix:
            film.set_display_matrix(self._look.matrix)

    def _sides(self, frame: Frame) -> tuple[int, int]:
        """Height and width of the stored frames. H.264 keeps odd sides with whole colours only (4:4:4)."""
        height, width = self._look.stored(frame.rgb).shape[:2]
        if self._encoder in H264:
            height, width = (max(2, side // 2 * 2) for side in (height, width))
        self.size = (height, width) if self._look.swaps else (width, height)
        if self.size != frame.rgb.shape[1::-1]:
            shape = "x".join(map(str, self.size))
            self._remarks[f"it is {shape}, as phones and browsers play H.264 of even sides only"] = None
        return height, width

    def _pixels(self, film: "VideoStream", frame: Frame) -> np.ndarray:
        """A frame as it is stored, (h, w, 3) of uint8 or, where alpha is kept, (h, w, 4)."""
        rgb, alpha = srgb.eight_bit(frame.rgb), None if frame.alpha is None else srgb.eight_bit(frame.alpha)
        if "a" in (film.pix_fmt or ""):
            alpha = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
            rgb = np.dstack([rgb, alpha])
        elif alpha is not None and alpha.min() < 255:
            shown = alpha[..., None].astype(np.float32) / 255
            rgb = np.rint(255 + (rgb - np.float32(255)) * shown).astype(np.uint8)
            into = ".webm, .webp or .gif" if self._container == "mov" else ".mov, .webm, .webp or .gif"
            self._remarks[f"what is transparent became white, as {self._container} cannot hold it: give {into}"] = None
        pixels = self._look.stored(rgb)[: film.height, : film.width]
        rest = film.height - pixels.shape[0], film.width - pixels.shape[1]
        return np.ascontiguousarray(
            np.pad(pixels, [(0, rest[0]), (0, rest[1]), (0, 0)], "edge") if any(rest) else pixels
        )

    def _stored(self, film: "VideoStream", frame: Frame) -> "VideoFrame":
        """A frame as the encoder takes it."""
        import av

        pixels = self._pixels(film, frame)
        *_, matrix, range_ = self._look.colors
        kind = "rgb24" if pixels.shape[2] == 3 else "rgba"
        stored = av.VideoFrame.from_ndarray(pixels, format=kind).reformat(
            format=film.pix_fmt,
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


def _look(film: "VideoStream", first: "VideoFrame") -> Look:
    """How a film stores its frames, of which ``first`` is one."""
    rate = film.average_rate or film.guessed_rate or Fraction(25)
    tags = (int(first.color_primaries), int(first.color_trc), int(first.colorspace), int(first.color_range))
    if first.format.name.startswith("yuvj"):
        tags = (*tags[:3], FULL)
    elif first.format.is_rgb:
        tags = (*tags[:2], UNSAID, 0)
    matrix = None
    side_data = cast("Mapping[str, SideData]", first.side_data)
    if "DISPLAYMATRIX" in side_data:
        matrix = tuple(int(one) for one in np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32))
    aspect = film.codec_context.sample_aspect_ratio or film.sample_aspect_ratio
    return Look(Fraction(rate), film.time_base, matrix, tags, aspect if aspect and aspect > 0 else None)


def _matrix(named: int, height: int) -> int:
    """The matrix to convert with. FFmpeg numbers those that it converts as H.273 does.

    Where a film does not name one, its ``height`` in pixels decides.
    """
    if named in (1, 4, 5, 6, 7, 9, 10):
        return {6: BT601, 10: 9}.get(named, named)
    return BT709 if height >= HIGH else BT601


def _is_cover(stream: "VideoStream") -> bool:
    return bool(stream.disposition & 0x400)  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)
