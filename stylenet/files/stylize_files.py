"""A trained style put to use on files: names in, paths of the results out, one picture or many, still or moving.

Knows nothing about networks but how to load one; what is done to many is in :mod:`stylenet.files.runner`, to films in
:mod:`stylenet.files.film_engine`, on a cluster in :mod:`stylenet.files.ray_engine`.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stylenet.files import planning
from stylenet.images import image_io, left_out
from stylenet.images.image_io import Picture
from stylenet.images.safe_open import Source, once
from stylenet.images.suffixes import PICTURE_FORMATS
from stylenet.nets import checkpoint
from stylenet.stylizing import controls
from stylenet.stylizing.containers import OnImages
from stylenet.stylizing.controls import Finish
from stylenet.stylizing.stylizer import Tile, check_tile, load, load_each
from stylenet.system import console
from stylenet.system.atomic import is_pipe
from stylenet.system.errors import UserError


def stylize_files(
    ckpt: str | Path | Sequence[str | Path],
    input: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    size: int | None = None,
    device: str = "auto",
    quality: int = 95,
    overwrite: bool = False,
    tile: Tile = "auto",
    scratch: str | Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    skip_existing: bool = False,
    report: str | Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    strength: float = 1.0,
    color: str = "style",
    stroke: float = 1.0,
    mask: str | Path | Sequence[str | Path] | None = None,
    mask_invert: bool = False,
    mix: str | Sequence[float] | None = None,
    temporal: float | None = None,
    flow: str = "auto",
    fps: float | None = None,
) -> Iterator[Any]:
    """Stylize files as the iterator is read, and give the path of each result ("-": nothing is given): pictures in
    order, then films. What is left out of folders and patterns is told on stderr, by kind.

    ``input``: files, folders (with all below), patterns, or "-" for stdin. ``output``: None writes
    ``<name>_<style>.<suffix>`` beside each; or a file, a folder, or "-" for stdout. ``size``: longer side at most,
    in pixels. ``tile``, ``scratch``, ``backend``, ``precision``, ``strength``, ``color``, ``stroke``, ``mix``:
    see :func:`stylenet.stylizing.stylizer.load`. ``skip_existing``: what has a result is left out. ``report``: a file
    that gets a line of JSON for each picture, see :mod:`stylenet.files.report`. ``mask``: a grey picture, stretched to
    each photo, white where the style goes (``mask_invert``: black); for several ``ckpt`` as many, which share a photo.
    ``temporal``, ``flow``, ``fps``: of moving pictures, see :class:`stylenet.files.film_engine.How`. ``engine``: local,
    or ray, then ``workers`` of them and URIs too (strings then), as they are done: see
    :mod:`stylenet.files.ray_engine`. Raises UserError if the only picture fails; of several, SomeFailed when the others
    are done.
    """
    _check_options(size, quality, overwrite)
    check_tile(tile)
    existing = planning.existing(overwrite, skip_existing)
    _check_engine(engine, workers)
    inputs = controls.several(input)
    _check_places(inputs, output=output, report=report)
    Finish(strength, color, stroke)  # mistakes are told before anything is read
    styles, masks = controls.styles_and_masks(ckpt, mask, mask_invert)
    place: Any = {"device": device, "tile": tile, "scratch": scratch, "backend": backend, "precision": precision}
    start = partial(load, **place, strength=strength, color=color, stroke=stroke, mix=mix)
    films = {"temporal": (temporal, None), "flow": (flow, "auto"), "fps": (fps, None)}
    given: dict[str, Any] = {name: value for name, (value, usual) in films.items() if value != usual}
    if given:
        from stylenet.files import film_engine

        film_engine.How(**given)
    if engine == "ray":
        from stylenet.files import ray_engine

        _check_moving([], given)
        yield from ray_engine.stylize_files(
            start, styles, masks, inputs, output, size, quality, existing, report, workers, str(device)
        )
        return
    _check_moving(
        planning.plan(inputs, output, "style"), given
    )  # what is not there is told before the network is loaded
    stylizer = load_each(styles, masks, start)
    plan = planning.planned(inputs, output, stylizer.name, checkpoint.known())
    todo = plan.jobs
    moving = {job for job in todo if planning.moves(job.source)}
    for job in todo:
        if job not in moving and job.target != planning.STREAM and not is_pipe(job.target):
            image_io.format_of(job.target)
    if len(todo) == 1 and not (moving or skip_existing or report):
        left_out.say(plan.left)
        picture = _read(todo[0], size, overwrite)
        left_out.remark(todo[0].source, picture.note)
        (made,) = _stylized(stylizer, todo, [picture])
        yield from _write(todo[0], made, quality)
        return
    from stylenet.files import runner  # what one picture does not need

    steps = runner.Steps(
        read=lambda job: _read(job, size, overwrite),
        stylize=partial(_stylized, stylizer),
        write=lambda job, picture: [*_write(job, picture, quality)],
        together=stylizer.together,
    )
    ways: list[runner.Way] = [partial(runner.here, steps)]
    if moving:
        from stylenet.files import film_engine

        for job in moving:
            film_engine.check_target(job)
        how = film_engine.How(size, quality, existing, temporal, flow, fps, stylizer.device.type, len(todo) == 1)
        ways.append(film_engine.way(stylizer.picture, how))

    def way(rest: Sequence[planning.Job], tell: runner.Tell) -> Iterator[Any]:
        parts = [job for job in rest if job not in moving], [job for job in rest if job in moving]
        for one, part in zip(ways, parts, strict=False):
            yield from one(part, tell)

    yield from runner.run(plan, way, existing, report, stylizer.name)


def _check_options(size: Any, quality: Any, overwrite: Any) -> None:
    if size is not None and not (_whole(size) and size >= 1):
        raise UserError(f"size={size}: give the longer side at most, in whole pixels, such as size=1024.")
    if not (_whole(quality) and 1 <= quality <= 100):
        raise UserError(f"quality={quality}: give a whole number from 1 to 100.")
    if not isinstance(overwrite, bool):
        raise UserError(f"overwrite={overwrite}: give true or false.")


def _check_engine(engine: Any, workers: Any) -> None:
    if engine not in ("local", "ray"):
        raise UserError(f"engine={engine}: give local or ray.")
    if workers is not None and not (_whole(workers) and workers >= 1):
        raise UserError(f"workers={workers}: give how many there shall be, such as workers=4, or leave it out.")
    if workers is not None and engine != "ray":
        raise UserError(f"workers={workers} is for engine=ray: add that, or leave workers= out.")


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_places(inputs: Sequence[Any], **places: Any) -> None:
    """``inputs`` are files or folders; of the ``places``, each is one or None."""
    # An empty name, such as an unset variable of the shell, is not the folder here.
    if not inputs or any(one is None or one == "" for one in inputs):
        raise UserError("input= is empty: give a picture, a folder, a pattern or -.")
    for name, place in [*(("input", one) for one in inputs), *places.items()]:
        if place is not None and not isinstance(place, str | Path):
            raise UserError(f"{name}={place!r:.80}: give the name of a file or a folder.")
        if place == "":
            raise UserError(f"{name}= is empty: give a name, or leave it out.")


def _check_moving(todo: Sequence[planning.Job], given: dict[str, Any]) -> None:
    """Raises UserError for options of films where there is none, and for fps= where all have times of their own."""
    if not given:
        return
    moving = [job.source for job in todo if planning.moves(job.source)]
    if not moving:
        name, value = next(iter(given.items()))
        raise UserError(f"{name}={value} is for films, and none is among the inputs: leave it out.")
    if "fps" in given and all(map(planning.has_times, moving)):
        raise UserError(f"fps={given['fps']} is for numbered pictures and cameras: films have times of their own.")


def _read(job: planning.Job, size: int | None, overwrite: bool) -> Picture:
    to_stream = job.target == planning.STREAM
    if not to_stream and planning.is_there(job.target) and not overwrite:
        raise UserError(planning.exists(job.target))
    if to_stream and console.of_bytes(sys.stdout) is None:
        raise UserError("output=-: there is no stdout here that takes a picture: give the name of a file.")
    if to_stream and console.is_terminal(sys.stdout):
        raise UserError("The picture would go to the terminal: add output=picture.png, or > picture.png.")
    picture = image_io.read(_source(job))
    return picture if size is None else image_io.fit_picture(picture, size)


def _stylized(stylizer: OnImages, some: Sequence[planning.Job], pictures: Sequence[Picture]) -> list[Picture]:
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
    """How far a pass in strips is: in a terminal only, and only where it takes long."""
    shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    return console.bar(total=1, desc=name, disable=None, delay=2, leave=False, bar_format=shape)


def _source(job: planning.Job) -> Source:
    if job.source == planning.STREAM:
        return _stdin()
    return once(job.source) if job.once else job.source


def _stdin() -> io.BytesIO:
    if console.of_bytes(sys.stdin) is None or console.is_terminal(sys.stdin):
        raise UserError("input=- reads a picture from stdin, but nothing is piped in: add < photo.jpg.")
    return io.BytesIO(sys.stdin.buffer.read())
