"""Sheets as files: one photo in, one page of pictures out. :mod:`stylenet.stylizing.sheets` makes the page."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from stylenet.files import planning
from stylenet.files.options import Writing
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.images.suffixes import FILMS
from stylenet.runtime.options import Runtime
from stylenet.stylizing import sheets
from stylenet.stylizing.controls import Controls, several
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.system.options import grouped

SHEET, COMPARISON = planning.SHEETS


def sheet_file(
    input: str | Path,
    output: str | Path | None = None,
    *,
    styles: Any = None,
    columns: int | None = None,
    size: int = sheets.SIZE,
    walk: Any = None,
    steps: int = sheets.STEPS,
    quality: int = 95,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write the sheet of :func:`stylenet.stylizing.sheets.sheet` and return its path.

    ``output``: a file or a folder; None for ``<name>_styles.jpg`` beside the photo. ``quality``: 1 to 100, for JPEG,
    WebP and AVIF. ``overwrite``: replace an existing file. Notes and the progress go to stderr. Raises UserError for
    what cannot be used, before any picture is made.
    """
    made = grouped(options, {Controls: None, Runtime: None})
    photo, target = _places(input, output, SHEET, Writing(quality=quality, overwrite=overwrite))
    plan = sheets.plan_sheet(photo, styles, columns, size, *made, walk=walk, steps=steps)
    return _written(plan, target, quality, "sheet")


def compare_file(
    input: str | Path,
    ckpts: Any,
    output: str | Path | None = None,
    *,
    settings: Any = None,
    columns: int | None = None,
    size: int = sheets.SIZE,
    quality: int = 95,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write the sheet of :func:`stylenet.stylizing.sheets.compare` and return its path.

    As :func:`sheet_file`; the default ``output`` is ``<name>_compared.jpg`` beside the photo.
    """
    (runtime,) = grouped(options, {Runtime: None})
    photo, target = _places(input, output, COMPARISON, Writing(quality=quality, overwrite=overwrite))
    plan = sheets.plan_comparison(photo, ckpts, settings, columns, size, runtime)
    return _written(plan, target, quality, "compare")


def _places(input: Any, output: str | Path | None, kind: str, writing: Writing) -> tuple[Path, Path]:
    """The photo, and the file of the sheet."""
    inputs = several(input)
    shown = ", ".join(map(str, inputs)) if len(str(inputs)) < 200 else f"{len(inputs)} names"
    refused = UserError(f"input={shown}: give one photo, the name of a picture file.")
    if len(inputs) != 1 or not isinstance(inputs[0], str | Path) or inputs[0] == "":
        raise refused
    name = str(inputs[0])
    pattern = not os.path.lexists(name) and any(letter in name for letter in "*?[")
    if output == "":
        raise UserError("output= is empty: give a name, or leave it out.")
    if pattern or os.path.isdir(name) or Path(name).suffix.lower() in FILMS:
        raise refused
    (job,) = planning.plan(inputs, output, kind)
    if job.source == planning.STREAM or not os.path.exists(job.source):  # stdin, numbered pictures, a camera
        raise refused
    if job.target == planning.STREAM:
        raise UserError("output=-: a sheet is written to a file. Give its name, or a folder.")
    named = output is not None and job.target == Path(output)
    target = job.target if named else job.target.with_suffix(".jpg")
    image_io.format_of(target)
    planning.require_free([target], writing.overwrite)
    return job.source, target


def _written(plan: sheets.Plan, target: Path, quality: int, what: str) -> Path:
    image_io.require_sides(plan.size, image_io.format_of(target))
    for note in plan.notes:
        console.warn_line(note)
    with console.bar(total=plan.count, desc=what, unit="picture", mininterval=0.5) as bar:
        page = plan.draw(bar.update)
    image_io.write(target, Picture(np.asarray(page)), quality)
    return target
