"""Photorealistic transfer on files: a photo or a film in, the same with the look of another photo out.

:mod:`stylenet.stylizing.photorealistic` makes the picture. A film gets one look-up table for all of its frames, so that
it cannot flicker.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylenet.files import film_engine, planning
from stylenet.files.film_engine import FilmSettings
from stylenet.files.options import Writing
from stylenet.files.planning import Job
from stylenet.files.report import WRITTEN
from stylenet.images import image_io, left_out, region_masks, safe_open
from stylenet.images.image_io import Picture
from stylenet.images.safe_open import once
from stylenet.runtime.options import Device, choose_device
from stylenet.stylizing import photorealistic
from stylenet.stylizing.photorealistic import Photorealism, Transfer
from stylenet.system import console
from stylenet.system.atomic import writable
from stylenet.system.errors import UserError
from stylenet.system.options import grouped
from stylenet.video import image_sequence
from stylenet.video.options import FilmOptions
from stylenet.video.protocol import Frame
from stylenet.video.sources import open_source

CKPT = "photo"  # the shipped network
FRAMES = 9  # of a film, that its table is fitted on
LEVELS = 20  # of 255: a table that misses the transfer by more on average is told of


def photo_file(
    content: str | Path,
    style: str | Path,
    output: str | Path | None = None,
    *,
    ckpt: str | Path = CKPT,
    content_mask: str | Path | None = None,
    style_mask: str | Path | None = None,
    lut: str | Path | None = None,
    quality: int = 95,
    overwrite: bool = False,
    device: Device = "auto",
    megapixels: float | None = None,
    **options: Any,
) -> Path:
    """Give the photo or film ``content`` the look of the photo ``style``, and return the path of the result.

    ``output``: a file or a folder; None for ``<name>_<style>`` beside the photo. ``ckpt``: a network for photos, see
    :mod:`stylenet.nets.photowct`. ``content_mask``, ``style_mask``: masks in which each colour is a region; regions of
    equal colours are matched. ``lut``: also write what is done to colours as a ``.cube`` file. ``megapixels``: refuse
    larger pictures; None for 179. ``options``: the fields of :class:`stylenet.stylizing.photorealistic.Photorealism`.
    Notes go to stderr. Raises UserError for what cannot be used, before anything is written, and TypeError for an
    option that there is not.
    """
    (wanted,) = grouped(options, {Photorealism: None})
    writing = Writing(quality=quality, overwrite=overwrite)
    if megapixels is not None:
        safe_open.check(megapixels)
    job = _job(content, style, output)
    _require_free(job, lut, overwrite)
    moving = planning.moves(job.source)
    if moving:
        film_engine.check_target(job)
    with safe_open.allowed(megapixels):
        picture = _frames(job.source, wanted.size) if moving else image_io.read(once(job.source))
        inputs = _inputs(style, content_mask, style_mask, moving)
    left_out.warn_note(job.source, picture.note)
    if inputs.note:
        console.warn_line(f"{inputs.note[:1].upper()}{inputs.note[1:]}.")
    where = choose_device(device)
    net = photorealistic.load(ckpt, where)
    if moving:
        wanted = replace(wanted, smoothing="none")  # a table of colours needs none
    made = photorealistic.transfer(net, picture.rgb, inputs.style, wanted, inputs.labels, where)
    if moving or lut is not None:
        _write_by_table(job, made, lut, writing, moving)
    if not moving:
        image_io.write(job.target, photorealistic.picture(picture, made), quality)
    return job.target


@dataclass(frozen=True)
class _Inputs:
    """The photo whose look is wanted, the regions of both photos, and a note about them."""

    style: Image.Image
    labels: region_masks.Labels | None
    note: str


def _inputs(style: str | Path, content_mask: str | Path | None, style_mask: str | Path | None, moving: bool) -> _Inputs:
    masks = {"content_mask": content_mask, "style_mask": style_mask}
    given = [name for name, mask in masks.items() if mask is not None]
    if moving and given:
        raise UserError(f"{given[0]}= is for a photo: a film gets one table of colours. Leave it out.")
    if len(given) == 1:
        other = next(name for name in masks if name not in given)
        raise UserError(f"{given[0]}= needs {other}=, too: regions of equal colours are matched.")
    photo = image_io.open_rgb(once(style))
    if not given:
        return _Inputs(photo, None, "")
    first, second = (region_masks.open_mask(str(mask), name) for name, mask in masks.items())
    return _Inputs(photo, *region_masks.labels(first, second))


def _job(content: str | Path, style: str | Path, output: str | Path | None) -> Job:
    """The photo or film, and the file of the result."""
    for name, value in {"content": content, "style": style}.items():
        if not isinstance(value, str | Path) or str(value) in ("", "."):
            raise UserError(f"{name}={value}: give one file.")
    if output == "":
        raise UserError("output= is empty: give a name, or leave it out.")
    try:
        jobs = planning.plan([content], output, Path(style).stem)
    except UserError as error:
        raise UserError(str(error).replace("input=", "content=")) from error
    if len(jobs) != 1 or Path(content).is_dir() or planning.STREAM in (jobs[0].source, jobs[0].target):
        raise UserError(f"content={content}: give one photo or film, and output= a file or a folder.")
    (job,) = jobs
    if image_sequence.is_camera(job.source):
        raise UserError(f"content={content}: a camera has no end. Give a photo or a film.")
    if not planning.moves(job.source):
        image_io.format_of(job.target)
    return job


def _require_free(job: Job, lut: str | Path | None, overwrite: bool) -> None:
    """Raise UserError, before any work, if a result would replace a file or cannot be written."""
    if lut is not None and Path(lut).suffix.lower() != ".cube":
        raise UserError(f"lut={lut}: the name of a look-up table ends in .cube, such as lut=look.cube.")
    tables = [] if lut is None else [Path(lut)]
    if image_sequence.is_numbered(job.target):
        planning.require_free(tables, overwrite) if tables else None
        return  # the engine of films looks at each
    planning.require_free([job.target, *tables], overwrite)
    for table in tables:
        writable(table)


def _write_by_table(job: Job, made: Transfer, lut: str | Path | None, writing: Writing, moving: bool) -> None:
    """Write the table of ``made`` to ``lut``, if given, and the film of ``job`` by it."""
    cube = made.cube()
    apart = np.abs(cube.applied(image_io.to_array(made.before)).astype(int) - image_io.to_array(made.after)).mean()
    if apart > LEVELS:
        console.warn_line(
            f"Equal colours become different ones in different places; a table of colours cannot: it is {apart:.0f} "
            "levels of 255 off on average."
        )
    if moving:
        settings = FilmSettings(FilmOptions(temporal=0.0), writing)
        outcome = film_engine.stylized(job, lambda frame: replace(frame, rgb=cube.applied(frame.rgb)), settings)
        if outcome.status != WRITTEN:
            raise UserError(str(outcome.reason))
        if outcome.reason:
            left_out.warn_note(job.source, outcome.reason)
    if lut is not None:
        cube.write(lut, f"stylenet {job.target.stem}")


def _frames(path: Path, size: int) -> Picture:
    """Some frames of a film, spread over its length, side by side in one picture."""
    source, kept, every = open_source(path, FilmOptions().rate), [], 1
    side = max(1, size // math.isqrt(FRAMES))
    try:
        frames = (item for item in source if isinstance(item, Frame))
        for number, frame in enumerate(frames):
            if number % every == 0:
                small = image_io.fit_picture(Picture(frame.rgb), side).rgb
                kept.append(image_io.resized(small, kept[0].shape[1::-1]) if kept else small)
            if len(kept) == 2 * FRAMES:
                kept, every = kept[::2], every * 2
    finally:
        source.close()
    chosen = [kept[round(place)] for place in np.linspace(0, len(kept) - 1, min(FRAMES, len(kept)))]
    columns = math.isqrt(len(chosen) - 1) + 1
    chosen += chosen[: -len(chosen) % columns]  # whole rows
    rows = [np.concatenate(chosen[start : start + columns], 1) for start in range(0, len(chosen), columns)]
    return Picture(np.concatenate(rows, 0))
