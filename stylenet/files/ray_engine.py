"""Stylize many pictures on a Ray cluster. Ray Data distributes them to workers; each loads its network once.

The cluster is that of RAY_ADDRESS, else the one this process is connected to, else a temporary one on this machine. The
style is sent with the work. Pictures are files that all machines can access, or URIs such as s3://bucket/photos. If a
worker dies, another repeats its pictures. Knows nothing about loading networks.
"""

import logging
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from stylenet.files import planning, remote, runner
from stylenet.files.options import Writing
from stylenet.files.planning import Job
from stylenet.files.report import FAILED, Outcome, Place
from stylenet.files.runner import OnOutcome
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.nets import checkpoint
from stylenet.runtime.options import Runtime
from stylenet.stylizing.containers import ImageStylizer
from stylenet.stylizing.found_masks import OpenMask
from stylenet.system.errors import UserError
from stylenet.system.memory import keep_freed_memory

PER_TASK = 8  # pictures per task of a worker; few, as all are repeated if it dies
RETRIES = 1  # by Ray, of such a group; then once more one by one, to isolate a picture that crashes a worker
DIED = "its worker died each time: it ran out of memory, or this picture crashes it"

Start = Callable[[Sequence[str | Path], Sequence[OpenMask], Runtime], ImageStylizer]
"""Loads checkpoint files and masks as a stylizer, with the given Runtime."""


@dataclass(frozen=True)
class Work:
    """The work on all pictures. ``styles``: names or files of checkpoints. ``masks``: one per style, or none.
    ``workers``: their number; None for one per GPU of the cluster, or per core without GPUs or with device=cpu.
    """

    start: Start
    styles: Sequence[str | Path]
    masks: Sequence[OpenMask]
    runtime: Runtime
    writing: Writing
    workers: int | None = None


def stylize_files(work: Work, inputs: Sequence[str | Path], output: str | Path | None) -> Iterator[Place]:
    """As :func:`stylenet.files.stylize_files.stylize_files`, but yields results in order of completion.

    ``inputs``, ``output``: files and folders, or fsspec URIs; results at URIs are strings. Also raises UserError if Ray
    is not installed or cannot be reached.
    """
    ray = _imported()
    inputs, output = [remote.here(value) for value in inputs], None if output is None else remote.here(output)
    if "-" in (*inputs, output):
        raise UserError("engine=ray works on files: give input= and output= files, folders or URIs, not -.")
    planning.plan(inputs, output, "style", find=remote.find)  # report missing files before starting Ray
    files = [checkpoint.resolve(style) for style in work.styles]
    parts = [checkpoint.split(style)[1] for style in work.styles]
    plainly = replace(work.runtime, device="cpu", backend="torch", precision="fp32", tile="auto")
    name = work.start([*map(_of_file, files, parts)], work.masks, plainly).name
    plan = planning.planned(inputs, output, name, checkpoint.known(), remote.find)
    todo = plan.jobs
    for job in todo:
        if planning.moves(job.source):
            raise UserError(f"{remote.place(job.source)} is a film: engine=ray takes pictures, leave it out for films.")
        image_io.format_of(job.target)
    existing = work.writing.existing
    there = set() if existing == "replace" else remote.existing(job.target for job in todo)
    carried = [(file.name, file.read_bytes(), part) for file, part in zip(files, parts, strict=True)]
    worker = partial(_Worker, work, carried, Image.MAX_IMAGE_PIXELS)

    def engine(rest: Sequence[Job], on_outcome: OnOutcome) -> Iterator[Outcome]:
        for job in rest:
            if job.target in there:
                refused = Outcome(job.source, job.target, FAILED, planning.exists(remote.place(job.target)))
                yield _report(refused, on_outcome)
        if rest := [job for job in rest if job.target not in there]:
            with _cluster(ray):
                yield from _outcomes(ray, worker, rest, on_outcome, work.workers, str(work.runtime.device))

    yield from runner.run(plan, engine, existing, work.writing.report, name, there.__contains__, remote.place)


def _outcomes(
    ray: Any, work: Callable[[], Any], todo: Sequence[Job], on_outcome: OnOutcome, workers: int | None, device: str
) -> Iterator[Outcome]:
    left = dict(enumerate(todo))
    for together in (PER_TASK, 1):
        for number, outcome, data in _pass(ray, work, left, together, workers, device) if left else ():
            if number is None:
                raise UserError(outcome.reason)
            if number not in left:
                continue
            job = left.pop(number)
            if data is not None:
                try:
                    remote.store(str(remote.place(job.target)), data)
                except UserError as error:
                    outcome = replace(outcome, status=FAILED, reason=str(error), width=None, height=None)
            reason = outcome.reason and outcome.reason.replace(str(_absolute(job).source), str(job.source))
            yield _report(replace(outcome, input=job.source, output=job.target, reason=reason), on_outcome)
    for job in left.values():
        yield _report(Outcome(job.source, job.target, FAILED, DIED), on_outcome)


def _report(outcome: Outcome, on_outcome: OnOutcome) -> Outcome:
    outcome = replace(outcome, input=remote.place(Path(outcome.input)), output=remote.place(Path(outcome.output)))
    on_outcome(outcome)
    return outcome


