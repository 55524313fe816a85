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

from stylenet.files import planning
from stylenet.files.pipeline import in_order
from stylenet.files.planning import Job
from stylenet.files.report import FAILED, SKIPPED, WRITTEN, Outcome, reason
from stylenet.files.runner import Tell
from stylenet.images import image_io, left_out
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import ANIMATION_FORMATS, ANIMATIONS, FILM_FORMATS
from stylenet.system import atomic, console
from stylenet.system.errors import UserError
from stylenet.video import animations, container, image_sequence, temporal
from stylenet.video.container import Frame

STEADY = 0.6  # of the frame before: flicker falls to less than half, and strokes stay as sharp
FPS = Fraction(25)

Stylize = Callable[[Picture], Picture]


@dataclass(frozen=True)
class How:
    """How films are done. Raises UserError for values that are not allowed.

    ``size``: longer side at most, in pixels. ``temporal``: 0 to 0.95, see :class:`stylenet.video.temporal.Steady`; None
    for STEADY where OpenCV is installed. ``flow``: see :func:`stylenet.video.temporal.flow_of`, on ``device``. ``fps``:
    frames a second of numbered pictures and cameras. ``existing``: see :func:`stylenet.files.planning.existing`.
    ``alone``: of several films each has a bar in a terminal only.
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
    if image_sequence.is_numbered(path):
        image_io.format_of(path)
    elif path == planning.STREAM:
        raise UserError(f"output=- holds one picture, but {job.source} is a film: give a file or a folder.")
    elif suffix == ".png" and job.source.suffix.lower() in ANIMATIONS:
        return  # an animation stays one; of a film each frame may have been meant
    elif suffix == ".png" or (suffix not in ANIMATION_FORMATS and suffix not in FILM_FORMATS):
        allowed = ", ".join([*FILM_FORMATS, *(one for one in ANIMATION_FORMATS if one != ".png")])
        raise UserError(f"output={path} holds no film: give a file with {allowed}, or frames/%04d.png.")


def way(stylize: Stylize, how: How) -> Callable[[Sequence[Job], Tell], Iterator[Outcome]]:
    """What :func:`stylenet.files.runner.run` needs to do one film after the other."""

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
        return Outcome(job.source, job.target, SKIPPED, planning.SKIPPED)
    return Outcome(job.source, job.target, WRITTEN, said, *size, time.perf_counter() - begin)


def _film(job: Job, stylize: Stylize, how: How) -> tuple[str | None, tuple[int, int] | None]:
    """What is to be said of a film that is written, and its size; no size where there is nothing to be done."""
    check_target(job)
    _require_free(job, how.existing)
    steady = temporal.Steady(how.steadiness, temporal.flow_of(how.flow, how.device) if how.steadiness else None)
    source = _source(job.source, how.rate)
    try:
        numbered = image_sequence.is_numbered(job.target)
        if numbered and how.existing == "skip" and _complete(job.target, source):
            return None, None
        size = _fitted(source.size, how.size)
        bar_as = {"desc": job.source.name, "unit": "frame", "mininterval": 0.5, "leave": False}
        bar_as["disable"] = False if how.alone else None
        with console.bar(total=source.expected, **bar_as) as bar, _sink(job.target, source, how) as sink:
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
        if not isinstance(source, image_sequence.Camera):
            raise


def _source(path: Path, rate: Fraction) -> Any:
    if image_sequence.camera(path) is not None:
        return image_sequence.Camera(path, rate)
    if image_sequence.is_numbered(path):
        return image_sequence.Numbered(path, rate)
    return animations.Animation(path) if path.suffix.lower() in ANIMATIONS else container.Reader(path)


@contextmanager
def _sink(target: Path, source: Any, how: How) -> Iterator[Any]:
    """Where frames go; a file takes its place when all went well, numbered pictures do one by one."""
    with ExitStack() as stack:
        if image_sequence.is_numbered(target):
            sink: Any = image_sequence.NumberedWriter(target, how.quality, how.existing == "skip")
        else:
            temp = stack.enter_context(atomic.replacing(target))
            if writer := animations.WRITABLE.get(target.suffix.lower()):
                loop = getattr(source, "loop", 0)
                sink = writer(temp, source.look, loop, getattr(source, "clear", False), how.quality)
            else:
                sink = container.Writer(temp, source.look, how.quality, source.others, source.tags, source.chapters)
        try:
            yield sink
            sink.close()
        except BaseException:
            sink.drop()
            raise


def _require_free(job: Job, existing: str) -> None:
    target = job.target
    if image_sequence.is_numbered(target):
        there = image_sequence.numbers(target)
        if there and existing == "refuse":
            raise UserError(planning.exists(image_sequence.numbered(target, there[0])))
    elif planning.is_there(target) and existing != "replace":
        raise UserError(planning.exists(target))


def _complete(target: Path, source: Any) -> bool:
    """Whether there are as many numbered pictures as the source says it has frames."""
    there = image_sequence.numbers(target)
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
        alpha = None if frame.alpha is None else image_io.resized(frame.alpha[..., None], size)[..., 0]
        return replace(frame, rgb=image_io.resized(frame.rgb, size), alpha=alpha)
    rgb = np.array(Image.fromarray(frame.rgb).resize(size, Image.Resampling.LANCZOS))
    alpha = None if frame.alpha is None else np.array(Image.fromarray(frame.alpha).resize(size))
    return replace(frame, rgb=rgb, alpha=alpha)
