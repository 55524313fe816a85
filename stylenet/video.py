"""Moving pictures stylized: a film, an animated picture, numbered pictures or a camera in, the first three out.

Frames are read, stylized and written beside each other, and only a few of them are held at a time.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import count
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylenet import animations, files, films, frames, images, jobs, left_out, streams, temporal
from stylenet.errors import UserError
from stylenet.films import Frame
from stylenet.folders import Tell
from stylenet.images import Picture
from stylenet.jobs import Job
from stylenet.outcomes import FAILED, SKIPPED, WRITTEN, Outcome, reason
from stylenet.pipeline import in_order

STEADY = 0.6  # of the frame before: flicker falls to less than half, and strokes stay as sharp
FPS = Fraction(25)

Stylize = Callable[[Picture], Picture]


@dataclass(frozen=True)
class How:
    """How films are done. Raises UserError for values that are not allowed.

    ``size``: longer side at most, in pixels. ``temporal``: 0 to 0.95, see :class:`stylenet.temporal.Steady`; None for
    STEADY where OpenCV is installed. ``flow``: see :func:`stylenet.temporal.flow_of`, on ``device``. ``fps``: frames a
    second of numbered pictures and cameras. ``existing``: see :func:`stylenet.jobs.existing`. ``alone``: of several
    films each has a bar in a terminal only.
    """

    size: int | None = None
    quality: int = 95
    existing: str = "refuse"
    temporal: float | None = None
    flow: str = "auto"
    fps: float | None = None
    device: str = "cpu"
    alone: bool = True

    def __post_init__(self) -> None:
        if self.temporal is not None:
            temporal.check(self.temporal)
        if self.flow not in temporal.FLOWS:
            raise UserError(f"flow={self.flow}: give {', '.join(temporal.FLOWS[:-1])} or {temporal.FLOWS[-1]}.")
        right = isinstance(self.fps, Real) and not isinstance(self.fps, bool) and 0.01 <= float(self.fps) <= 1000
        if self.fps is not None and not right:
            raise UserError(f"fps={self.fps}: give frames a second, 0.01 to 1000, such as fps=25.")

    @property
    def rate(self) -> Fraction:
        return FPS if self.fps is None else Fraction(float(self.fps)).limit_denominator(1001)

    @property
    def steadiness(self) -> float:
        if self.temporal is None:
            return STEADY if find_spec("cv2") else 0.0
        return float(self.temporal)


def check_target(job: Job) -> None:
    """Raises UserError where ``job``'s target cannot hold moving pictures."""
    path, suffix = job.target, job.target.suffix.lower()
    if frames.is_numbered(path):
        images.format_of(path)
    elif path == jobs.STREAM:
        raise UserError(f"output=- holds one picture, but {job.source} is a film: give a file or a folder.")
    elif suffix == ".png" and job.source.suffix.lower() in animations.READABLE:
        return  # an animation stays one; of a film each frame may have been meant
    elif suffix == ".png" or (suffix not in animations.WRITABLE and suffix not in films.WRITABLE):
        allowed = ", ".join([*films.WRITABLE, *(animations.WRITABLE.keys() - {".png"})])
        raise UserError(f"output={path} holds no film: give a file with {allowed}, or frames/%04d.png.")


def way(stylize: Stylize, how: How) -> Callable[[Sequence[Job], Tell], Iterator[Outcome]]:
    """What :func:`stylenet.folders.run` needs to do one film after the other."""

    def films_of(todo: Sequence[Job], tell: Tell) -> Iterator[Outcome]:
        for job in todo:
            outcome = stylized(job, stylize, how)
            tell(outcome)
            yield outcome

    return films_of


def stylized(job: Job, stylize: Stylize, how: How) -> Outcome:
    """One film, done; what became of it. A film of which some can be read is written, with ``reason``."""
    begin = time.perf_counter()
    try:
        said, size = _film(job, stylize, how)
    except Exception as error:  # whatever one film brings must not cost the others
        return Outcome(job.source, job.target, FAILED, reason(error), seconds=time.perf_counter() - begin)
    if size is None:
        return Outcome(job.source, job.target, SKIPPED, jobs.SKIPPED)
    return Outcome(job.source, job.target, WRITTEN, said, *size, time.perf_counter() - begin)


