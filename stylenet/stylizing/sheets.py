"""One photo in many styles, or in several checkpoints and settings, on one page with captions.

Results are made one after the other: in memory are the page, one network and one picture.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from PIL import Image

from stylenet.images import image_io
from stylenet.images.contact_sheet import ContactSheet
from stylenet.images.image_io import Picture
from stylenet.images.safe_open import allowed, once
from stylenet.runtime import backends
from stylenet.runtime.options import Runtime, choose_device
from stylenet.stylizing import cells, found_masks, stylizer
from stylenet.stylizing.cells import Cell
from stylenet.stylizing.controls import Controls, several
from stylenet.stylizing.settings import setting
from stylenet.system.errors import UserError
from stylenet.system.options import grouped

SIZE, SMALLEST = 512, 64  # pixels of a picture's longer side: the default and the least
NARROWEST = 192  # pixels of a column: captions need them
ROW = 5  # so many pictures or fewer are in one row, if columns= does not say otherwise
SHAPE = 4 / 3  # width by height that a page of more aims at
STEPS, MOST_STEPS = 4, 50  # pictures from one style of a walk to the next
LETTERS = 26  # text sizes in the width of a column
TEXT = 14, 40  # least and greatest size of a caption, in pixels

log = logging.getLogger(__name__)
Photo = str | os.PathLike[str] | Image.Image
Settings = str | Mapping[str, Any] | Controls


# --- from Python


def sheet(
    photo: Photo,
    styles: str | Path | Sequence[str | Path] | None = None,
    columns: int | None = None,
    size: int = SIZE,
    *,
    walk: Sequence[Any] | None = None,
    steps: int = STEPS,
    controls: Controls | None = None,
    runtime: Runtime | None = None,
    **options: Any,
) -> Image.Image:
    """One photo in many styles, with their names: a page of pictures, the photo first.

    ``styles``: names or files, as for :func:`stylenet.load`; None for all that :func:`stylenet.list_styles` lists. A
    file with several styles gives one picture for each. ``columns``: pictures in a row; None for one row of up to 5,
    else a page of about 4:3. ``size``: the photo is scaled down to this longer side, in pixels. ``walk``: instead, go
    through these styles of one network, see :mod:`stylenet.stylizing.walks`, in so many ``steps`` from each to the
    next. The fields of :class:`Controls` and :class:`Runtime` may be keywords. Notes, such as on a damaged file, are
    logged. Raises UserError for what cannot be used, before any picture is made.
    """
    made = grouped(options, {Controls: controls, Runtime: runtime})
    return _logged(plan_sheet(photo, styles, columns, size, *made, walk=walk, steps=steps)).draw()


def compare(
    photo: Photo,
    ckpts: str | Path | Sequence[str | Path],
    settings: Settings | Sequence[Settings] | None = None,
    columns: int | None = None,
    size: int = SIZE,
    *,
    runtime: Runtime | None = None,
    **options: Any,
) -> Image.Image:
    """One photo in several checkpoints, or in one with several settings, side by side; the photo first.

    ``settings``: sets of controls, each a text such as ``"stroke=2,color=luminance"``, a mapping or a
    :class:`Controls`. Several checkpoints and several settings give a row for each checkpoint, a column for each
    setting. ``columns``: pictures in a row otherwise. ``size``: see :func:`sheet`. The fields of :class:`Runtime` may
    be keywords. Notes are logged. Raises UserError for what cannot be used, before any picture is made.
    """
    (made,) = grouped(options, {Runtime: runtime})
    return _logged(plan_comparison(photo, ckpts, settings, columns, size, made)).draw()


def _logged(plan: "Plan") -> "Plan":
    for note in plan.notes:
        log.warning("%s", note)
    return plan


# --- plans


@dataclass(frozen=True)
class Plan:
    """A sheet before its pictures are made. ``rows``: of one length; None leaves a place empty. ``notes``: messages."""

    photo: Picture
    rows: Sequence[Sequence[Cell | None]]
    runtime: Runtime
    notes: Sequence[str] = ()

    @property
    def count(self) -> int:
        """The number of pictures, the photo included."""
        return sum(cell is not None for row in self.rows for cell in row)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet in pixels."""
        return _page(self.photo, len(self.rows[0]), len(self.rows)).size

    def draw(self, on_picture: Callable[[], object] | None = None) -> Image.Image:
        """Make the pictures, one after the other, and the sheet. ``on_picture`` is called after each picture."""
        page = _page(self.photo, len(self.rows[0]), len(self.rows))
        for row, column, cell, picture in self._pictures():
            page.place(row, column, picture, cell.caption)
            if on_picture:
                on_picture()
        return page.page

    def _pictures(self) -> Iterator[tuple[int, int, Cell, Image.Image]]:
        """Each picture with its row and column; those of one checkpoint together, so that it is loaded once."""
        places = [(row, column, cell) for row, some in enumerate(self.rows) for column, cell in enumerate(some) if cell]
        first: dict[str | Path | None, int] = {}
        for number, (_, _, cell) in enumerate(places):
            first.setdefault(cell.ckpt, number)
        ckpt, loaded = None, None
        for row, column, cell in sorted(places, key=lambda place: first[place[2].ckpt]):
            if cell.ckpt is None:
                yield row, column, cell, self.photo.pil()
                continue
            if loaded is None or cell.ckpt != ckpt:
                loaded = None  # one network at a time
                ckpt, loaded = cell.ckpt, stylizer.load_one(cell.ckpt, Controls(), self.runtime)
            yield (
                row,
                column,
                cell,
                loaded.with_controls(cell.controls, cell.masks).picture(self.photo, cell.style).pil(),
            )


