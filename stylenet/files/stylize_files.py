"""Stylize one or many files, pictures or films, and yield the paths of the results.

Knows nothing about networks except how to load one. :mod:`stylenet.files.runner` runs many pictures,
:mod:`stylenet.files.film_engine` films, :mod:`stylenet.files.ray_engine` clusters.
"""

import io
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from stylenet.files import planning
from stylenet.files.options import Engine, Writing
from stylenet.images import image_io, left_out
from stylenet.images.image_io import Picture
from stylenet.images.safe_open import Source, allowed, once
from stylenet.images.suffixes import FILM_FORMATS, PICTURE_FORMATS
from stylenet.nets import checkpoint
from stylenet.runtime.options import Runtime
from stylenet.stylizing import walks
from stylenet.stylizing.containers import ImageStylizer
from stylenet.stylizing.controls import Controls, several, styles_and_masks
from stylenet.stylizing.found_masks import OpenMask
from stylenet.stylizing.stylizer import load_each
from stylenet.system import console
from stylenet.system.atomic import is_pipe
from stylenet.system.errors import UserError
from stylenet.video import container, window
from stylenet.video.options import FilmOptions
from stylenet.video.sources import is_decoded

if TYPE_CHECKING:
    from stylenet.files import runner


def stylize_files(
    ckpt: str | Path | Sequence[str | Path],
    input: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    controls: Controls | None = None,
    runtime: Runtime | None = None,
    film: FilmOptions | None = None,
    writing: Writing | None = None,
    engine: Engine | None = None,
) -> Iterator[Any]:
    """Stylize files lazily, and yield the path of each result (nothing for "-"): pictures in order, then films.
    Files of folders and patterns that are left out are reported on stderr, by kind.

    ``input``: files, folders (with all sub-folders), patterns, or "-" for stdin. ``output``: None writes
    ``<name>_<style>.<suffix>`` beside each input; else a file, a folder, or "-" for stdout. None means default
    options. With the engine ray, URIs are accepted and yielded as strings, in order of completion: see
    :mod:`stylenet.files.ray_engine`.

    Raises UserError if the only picture fails; with several, SomeFailed after the others are done.
    """
    controls, runtime, writing = controls or Controls(), runtime or Runtime(), writing or Writing()
    engine = engine or Engine()
    inputs = several(input)
    _check_places(inputs, output=output, report=writing.report)
    with allowed(runtime.megapixels):
        styles, masks = styles_and_masks(ckpt, controls)
        controls = controls.opened()
        call = _Call(styles, masks, inputs, output, controls, runtime, film or FilmOptions(), writing)
        yield from _on_ray(call, engine.workers) if engine.engine == "ray" else _here(call)


@dataclass(frozen=True)
class _Call:
    """What is stylized, where to and how."""

    styles: Sequence[str | Path]
    masks: Sequence[OpenMask]
    inputs: Sequence[str | Path]
    output: str | Path | None
    controls: Controls
    runtime: Runtime
    film: FilmOptions
    writing: Writing


def _loaded(
    styles: Sequence[str | Path],
    masks: Sequence[OpenMask],
    runtime: Runtime,
    controls: Controls,
    needs_style: bool = True,
) -> ImageStylizer:
    stylizer = load_each(styles, masks, runtime, controls)
    if needs_style:
        stylizer.require_style()
    return stylizer


def _on_ray(call: _Call, workers: int | None) -> Iterator[Any]:
    from stylenet.files import ray_engine

    _check_moving([], call.film)
    start = partial(_loaded, controls=call.controls)
    work = ray_engine.Work(start, call.styles, call.masks, call.runtime, call.writing, workers)
    yield from ray_engine.stylize_files(work, call.inputs, call.output)