def _film(job: Job, stylize: Stylize, how: How) -> tuple[str | None, tuple[int, int] | None]:
    """What is to be said of a film that is written, and its size; no size where there is nothing to be done."""
    check_target(job)
    _require_free(job, how.existing)
    steady = temporal.Steady(how.steadiness, temporal.flow_of(how.flow, how.device) if how.steadiness else None)
    source = _source(job.source, how.rate)
    try:
        numbered = frames.is_numbered(job.target)
        if numbered and how.existing == "skip" and _complete(job.target, source):
            return None, None
        size = _fitted(source.size, how.size)
        bar_as = {"desc": job.source.name, "unit": "frame", "mininterval": 0.5, "leave": False}
        bar_as["disable"] = False if how.alone else None
        with streams.bar(total=source.expected, **bar_as) as bar, _sink(job.target, source, how) as sink:
            place = count(1)

            def process(item: Any) -> Any:
                if not isinstance(item, Frame):
                    return item
                number = next(place) if item.number is None else item.number
                frame = item if item.rgb.shape[1::-1] == size else _resized(item, size)
                needless = numbered and not steady.temporal and sink.has(number)
                return frame, frame.rgb if needless else stylize(Picture(frame.rgb)).rgb

            def take(item: Any) -> None:
                if isinstance(item, tuple):
                    frame, made = item
                    item = replace(frame, rgb=steady(frame.rgb, made))
                    bar.update()
                sink.add(item)

            _until_stopped(source, process, take)
            size = getattr(sink, "size", None) or size
        for note in sink.said:
            left_out.remark(job.target, note)
        said = None if source.missing is None else f"{source.missing}; {job.target} holds what can be"
        return said, size
    finally:
        source.close()


def _until_stopped(source: Any, process: Callable, take: Callable) -> None:
    """A camera has no end but Ctrl-C, after which what it saw is kept."""
    try:
        in_order(source, process, take)
    except KeyboardInterrupt:
        if not isinstance(source, frames.Camera):
            raise


def _source(path: Path, rate: Fraction) -> Any:
    if frames.camera(path) is not None:
        return frames.Camera(path, rate)
    if frames.is_numbered(path):
        return frames.Numbered(path, rate)
    return animations.Animation(path) if path.suffix.lower() in animations.READABLE else films.Reader(path)


@contextmanager
def _sink(target: Path, source: Any, how: How) -> Iterator[Any]:
    """Where frames go; a file takes its place when all went well, numbered pictures do one by one."""
    with ExitStack() as stack:
        if frames.is_numbered(target):
            sink: Any = frames.NumberedWriter(target, how.quality, how.existing == "skip")
        else:
            temp = stack.enter_context(files.replacing(target))
            if writer := animations.WRITABLE.get(target.suffix.lower()):
                loop = getattr(source, "loop", 0)
                sink = writer(temp, source.look, loop, getattr(source, "clear", False), how.quality)
            else:
                sink = films.Writer(temp, source.look, how.quality, source.others, source.tags, source.chapters)
        try:
            yield sink
            sink.close()
        except BaseException:
            sink.drop()
            raise


def _require_free(job: Job, existing: str) -> None:
    target = job.target
    if frames.is_numbered(target):
        there = frames.numbers(target)
        if there and existing == "refuse":
            raise UserError(jobs.exists(frames.numbered(target, there[0])))
    elif jobs.is_there(target) and existing != "replace":
        raise UserError(jobs.exists(target))


def _complete(target: Path, source: Any) -> bool:
    """Whether there are as many numbered pictures as the source says it has frames."""
    there = frames.numbers(target)
    wanted = getattr(source, "numbers", range(1, (source.expected or 0) + 1))
    return bool(wanted) and set(wanted) <= set(there)


def _fitted(sides: tuple[int, int], size: int | None) -> tuple[int, int]:
    """Even, where they change at all: what all players show."""
    if size is None or max(sides) <= size:
        return sides
    scale = size / max(sides)
    return max(2, round(sides[0] * scale / 2) * 2), max(2, round(sides[1] * scale / 2) * 2)


def _resized(frame: Frame, size: tuple[int, int]) -> Frame:
    if frame.rgb.dtype != np.uint8:  # Pillow has no pictures of 16 bits and three colours
        alpha = None if frame.alpha is None else images.resized(frame.alpha[..., None], size)[..., 0]
        return replace(frame, rgb=images.resized(frame.rgb, size), alpha=alpha)
    rgb = np.array(Image.fromarray(frame.rgb).resize(size, Image.Resampling.LANCZOS))
    alpha = None if frame.alpha is None else np.array(Image.fromarray(frame.alpha).resize(size))
    return replace(frame, rgb=rgb, alpha=alpha)
