"""Run many pictures: skip finished ones, show progress, collect failures. Knows nothing about networks or formats."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylenet.files import planning
from stylenet.files.pipeline import overlapped
from stylenet.files.planning import STREAM, Job, Plan, is_there
from stylenet.files.report import FAILED, SKIPPED, WRITTEN, Outcome, Place, Report, SomeFailed, reason
from stylenet.images import left_out
from stylenet.images.image_io import Picture
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.system.memory import release_freed_memory

TRIM_AFTER = 8  # picture sizes after which freed memory is released: many sizes fragment it

OnOutcome = Callable[[Outcome], None]
RunJobs = Callable[[Sequence[Job], OnOutcome], Iterator[Outcome]]


@dataclass(frozen=True)
class Steps:
    """The steps of each picture. All except ``stylize`` run in worker threads.

    ``stylize`` gets pictures of one size and depth, at most ``batch_size(h, w)`` of them.
    """

    read: Callable[[Job], Picture]
    stylize: Callable[[Sequence[Job], Sequence[Picture]], Sequence[Picture]]
    write: Callable[[Job, Picture], object]
    batch_size: Callable[[int, int], int]


def run(
    plan: Plan,
    engine: RunJobs,
    existing: str,
    report: str | Path | None,
    name: str,
    there: Callable[[Path], bool] = is_there,
    place: Callable[[Path], Place] = Path,
) -> Iterator[Place]:
    """Yield the paths of the results, with a progress bar called ``name``. Files that are left out are reported first.

    ``engine`` does the work: it yields the outcomes, and passes each to its callback immediately. ``existing``: see
    :func:`stylenet.files.planning.existing`. ``there``: whether a result exists. ``place``: the file or URI of a job's
    path. Raises SomeFailed at the end if some failed or are incomplete, UserError if the only one failed or ``report``
    cannot be written.
    """
    todo = plan.jobs
    with Report(report) as lines:
        left_out.warn(plan.left)
        for one in plan.left:
            lines.add(Outcome(place(one.path), "", SKIPPED, one.reason))
        rest = [job for job in todo if existing != "skip" or job.target == STREAM or not there(job.target)]
        left = set(rest)
        for job in todo:
            if job not in left:
                lines.add(Outcome(place(job.source), place(job.target), SKIPPED, planning.SKIPPED))
        reasons: dict[Place, str] = {}
        failed = False
        shown: dict[str, Any] = {"desc": name, "unit": "picture", "mininterval": 0.5}
        shown["disable"] = len(todo) == 1  # a single film has its own bar
        with console.bar(total=len(todo), initial=len(todo) - len(rest), **shown) as bar:
            for outcome in engine(rest, lines.add):
                bar.update()
                left_out.warn_note(outcome.input, outcome.note)
                failed |= outcome.status == FAILED
                if outcome.status == FAILED or (outcome.status == WRITTEN and outcome.reason is not None):
                    reasons[outcome.input] = outcome.reason or ""
                if outcome.status == WRITTEN and outcome.output != STREAM:
                    yield outcome.output
    if failed and len(todo) == 1:
        raise UserError(*reasons.values())
    if reasons:
        raise SomeFailed(reasons, len(todo))


@dataclass
class _Work:
    """One picture between two steps."""

    job: Job
    picture: Picture | None = None
    shape: tuple[int, ...] = (0, 0)
    reason: str | None = None
    seconds: float = 0.0
    note: str = ""


def run_local(steps: Steps, todo: Sequence[Job], on_outcome: OnOutcome) -> Iterator[Outcome]:
    """Stylize in this process: reading, stylizing and writing overlap."""

    def tried(some: Sequence[_Work], step: Callable[[], object]) -> bool:
        """Run ``step``; return whether it succeeded. Each picture gets the failure and its share of the time."""
        begin = time.perf_counter()
        failure = None
        try:
            step()
        except Exception as error:  # one picture's failure must not stop the others
            failure = reason(error)
        for work in some:
            work.reason, work.picture = failure, work.picture if failure is None else None
            work.seconds += (time.perf_counter() - begin) / len(some)
        return failure is None

    sizes: list[tuple[int, ...]] = []

    def read(job: Job) -> _Work:
        work = _Work(job)

        def step() -> None:
            work.picture = steps.read(job)

        tried([work], step)
        return work

    def alike(work: _Work) -> tuple[Any, int]:
        if work.picture is None:
            return work.job, 1
        rgb = work.picture.rgb
        return (rgb.shape, rgb.dtype), steps.batch_size(*rgb.shape[:2])

    def stylize(some: Sequence[_Work]) -> None:
        pictures = [work.picture for work in some if work.picture is not None]
        if not pictures:
            return
        if pictures[0].rgb.shape not in sizes[-1:]:
            sizes.append(pictures[0].rgb.shape)
        if len(sizes) > TRIM_AFTER:
            sizes[:-1] = []
            release_freed_memory()

        def step() -> None:
            made = steps.stylize([work.job for work in some], pictures)
            for work, picture in zip(some, made, strict=True):
                work.picture = picture

        if not tried(some, step) and len(some) > 1:
            for work, picture in zip(some, pictures, strict=True):  # one of them may have caused it
                work.picture = picture
                stylize([work])

    def write(work: _Work) -> Outcome:
        picture, work.picture = work.picture, None
        if picture is not None:
            work.shape, work.note = picture.rgb.shape, picture.note
            tried([work], lambda: steps.write(work.job, picture))
        outcome = _outcome(work)
        on_outcome(outcome)
        return outcome

    weigh = lambda work: 0 if work.picture is None else _bytes(work.picture)  # noqa: E731
    yield from overlapped(todo, read, stylize, write, weigh, alike)


def _bytes(picture: Picture) -> int:
    return picture.rgb.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)


def _outcome(work: _Work) -> Outcome:
    places = (work.job.source, work.job.target)
    if work.reason is not None:
        return Outcome(*places, FAILED, work.reason, seconds=work.seconds)
    height, width = work.shape[:2]
    return Outcome(*places, WRITTEN, None, width, height, work.seconds, work.note)
