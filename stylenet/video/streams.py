"""What goes along with a film's frames: its sound and subtitles, copied as they are; sound that the new container
cannot hold is encoded anew. Knows PyAV's streams and packets; nothing about frames.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from stylenet.system.atomic import NO_ROOM

ENCODERS = {"webm": "libopus"}  # of sound, by container; elsewhere:
ENCODER = "aac"
PLAIN = (48_000, "stereo")  # samples a second and layout that every encoder knows
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}  # by channels


def failures() -> tuple[type[Exception], ...]:
    """What PyAV raises where a file is not as it should be."""
    from av.error import FFmpegError

    return ValueError, OSError, FFmpegError  # its own are of the last, and many of one of the others


class Along:
    """The ``streams`` of a film that is read, in a ``file`` that is written, whose format is called ``container``.

    ``add`` takes their packets. ``left_out`` names those that the container cannot hold, ``damaged`` counts the packets
    that could not be used.
    """

    def __init__(self, av: Any, file: Any, container: str, streams: Sequence[Any]):
        self._file = file
        self.left_out: list[str] = []
        self.damaged = 0
        self._ways: dict[Any, _Copied | _Recoded] = {}
        for stream in streams:
            way = _way(av, file, container, stream)
            if way is None:
                self.left_out.append(f"{stream.type} ({getattr(stream.codec_context, 'name', 'unknown')})")
                continue
            self._ways[stream] = way
            way.stream.metadata.update(stream.metadata)
            with suppress(*failures(), AttributeError):
                way.stream.disposition = stream.disposition

    def add(self, packet: Any) -> None:
        if packet.stream in self._ways:
            self._mux(lambda: self._ways[packet.stream].packets(packet))

    def close(self) -> None:
        for way in self._ways.values():
            self._mux(way.rest)

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets():
                self._file.mux(packet)
        except failures() as error:
            if getattr(error, "errno", None) in NO_ROOM:  # all others are the stream's own
                raise
            self.damaged += 1


class _Copied:
    def __init__(self, file: Any, stream: Any):
        self.stream = file.add_stream_from_template(stream)

    def packets(self, packet: Any) -> Iterator[Any]:
        packet.stream = self.stream
        yield packet

    def rest(self) -> Iterator[Any]:
        yield from ()


class _Recoded:
    def __init__(self, file: Any, stream: Any, encoder: str, rate: int, layout: str):
        self.stream = file.add_stream(encoder, rate=rate)
        self.stream.codec_context.layout = layout

    def packets(self, packet: Any) -> Iterator[Any]:
        for frame in packet.decode():
            yield from self.stream.encode(frame)

    def rest(self) -> Iterator[Any]:
        yield from self.stream.encode(None)


def _way(av: Any, file: Any, container: str, stream: Any) -> "_Copied | _Recoded | None":
    if _holds(av, container, stream):
        return _Copied(file, stream)
    if stream.type != "audio" or stream.codec_context is None:
        return None
    encoder, context = ENCODERS.get(container, ENCODER), stream.codec_context
    as_it_is = context.sample_rate, LAYOUTS.get(context.channels, PLAIN[1])
    for rate, layout in (as_it_is, (PLAIN[0], as_it_is[1]), PLAIN):
        if _opens(av, encoder, rate, layout):
            return _Recoded(file, stream, encoder, rate, layout)
    return None


def _opens(av: Any, encoder: str, rate: int, layout: str) -> bool:
    """Whether an encoder takes sound of so many samples a second in this layout."""
    with suppress(*failures(), AttributeError):
        context = av.CodecContext.create(encoder, "w")
        context.sample_rate, context.layout = rate, layout
        context.format = context.codec.audio_formats[0]
        context.open()
        return True
    return False


def _holds(av: Any, container: str, stream: Any) -> bool:
    """Whether a file of this format takes the stream: tried, as what a format lists is not what its writer accepts."""
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
