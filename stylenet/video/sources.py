"""The readers and writers of moving pictures, in one table each. A new kind is one more row.

The rows implement the protocols of :mod:`stylenet.video.protocol`; their suffixes are in
:mod:`stylenet.images.suffixes`. Knows names; nothing about pixels or networks.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from stylenet.images.suffixes import ANIMATION_FORMATS, ANIMATIONS, FILM_FORMATS, FILMS, PICTURE_FORMATS
from stylenet.system import atomic
from stylenet.system.errors import UserError
from stylenet.video.animations import WRITERS, Animation, is_animated
from stylenet.video.container import Reader, Writer
from stylenet.video.image_sequence import Camera, Numbered, NumberedWriter, is_camera, is_numbered
from stylenet.video.protocol import FilmSink, FilmSource


def _has_suffix(suffixes: Collection[str]) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


@dataclass(frozen=True)
class SourceKind:
    """A kind of moving pictures that can be read.

    ``matches``: whether a path is of this kind, by its name. ``open``: opens it, given the frames a second for kinds
    that have no times of their own (``timed`` is False), and the decoder of films. ``results``: the suffixes that a
    result may have. ``otherwise``: the suffix of a result where that of the source is none of them. ``moves``: whether
    a path of this kind has several frames, which may need a look into the file.
    """

    matches: Callable[[Path], bool]
    open: Callable[[Path, Fraction, str], FilmSource]
    results: Collection[str]
    otherwise: str
    timed: bool = True
    moves: Callable[[Path], bool] = lambda path: True


_FILM = SourceKind(_has_suffix(FILMS), lambda path, rate, decoder: Reader(path, decoder), FILM_FORMATS, ".mp4")
SOURCES = (
    SourceKind(is_camera, lambda path, rate, _: Camera(path, rate), FILM_FORMATS, ".mp4", timed=False),
    SourceKind(is_numbered, lambda path, rate, _: Numbered(path, rate), PICTURE_FORMATS, ".png", timed=False),
    SourceKind(
        _has_suffix(ANIMATIONS),
        lambda path, *_: Animation(path),
        ANIMATION_FORMATS,
        ".webp",
        moves=lambda path: path.is_file() and is_animated(path),
    ),
    _FILM,
)
"""The first row that matches a path reads it."""


def source_kind(path: Path) -> SourceKind | None:
    """The kind of source that a name stands for; None where it stands for none."""
    return next((kind for kind in SOURCES if kind.matches(path)), None)


def open_source(path: Path, rate: Fraction, decoder: str = "cpu") -> FilmSource:
    """Open moving pictures. A file with an unknown suffix is read as a film.

    ``rate``: frames a second of numbered pictures and cameras. ``decoder``: of films, see
    :class:`stylenet.video.container.Reader`. Raises UserError where nothing can be read.
    """
    return (source_kind(path) or _FILM).open(path, rate, decoder)


def is_decoded(path: Path) -> bool:
    """Whether a path is a film, which a decoder reads, and no camera, animation or numbered pictures."""
    return (source_kind(path) or _FILM) is _FILM


@dataclass(frozen=True)
class SinkKind:
    """A kind of moving pictures that can be written.

    ``matches``: whether a path is of this kind, by its name. ``open``: opens it, see :func:`open_sink`. ``is_file``:
    it is one file, which is whole or absent.
    """

    matches: Callable[[Path], bool]
    open: Callable[[Path, FilmSource, int, bool, str], FilmSink]
    is_file: bool = True


def _open_numbered(path: Path, source: FilmSource, quality: int, keep: bool, encoder: str) -> FilmSink:
    return NumberedWriter(path, quality, keep)


def _open_animation(path: Path, source: FilmSource, quality: int, keep: bool, encoder: str) -> FilmSink:
    return WRITERS[ANIMATION_FORMATS[path.suffix.lower()]].like(path, source, quality)


def _open_film(path: Path, source: FilmSource, quality: int, keep: bool, encoder: str) -> FilmSink:
    return Writer.like(path, source, quality, encoder)


SINKS = (
    SinkKind(is_numbered, _open_numbered, is_file=False),
    SinkKind(_has_suffix(ANIMATION_FORMATS), _open_animation),
    SinkKind(_has_suffix(FILM_FORMATS), _open_film),
)
"""The first row that matches a path writes it."""


def sink_kind(path: Path) -> SinkKind | None:
    """The kind of sink that a name stands for; None where it cannot hold moving pictures."""
    return next((kind for kind in SINKS if kind.matches(path)), None)


@contextmanager
def open_sink(
    path: Path, source: FilmSource, quality: int = 95, keep: bool = False, encoder: str = "cpu"
) -> Iterator[FilmSink]:
    """Open a file, or numbered pictures, for the stylized frames of ``source``.

    The look, the sound and the tags of ``source`` go along, as far as the format holds them. A file takes its place
    when the block ends well; numbered pictures do one by one. ``quality``: 1 to 100. ``keep``: numbered pictures that
    exist stay as they are. ``encoder``: of H.264, see :class:`stylenet.video.container.Writer`. Raises UserError where
    ``path`` cannot hold a film, or cannot be written.
    """
    kind = sink_kind(path)
    if kind is None:
        raise holds_no_film(path)
    with ExitStack() as stack:
        place = stack.enter_context(atomic.replacing(path)) if kind.is_file else path
        sink = kind.open(place, source, quality, keep, encoder)
        try:
            yield sink
            sink.close()
        except BaseException:
            sink.drop()
            raise


def holds_no_film(path: Path) -> UserError:
    """The error for a result that cannot hold a film. A .png is not offered: each frame may have been meant."""
    allowed = ", ".join([*FILM_FORMATS, *(suffix for suffix in ANIMATION_FORMATS if suffix != ".png")])
    return UserError(f"output={path} holds no film: give a file with {allowed}, or frames/%04d.png.")
