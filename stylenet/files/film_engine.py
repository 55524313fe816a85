"""Films, animated pictures, numbered pictures and cameras, stylized frame by frame.

Frames are read, stylized and written concurrently; only a few are in memory.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from stylenet.files import live_engine, planning
from stylenet.files.options import Writing
from stylenet.files.pipeline import in_order
from stylenet.files.planning import Job
from stylenet.files.report import FAILED, SKIPPED, WRITTEN, Outcome, reason
from stylenet.files.runner import OnOutcome, RunJobs
from stylenet.images import image_io, left_out
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import ANIMATIONS
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.video import image_sequence, temporal
from stylenet.video.image_sequence import Still
from stylenet.video.options import FilmOptions
from stylenet.video.protocol import FilmSink, FilmSource, Frame, Item
from stylenet.video.sources import holds_no_film, open_sink, open_source, sink_kind

Stylize = Callable[..., Picture]  # of a picture, and of a style for walks
StyleAt = Callable[[float], Any]


@dataclass(frozen=True)
class FilmSettings:
    """The settings for each film of a run.

    ``device``: computes the optical flow. ``alone``: the run has only one film. Its progress bar is always shown; those
    of several films are shown only in a terminal. ``record``: the result is written; a preview need not be. ``walk``:
    the style after a part of a film, 0 to 1; None for one style.
    """

    film: FilmOptions = FilmOptions()
    writing: Writing = Writing()
    device: str = "cpu"
    alone: bool = True
    record: bool = True
    walk: StyleAt | None = None


def check_target(job: Job) -> None:
    """Raise UserError if the target of ``job`` cannot hold moving pictures."""
    path, suffix = job.target, job.target.suffix.lower()
    if image_sequence.is_numbered(path):
        image_io.format_of(path)
    elif path == planning.STREAM:
        raise UserError(f"output=- holds one picture, but {job.source} is a film: give a file or a folder.")
    elif suffix == ".png" and job.source.suffix.lower() in ANIMATIONS:
        return  # an animation stays one; for a film, single frames may be meant
    elif suffix == ".png" or sink_kind(path) is None:
        raise holds_no_film(path)


def engine(stylize: Stylize, settings: FilmSettings) -> RunJobs:
    """An engine for :func:`stylenet.files.runner.run` that stylizes films one after another."""

    def films_of(todo: Sequence[Job], on_outcome: OnOutcome) -> Iterator[Outcome]:
        for job in todo:
            outcome = stylized(job, stylize, settings)
            on_outcome(outcome)
            yield outcome

    return films_of


def stylized(job: Job, stylize: Stylize, settings: FilmSettings) -> Outcome:
    """Stylize one film. Failures are reported in the outcome.

    If only a part of the film can be read, that part is written, and ``reason`` says so.
    """
    begin = time.perf_counter()
    try:
        why, size = _film(job, stylize, settings)
    except Exception as error:  # one film's failure must not stop the others
        return Outcome(job.source, job.target, FAILED, reason(error), seconds=time.perf_counter() - begin)
    if size is None:
        return Outcome(job.source, job.target, SKIPPED, planning.SKIPPED)
    target = job.target if settings.record else planning.STREAM
    return Outcome(job.source, target, WRITTEN, why, *size, time.perf_counter() - begin)


def _film(job: Job, stylize: Stylize, settings: FilmSettings) -> tuple[str | None, tuple[int, int] | None]:
    """What is missing in the result, or None, and its width and height in pixels, None if it was skipped."""
    film, writing = settings.film, settings.writing
    stylize = noted = _Noted(stylize, trials=int(film.preview))
    if not settings.record:
        made = _shown(job, stylize, settings)
        noted.warn(job.source)
        return made
    check_target(job)
    _require_free(job, writing.existing)
    still = settings.walk is not None and not planning.moves(job.source)
    # A picture does not flicker, and what is kept of the frame before would hold the walk back.
    steady = temporal.Steady(0.0) if still and film.temporal is None else _steady(settings)
    source: FilmSource
    source = Still(job.source, film.rate, film.length) if still else _opened(job.source, film)
    keep = writing.existing == "skip"
    try:
        if keep and image_sequence.is_numbered(job.target) and _complete(job.target, source):
            return None, None
        if settings.walk and not source.expected:
            raise UserError(f"walk= needs a film with a known number of frames, and {job.source} does not tell it.")
        size = _fitted(source.size, writing.size)
        opened = open_sink(job.target, source, writing.quality, keep, film.encoder)
        with ExitStack() as stack:
            sink = stack.enter_context(opened)
            whole = True
            if film.preview:
                whole = live_engine.show(source, sink, size, _at(size, stylize), steady)
            else:
                bar = stack.enter_context(_bar(source, settings.alone))
                _convert(source, sink, size, _styled(stylize, settings.walk, source.expected), steady, bar)
            size = sink.size or size
        _warn_of(source)
        for note in sink.notes:
            left_out.warn_note(job.target, note)
        noted.warn(job.source)
        missing = source.missing if whole else None
        why = None if missing is None else f"{missing}; {job.target} holds what can be"
        return why, size
    finally:
        source.close()


def _shown(job: Job, stylize: Stylize, settings: FilmSettings) -> tuple[str | None, tuple[int, int]]:
    """As :func:`_film`, for a preview of which nothing is written."""
    source = _opened(job.source, settings.film)
    try:
        size = _fitted(source.size, settings.writing.size)
        whole = live_engine.show(source, None, size, _at(size, stylize), _steady(settings))
        _warn_of(source)
        return source.missing if whole else None, size
    finally:
        source.close()


def _warn_of(source: FilmSource) -> None:
    for note in source.notes:
        left_out.warn_note(source.path, note)


def _opened(path: Path, film: FilmOptions) -> FilmSource:
    return open_source(path, film.rate, film.decoder)


class _Noted:
    """Stylizes frames, and counts the messages about them. ``trials``: so many calls come before the first frame."""

    def __init__(self, stylize: Stylize, trials: int = 0):
        self._stylize, self._frames = stylize, -trials
        self._notes: Counter[str] = Counter()

    def __call__(self, frame: Picture, *style: Any) -> Picture:
        made = self._stylize(frame, *style)
        self._frames += 1
        self._notes.update([made.note] if made.note and self._frames > 0 else [])
        return made

    def warn(self, film: Path) -> None:
        """Write each message to stderr, and how many frames it is about."""
        for note, times in self._notes.items():
            left_out.warn_note(film, f"{note} (in {times} of {self._frames} frames)")


def _steady(settings: FilmSettings) -> temporal.Steady:
    film = settings.film
    if not film.steadiness:
        return temporal.Steady(0.0)
    on_gpu = settings.device if settings.device.startswith("cuda") else None
    return temporal.Steady(film.steadiness, temporal.flow_of(film.flow, settings.device), on_gpu)


def _at(size: tuple[int, int], stylize: Stylize) -> Callable[[Frame], tuple[Frame, np.ndarray]]:
    """A frame at ``size``, and its stylized pixels."""

    def painted(frame: Frame) -> tuple[Frame, np.ndarray]:
        frame = frame if frame.rgb.shape[1::-1] == size else _resized(frame, size)
        return frame, stylize(Picture(frame.rgb)).rgb

    return painted


def _bar(source: FilmSource, alone: bool) -> tqdm:
    disable = False if alone else None  # None: shown in a terminal only
    about = {"desc": source.path.name, "unit": "frame", "mininterval": 0.5, "leave": False}
    return console.bar(total=source.expected, disable=disable, **about)


@dataclass(frozen=True)
class _Seen:
    """A frame at the size of the result, the packets before it, the number of frames before it, and what moved since
    the last of them.
    """

    frame: Frame
    packets: list[Item]
    place: int
    movement: temporal.Movement | None


@dataclass(frozen=True)
class _Stylized:
    """A frame, and its stylized ``rgb``."""

    seen: _Seen
    rgb: np.ndarray


MOST_PACKETS = 256  # of sound and subtitles that wait for a frame


def _grouped(source: Iterable[Item]) -> Iterator[list[Item]]:
    """Each frame with the packets before it, so that what waits between two steps is counted in frames."""
    group: list[Item] = []
    for item in source:
        group.append(item)
        if isinstance(item, Frame) or len(group) == MOST_PACKETS:
            yield group
            group = []
    if group:
        yield group


def _styled(stylize: Stylize, walk: StyleAt | None, expected: int | None) -> Callable[[Picture, int], Picture]:
    """Stylize a frame, given how many came before: along a walk that ends with the last of those expected."""
    if walk is None:
        return lambda frame, place: stylize(frame)
    return lambda frame, place: stylize(frame, walk(place / max(1, (expected or 2) - 1)))


def _convert(
    source: FilmSource,
    sink: FilmSink,
    size: tuple[int, int],
    stylize: Callable[[Picture, int], Picture],
    steady: temporal.Steady,
    bar: tqdm,
) -> None:
    """Stylize all frames of ``source`` at ``size``, width and height in pixels, into ``sink``. ``stylize`` is told how
    many frames came before.

    Ctrl-C ends an endless source; what is written by then is kept, without a gap.
    """
    places = count()

    def look(group: list[Item]) -> list[Item] | _Seen:
        *packets, frame = group
        if not isinstance(frame, Frame):
            return group
        frame = frame if frame.rgb.shape[1::-1] == size else _resized(frame, size)
        return _Seen(frame, packets, next(places), steady.movement(frame.rgb))

    def process(seen: list[Item] | _Seen) -> list[Item] | _Stylized:
        if not isinstance(seen, _Seen):
            return seen
        number = seen.place + 1 if seen.frame.number is None else seen.frame.number
        rgb, needless = seen.frame.rgb, not steady.temporal and sink.has(number)
        return _Stylized(seen, rgb if needless else stylize(Picture(rgb), seen.place).rgb)

    def blend(made: list[Item] | _Stylized) -> list[Item]:
        if not isinstance(made, _Stylized):
            return made
        frame = replace(made.seen.frame, rgb=steady.blended(made.seen.movement, made.rgb))
        return [*made.seen.packets, frame]

    def write(group: list[Item]) -> None:
        for item in group:
            sink.add(item)
            bar.update(isinstance(item, Frame))

    try:
        in_order(_grouped(source), process, before=[look], after=[blend, write])
    except KeyboardInterrupt:
        if not source.endless:
            raise


def _require_free(job: Job, existing: str) -> None:
    """Raise UserError if a result exists that may be neither replaced nor completed."""
    target = job.target
    if image_sequence.is_numbered(target):
        there = image_sequence.numbers(target)
        if there and existing == "refuse":
            raise UserError(planning.exists(image_sequence.numbered(target, there[0])))
    elif planning.is_there(target) and existing != "replace":
        raise UserError(planning.exists(target))


def _complete(target: Path, source: FilmSource) -> bool:
    """Whether a numbered picture exists for each frame of the source."""
    there = image_sequence.numbers(target)
    return bool(source.numbers) and {*source.numbers} <= {*there}


def _fitted(sides: tuple[int, int], size: int | None) -> tuple[int, int]:
    """Width and height, the longer at most ``size``. Changed sides are even, as players require."""
    if size is None or max(sides) <= size:
        return sides
    scale = size / max(sides)
    return max(2, round(sides[0] * scale / 2) * 2), max(2, round(sides[1] * scale / 2) * 2)


def _resized(frame: Frame, size: tuple[int, int]) -> Frame:
    """The frame with another width and height."""
    if frame.rgb.dtype != np.uint8:  # Pillow has no 16-bit RGB mode
        alpha = None if frame.alpha is None else image_io.resized(frame.alpha[..., None], size)[..., 0]
        return replace(frame, rgb=image_io.resized(frame.rgb, size), alpha=alpha)
    rgb = np.array(Image.fromarray(frame.rgb).resize(size, Image.Resampling.LANCZOS))
    alpha = None if frame.alpha is None else np.array(Image.fromarray(frame.alpha).resize(size))
    return replace(frame, rgb=rgb, alpha=alpha)