def _here(call: _Call) -> Iterator[Any]:
    writing = call.writing
    found = planning.plan(call.inputs, call.output, "style")  # report missing files before loading the network
    _check_moving(found, call.film)
    _check_preview(found, call)
    walk = call.film.walk
    stylizer = _loaded(call.styles, call.masks, call.runtime, call.controls, needs_style=walk is None)
    way = None if walk is None else walks.along(stylizer, walk)
    name = way.name if way else stylizer.name
    plan = planning.planned(call.inputs, call.output, name, checkpoint.known())
    plan = plan if way is None else planning.as_films(plan, call.output)
    todo = plan.jobs
    moving = {job for job in todo if way or planning.moves(job.source)}
    if call.film.encoder == "nvenc":
        _check_nvenc([job.target for job in todo if job in moving])
    if call.film.decoder == "nvdec" and todo:
        _check_nvdec([job.source for job in todo if planning.moves(job.source)])
    for job in todo:
        if job not in moving and job.target != planning.STREAM and not is_pipe(job.target):
            image_io.format_of(job.target)
    if len(todo) == 1 and not (moving or writing.skip_existing or writing.report):
        left_out.warn(plan.left)
        picture = _read(todo[0], writing)
        left_out.warn_note(todo[0].source, picture.note)
        (made,) = _stylized(stylizer, todo, [replace(picture, note="")])
        left_out.warn_note(todo[0].source, made.note)
        yield from _write(todo[0], made, writing.quality)
        return
    from stylenet.files import runner  # not needed for one picture

    engines = _engines(stylizer, moving, len(todo) == 1, call, way.at if way else None)

    def both(rest: Sequence[planning.Job], on_outcome: runner.OnOutcome) -> Iterator[Any]:
        parts = [job for job in rest if job not in moving], [job for job in rest if job in moving]
        for engine, part in zip(engines, parts, strict=False):
            yield from engine(part, on_outcome)

    yield from runner.run(plan, both, writing.existing, writing.report, name)


def _engines(
    stylizer: ImageStylizer, moving: Collection[planning.Job], alone: bool, call: _Call, walk: Any = None
) -> list["runner.RunJobs"]:
    """The engine for pictures and, if any are ``moving``, the one for films. ``alone``: there is a single job.
    ``walk``: the style after a part of a film.
    """
    from stylenet.files import runner

    writing = call.writing
    steps = runner.Steps(
        read=lambda job: _read(job, writing),
        stylize=partial(_stylized, stylizer),
        write=lambda job, picture: [*_write(job, picture, writing.quality)],
        batch_size=stylizer.batch_size,
    )
    engines: list[runner.RunJobs] = [partial(runner.run_local, steps)]
    if moving:
        from stylenet.files import film_engine

        for job in moving:
            film_engine.check_target(job)
        record = call.output is not None or not call.film.preview
        settings = film_engine.FilmSettings(call.film, writing, str(stylizer.device), alone, record, walk)
        engines.append(film_engine.engine(stylizer.picture, settings))
    return engines


def _check_places(inputs: Sequence[Any], **places: Any) -> None:
    """Raise UserError unless ``inputs`` are file or folder names, and each of ``places`` is one or None."""
    # An empty name, such as an unset shell variable, must not mean the current folder.
    if not inputs or any(one is None or one == "" for one in inputs):
        raise UserError("input= is empty: give a picture, a folder, a pattern or -.")
    for name, place in [*(("input", one) for one in inputs), *places.items()]:
        if place is not None and not isinstance(place, str | Path):
            raise UserError(f"{name}={place!r:.80}: give the name of a file or a folder.")
        if place == "":
            raise UserError(f"{name}= is empty: give a name, or leave it out.")


def _check_moving(todo: Sequence[planning.Job], film: FilmOptions) -> None:
    """Raise UserError for film options without films, and for fps= if all films have timestamps."""
    usual = FilmOptions()
    given = {name: value for name, value in asdict(film).items() if value != getattr(usual, name)}
    if not given:
        return
    if film.walk is not None and todo:
        walks.checked(film.walk)
        if any(planning.STREAM in (job.source, job.target) for job in todo):
            raise UserError("walk= makes films, which go from file to file: give the names of both, not -.")
        return
    moving = [job.source for job in todo if planning.moves(job.source)]
    if not moving:
        name, value = next(iter(given.items()))
        raise UserError(f"{name}={value} is for films, but there is none among the inputs: leave it out.")
    if "fps" in given and all(map(planning.has_times, moving)):
        raise UserError(f"fps={given['fps']} is for numbered pictures and cameras: films have their own times.")