def _pass(
    ray: Any, work: Callable[[], Any], left: Mapping[int, Job], together: int, workers: int | None, device: str
) -> Iterator[tuple[int | None, Any, bytes | None]]:
    """Yield the workers' results in order of completion; none for pictures whose workers died."""
    rows = [{"row": pickle.dumps((number, _absolute(job), _carried(job)))} for number, job in left.items()]
    blocks = -(-len(rows) // together)
    unit = "GPU" if device != "cpu" and ray.cluster_resources().get("GPU") else "CPU"
    count = min(workers or max(1, int(ray.cluster_resources().get(unit, 1))), blocks)
    with _quiet(ray):
        results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _Called,
            fn_constructor_args=(work,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=2),
            max_restarts=-1,
            max_task_retries=RETRIES,
            **{f"num_{unit.lower()}s": 1},
        )
    try:
        for row in results.iter_rows():
            yield pickle.loads(row["row"])
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[-1] if lines else type(error).__name__
        raise UserError(f"The Ray cluster failed: {why}. Do its machines have the same stylenet and Ray?") from error


def _absolute(job: Job) -> Job:
    """The job with absolute paths: workers run in another folder."""

    def absolute(path: Path) -> Path:
        return path if remote.is_uri(path) else Path(os.path.abspath(path))

    return Job(absolute(job.source), absolute(job.target))


def _carried(job: Job) -> bytes | None:
    """The picture's bytes if only this process can read it: memory://."""
    spot = str(remote.place(job.source))
    return remote.load(spot) if remote.held_here(spot) else None


class _Called:
    """Called by Ray Data: maps a table of pictures to a table of results."""

    def __init__(self, work: Callable[[], "_Worker"]):
        self.worker = work()

    def __call__(self, table: Any) -> Any:
        import pyarrow

        rows = [pickle.loads(row) for row in table.column("row").to_pylist()]
        return pyarrow.table({"row": pyarrow.array(map(pickle.dumps, self.worker(rows)), pyarrow.binary())})


def _of_file(file: Path, style: str | None) -> str | Path:
    """A checkpoint's file, or one style in it."""
    return file if style is None else f"{file}:{style}"


class _Worker:
    """A loaded network that stylizes batches of pictures.

    ``styles``: of each the name of its file, the file, and the one style in it that is meant, None for all.
    """

    def __init__(self, work: Work, styles: Sequence[tuple[str, bytes, str | None]], most: int | None):
        keep_freed_memory()
        Image.MAX_IMAGE_PIXELS = most  # as in the driver: see stylenet.images.safe_open
        self.writing, self.refused = work.writing, None
        try:
            with tempfile.TemporaryDirectory() as folder:
                files = [Path(folder) / str(number) / name for number, (name, _, _) in enumerate(styles)]
                for file, (_, data, _) in zip(files, styles, strict=True):
                    file.parent.mkdir()
                    file.write_bytes(data)
                meant = [_of_file(file, part) for file, (_, _, part) in zip(files, styles, strict=True)]
                self.stylizer = work.start(meant, work.masks, work.runtime)
        except UserError as error:  # such as a missing device: ends the run, without retries
            self.refused = str(error)

    def __call__(self, rows: list[tuple[int, Job, bytes | None]]) -> Iterator[tuple[int | None, Outcome, bytes | None]]:
        numbers = {job: number for number, job, _ in rows}
        given = {job: data for _, job, data in rows}
        made: dict[Place, bytes] = {}
        if self.refused is not None:
            job = rows[0][1]
            yield None, Outcome(job.source, job.target, FAILED, self.refused), None
            return

        def read(job: Job) -> Picture:
            spot, data = str(remote.place(job.source)), given[job]
            picture = remote.read(spot) if data is None else remote.decode(data, spot)
            return picture if self.writing.size is None else image_io.fit_picture(picture, self.writing.size)

        def write(job: Job, picture: Picture) -> None:
            spot = str(remote.place(job.target))
            if remote.held_here(spot):
                made[job.target] = image_io.encode(picture, image_io.format_of(spot), self.writing.quality)
            else:
                remote.write(spot, picture, self.writing.quality)

        steps = runner.Steps(
            read, lambda _, pictures: self.stylizer.pictures(pictures), write, self.stylizer.batch_size
        )
        for outcome in runner.run_local(steps, [job for _, job, _ in rows], lambda _: None):
            number = numbers[Job(Path(outcome.input), Path(outcome.output))]
            yield number, outcome, made.pop(outcome.output, None)


# --- Ray


def _imported() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray sends usage statistics
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # its logs would mix with the paths on stdout
    try:
        with warnings.catch_warnings(action="ignore"):
            import ray
            import ray.data
    except ImportError:
        raise UserError("engine=ray needs Ray: pip install 'stylenet[ray]'.") from None
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Connect for the block, unless connected already."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    try:
        with warnings.catch_warnings(action="ignore"):
            own = {} if address else {"include_dashboard": False}
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"Cannot connect to a Ray cluster (RAY_ADDRESS={address or ''}): {why}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Settings for one pass: no progress bars or logs of Ray; failed blocks are handled here."""
    with warnings.catch_warnings(action="ignore"):
        context = ray.data.DataContext.get_current()
        ours = {"enable_progress_bars": False, "max_errored_blocks": -1}
        before = {name: getattr(context, name) for name in ours}
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            for name, value in ours.items():
                setattr(context, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(context, name, value)