def plan_sheet(
    photo: Photo,
    styles: str | Path | Sequence[str | Path] | None,
    columns: int | None,
    size: int,
    controls: Controls,
    runtime: Runtime,
    walk: Sequence[Any] | None = None,
    steps: int = STEPS,
) -> Plan:
    """The plan of :func:`sheet`. Raises UserError for what cannot be used."""
    if controls.mix is not None:
        raise UserError(f"mix={controls.mix!r:.80}: a sheet shows each style by itself. Leave it out, or use compare.")
    with allowed(runtime.megapixels):
        picture = _read(photo, columns, size, runtime)
        some, notes = _chosen(styles, controls, walk, steps)
    some, found = _settled([cells.of_photo(photo), *some], picture)
    notes = [*_notes(picture), *notes, *found]
    return Plan(picture, _broken(some, columns or _columns(picture, len(some))), runtime, notes)


def _chosen(styles: Any, controls: Controls, walk: Any, steps: Any) -> tuple[list[Cell], list[str]]:
    """The pictures of a sheet, and notes."""
    if not (_whole(steps) and 1 <= steps <= MOST_STEPS):
        raise UserError(f"steps={steps}: give the pictures from one style to the next, 1 to {MOST_STEPS}.")
    if walk is not None:
        return cells.of_walk(styles, walk, steps, controls), []
    if steps != STEPS:
        raise UserError(f"steps={steps} is for a walk: give walk=, too.")
    return cells.of_known(controls) if styles is None else (cells.of_styles(styles, controls), [])


def plan_comparison(
    photo: Photo,
    ckpts: str | Path | Sequence[str | Path],
    settings: Settings | Sequence[Settings] | None,
    columns: int | None,
    size: int,
    runtime: Runtime,
) -> Plan:
    """The plan of :func:`compare`. Raises UserError for what cannot be used."""
    with allowed(runtime.megapixels):
        picture = _read(photo, columns, size, runtime)
        found = cells.of_comparison(ckpts, [setting(one) for one in several(settings)])
    settled, notes = _settled([cell for row in found for cell in row], picture)
    found = [settled[start : start + len(found[0])] for start in range(0, len(settled), len(found[0]))]
    notes = [*_notes(picture), *notes]
    first = cells.of_photo(photo)
    if len(found) > 1 and len(found[0]) > 1:
        if columns is not None:
            shape = f"a row for each of the {len(found)} checkpoints, a column for each of the {len(found[0])} settings"
            raise UserError(f"columns={columns}: this comparison has {shape}. Leave columns= out.")
        return Plan(picture, [[None if n else first, *row] for n, row in enumerate(found)], runtime, notes)
    some = [first, *(cell for row in found for cell in row)]
    return Plan(picture, _broken(some, columns or _columns(picture, len(some))), runtime, notes)


def _read(photo: Photo, columns: Any, size: Any, runtime: Runtime) -> Picture:
    """The photo at its size on the sheet; after a check of the other options, so that mistakes come first."""
    if not isinstance(photo, str | os.PathLike | Image.Image) or photo == "":
        raise UserError(f"Cannot show {photo!r:.80}: give one photo, its file or a Pillow image.")
    if columns is not None and not (_whole(columns) and columns >= 1):
        raise UserError(f"columns={columns}: give the pictures in a row as a whole number, such as columns=4.")
    if not (_whole(size) and size >= SMALLEST):
        raise UserError(f"size={size}: give a picture's longer side in whole pixels, at least {SMALLEST}.")
    backends.choose(choose_device(runtime.device), runtime.backend, runtime.precision)
    return image_io.fit_picture(image_io.read(photo if isinstance(photo, Image.Image) else once(photo)), size)


def _settled(some: Sequence[Cell], photo: Picture) -> tuple[list[Cell], list[str]]:
    """The cells with the masks of this photo, each found once, and messages."""
    found: found_masks.Found = {}
    made, notes = [], []
    for cell in some:
        masks, note = found_masks.settled(cell.masks, photo.rgb, found)
        made.append(replace(cell, masks=masks))
        notes.append(note)
    return made, [*dict.fromkeys(filter(None, notes))]


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _notes(photo: Picture) -> list[str]:
    return [photo.note] if photo.note else []


# --- the page


def _page(photo: Picture, columns: int, rows: int) -> ContactSheet:
    height, width = photo.rgb.shape[:2]
    width = max(width, NARROWEST)
    text = min(max(round(width / LETTERS), TEXT[0]), TEXT[1])
    return ContactSheet([width] * columns, [height] * rows, gap=text, margin=round(1.5 * text), text=text)


def _columns(photo: Picture, count: int) -> int:
    """The number of columns: a row for few pictures, else a page of about SHAPE with few places empty."""

    def cost(columns: int) -> float:
        rows = math.ceil(count / columns)
        width, height = _page(photo, columns, rows).size
        return abs(math.log(width / height / SHAPE)) + (rows * columns - count) / count

    return count if count <= ROW else min(range(1, count + 1), key=cost)


def _broken(some: Sequence[Cell], columns: int) -> list[list[Cell | None]]:
    """The cells in rows, the last one filled with None."""
    columns = min(columns, len(some))
    padded = [*some, *[None] * (-len(some) % columns)]
    return [padded[start : start + columns] for start in range(0, len(padded), columns)]