def _check_nvenc(targets: Sequence[Path]) -> None:
    """Raise UserError where no GPU encodes, and where none of the films holds H.264."""
    held = [suffix for suffix, (_, name) in FILM_FORMATS.items() if name in container.H264]
    others = [target for target in targets if target.suffix.lower() not in held]
    if others and len(others) == len(targets):
        raise UserError(
            f"encoder=nvenc writes H.264, and {others[0]} holds none: give {', '.join(held)}, or leave it out."
        )
    if targets:
        container.require_nvenc()


def _check_nvdec(moving: Sequence[Path]) -> None:
    """Raise UserError where no GPU decodes, and where none of the inputs is a film that it could decode."""
    if not any(map(is_decoded, moving)):
        what = f"{moving[0]} is none" if moving else "there is none among the inputs"
        raise UserError(f"decoder=nvdec reads films, such as .mp4, and {what}: leave it out.")
    container.require_nvdec()


def _check_preview(todo: Sequence[planning.Job], call: _Call) -> None:
    """Raise UserError for a preview of anything but one film or camera, and for one that would be skipped."""
    if not call.film.preview:
        return
    if len(todo) != 1:
        raise UserError(f"preview=true shows one film or camera, not {len(todo)} inputs: give one.")
    if call.writing.skip_existing:
        raise UserError("preview=true and skip_existing=true contradict each other: give one of them.")
    window.prepare()


def _read(job: planning.Job, writing: Writing) -> Picture:
    to_stream = job.target == planning.STREAM
    if not to_stream and planning.is_there(job.target) and not writing.overwrite:
        raise UserError(planning.exists(job.target))
    if to_stream and console.byte_stream(sys.stdout) is None:
        raise UserError("output=-: stdout cannot take a picture here: give the name of a file.")
    if to_stream and console.is_terminal(sys.stdout):
        raise UserError("The picture would go to the terminal: add output=picture.png, or > picture.png.")
    picture = image_io.read(_source(job))
    return picture if writing.size is None else image_io.fit_picture(picture, writing.size)


def _stylized(stylizer: ImageStylizer, some: Sequence[planning.Job], pictures: Sequence[Picture]) -> list[Picture]:
    with _bar(some[0].source.name) as bar:
        return stylizer.pictures(pictures, progress=lambda part: bar.update(part - bar.n))


def _write(job: planning.Job, picture: Picture, quality: int) -> Iterator[Path]:
    if job.target == planning.STREAM:
        try:
            image_io.write(sys.stdout.buffer, picture, quality, image_io.format_like(picture))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"Cannot write the picture to the output: {error.strerror or error}.") from error
    else:
        like = image_io.format_like(picture) if is_pipe(job.target) else None
        image_io.write(job.target, picture, quality, PICTURE_FORMATS.get(job.target.suffix.lower(), like))
        yield job.target


def _bar(name: str) -> tqdm:
    """A progress bar for a pass in strips, shown only in a terminal and if it takes long."""
    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    return console.bar(total=1, desc=name, disable=None, delay=2, leave=False, bar_format=shape)


def _source(job: planning.Job) -> Source:
    if job.source == planning.STREAM:
        return _stdin()
    return once(job.source) if job.once else job.source


def _stdin() -> io.BytesIO:
    if console.byte_stream(sys.stdin) is None or console.is_terminal(sys.stdin):
        raise UserError("input=- reads a picture from stdin, but nothing is piped in: add < photo.jpg.")
    return io.BytesIO(sys.stdin.buffer.read())
