"""The sound and subtitles of a film, copied into another. Sound is encoded anew where the new container does not hold
it as it is. Knows PyAV's streams and packets; nothing about frames.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from stylenet.system.atomic import NO_ROOM

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.output import OutputContainer
    from av.packet import Packet
    from av.stream import Stream

ENCODERS = {"webm": "libopus"}  # of sound, by container; elsewhere:
ENCODER = "aac"
PLAIN = (48_000, "stereo")  # samples a second and layout that every encoder knows
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels


def failures() -> tuple[type[Exception], ...]:
    """The exceptions that PyAV raises for a damaged file."""
    from av.error import FFmpegError

    return ValueError, OSError, FFmpegError  # its own are of the last, and many of one of the others


class StreamCopier:
    """Copies ``streams`` of a film into ``file``, which is open for writing in FFmpeg's format ``container``.

    ``left_out`` names the streams that the container cannot hold. ``damaged`` counts the packets that could not be
    used.
    """

    def __init__(self, file: "OutputContainer", container: str, streams: "Sequence[Stream]"):
        self._file = file
        self.left_out: list[str] = []
        self.damaged = 0
        self._routes: dict[Stream, _Copied | _Recoded] = {}
        for stream in streams:
            route = _route(file, container, stream)
            if route is None:
                self.left_out.append(f"{stream.type} ({getattr(stream.codec_context, 'name', 'unknown')})")
                continue
            self._routes[stream] = route
            route.stream.metadata.update(stream.metadata)
            with suppress(*failures(), AttributeError):
                route.stream.disposition = stream.disposition

    def add(self, packet: "Packet[Stream]") -> None:
        """Write a packet of one of the streams. Raises OSError where the disk is full."""
        if packet.stream in self._routes:
            route = self._routes[packet.stream]
            self._mux(lambda: route.packets(packet))

    def close(self) -> None:
        """Write what the encoders still hold. Raises OSError where the disk is full."""
        for route in self._routes.values():
            self._mux(route.rest)

    def _mux(self, packets: "Callable[[], Iterator[Packet]]") -> None:
        try:
            for packet in packets():
                self._file.mux(packet)
        except failures() as error:
            if getattr(error, "errno", None) in NO_ROOM:  # all others are the stream's own
                raise
            self.damaged += 1


class _Copied:
    """A stream whose packets go into the file as they are."""

    def __init__(self, file: "OutputContainer", stream: "Stream"):
        self.stream = file.add_stream_from_template(stream)

    def packets(self, packet: "Packet[Stream]") -> "Iterator[Packet]":
        packet.stream = self.stream
        yield packet

    def rest(self) -> "Iterator[Packet]":
        yield from ()


class _Recoded:
    """A stream of sound that is decoded and encoded anew."""

    def __init__(self, file: "OutputContainer", encoder: str, rate: int, layout: str):
        self.stream = cast("AudioStream", file.add_stream(encoder, rate=rate))
        self.stream.codec_context.layout = layout

    def packets(self, packet: "Packet[Stream]") -> "Iterator[Packet]":
        for frame in cast("list[AudioFrame]", packet.decode()):
            yield from self.stream.encode(frame)

    def rest(self) -> "Iterator[Packet]":
        yield from self.stream.encode(None)


def _route(file: "OutputContainer", container: str, stream: "Stream") -> "_Copied | _Recoded | None":
    """How a stream gets into a file; None where it cannot."""
    if _holds(container, stream):
        return _Copied(file, stream)
    if stream.type != "audio" or stream.codec_context is None:
        return None
    encoder, context = ENCODERS.get(container, ENCODER), cast("AudioCodecContext", stream.codec_context)
    as_it_is = context.sample_rate, LAYOUTS.get(context.channels, PLAIN[1])
    for rate, layout in (as_it_is, (PLAIN[0], as_it_is[1]), PLAIN):
        if _opens(encoder, rate, layout):
            return _Recoded(file, encoder, rate, layout)
    return None


def _opens(encoder: str, rate: int, layout: str) -> bool:
    """Whether an encoder takes sound of so many samples a second in this layout."""
    import av

    with suppress(*failures(), AttributeError):
        context = cast("AudioCodecContext", av.CodecContext.create(encoder, "w"))
        context.sample_rate, context.layout = rate, layout
        context.format = context.codec.audio_formats[0]  # type: ignore[index]  # None is suppressed, too
        context.open()
        return True
    return False


def _holds(container: str, stream: "Stream") -> bool:
    """Whether a file of this format takes the stream: tried, as what a format lists is not what its writer accepts."""
    import av

    if stream.codec_context is None:
        return False
    if container == "mp4" and stream.codec_context.name.startswith("pcm_"):
        return False  # found out by its writer only at the very end, and few players play it
    trial = av.open(io.BytesIO(), "w", format=container)
    try:
        if stream.codec_context.name not in trial.supported_codecs:
            return False
        trial.add_stream_from_template(stream)
        trial.start_encoding()
        return True
    except failures():
        return False
    finally:
        with suppress(*failures()):
            trial.close()
