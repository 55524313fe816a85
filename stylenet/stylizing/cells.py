"""The pictures of a sheet: which checkpoint, style and controls each is made with, and its caption. Makes none."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from stylenet.images.contact_sheet import has_letters
from stylenet.nets import checkpoint
from stylenet.nets.catalog import dated, is_for_photos, read_info
from stylenet.stylizing import style_pictures, walks
from stylenet.stylizing.controls import Controls, several, styles_and_masks
from stylenet.stylizing.found_masks import OpenMask
from stylenet.stylizing.settings import Setting
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet. ``ckpt``: None for the photo itself. ``caption``: one or two lines. ``style``: weights, or
    None for the style of ``controls``.
    """

    ckpt: str | Path | None
    caption: tuple[str, ...]
    controls: Controls = field(default_factory=Controls)
    masks: Sequence[OpenMask] = ()
    style: torch.Tensor | None = None


def of_photo(photo: str | os.PathLike[str] | Image.Image) -> Cell:
    """The photo itself."""
    name = () if isinstance(photo, Image.Image) else (os.path.basename(os.fspath(photo)),)
    return Cell(None, ("Photo", *name))


# --- every style


def of_known(controls: Controls) -> tuple[list[Cell], list[str]]:
    """All styles at hand, in the order of ``stylenet styles``, and notes on those left out. A network for any style has
    a cell for each picture of ``controls.style``.

    A style of a file with several is left out if there is a file of that name with one style.
    """
    found: dict[str, list[Cell]] = {}
    notes = []
    for name, file in checkpoint.known().items():
        try:
            if is_for_photos(read_info(file)):
                continue
            found[name] = _of_file(file, controls)
        except UserError as error:
            notes.append(f"{name} is left out: {error}")
    alone = {name: some[0] for name, some in found.items() if len(some) == 1}
    for name, some in found.items():
        twice = {cell.caption[-1].partition(":")[2]: cell for cell in some if len(some) > 1}
        twice = {style: cell for style, cell in twice.items() if style in alone}
        found[name] = [cell for cell in some if cell not in twice.values()]
        for style, cell in twice.items():
            found[style] = [_at_once(alone[style], cell)]
        if twice:
            notes.append(f"{', '.join(sorted(twice))}: also in {name}; shown once, from a file of that name.")
    cells = [cell for some in found.values() for cell in some]
    if not cells:
        raise UserError("There is no style to show: train one, or give styles=.")
    return cells, notes


def _at_once(alone: Cell, shared: Cell) -> Cell:
    """The cell of a style with a file of its own; made with the file of several if that gives the same picture, as a
    network that is loaded already saves seconds.
    """
    assert alone.ckpt is not None
    one, _ = checkpoint.load(alone.ckpt)
    other, _ = checkpoint.load(f"{shared.ckpt}:{shared.caption[-1].partition(':')[2]}")
    weights, others = one.state_dict(), other.state_dict()
    same = weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)
    if not same or checkpoint.describe(one) != checkpoint.describe(other):
        return alone
    return replace(shared, caption=alone.caption)


def of_styles(styles: Any, controls: Controls) -> list[Cell]:
    """The styles that are asked for; all styles of a file with several, and all pictures of ``controls.style`` in a
    network for any style. Raises UserError if one cannot be used.
    """
    cells = [cell for style in listed("styles", styles) for cell in _of_file(style, controls, "styles")]
    if controls.style is not None and all(cell.controls.style is None for cell in cells):
        raise UserError("style= is for networks that paint in any style: leave it out, or give styles=any.")
    return cells


def _of_file(ckpt: str | Path, controls: Controls, option: str = "ckpt") -> list[Cell]:
    file, wanted = checkpoint.split(ckpt)
    net, info = _loaded(ckpt if wanted is None else file, option)
    if net.any_style:
        return _of_pictures(file, controls)
    numbers = list(range(net.n_styles))
    told = [_told(info, number) for number in numbers]
    if wanted is not None:
        if wanted not in (names := [one.get("name") for one in told]):
            _loaded(ckpt, option)  # says so, and which there are
        numbers = [names.index(wanted)]
    controls = replace(controls, style=None)
    _, masks = styles_and_masks("one", controls)
    cells = []
    for number in numbers:
        mix = None if net.n_styles == 1 else [float(number == other) for other in range(net.n_styles)]
        name = checkpoint.called(file) + (f":{told[number].get('name') or number + 1}" if net.n_styles > 1 else "")
        caption = titled(told[number], name)
        cells.append(Cell(file, caption, replace(controls, mix=mix), masks))
    return cells


def _of_pictures(ckpt: str | Path, controls: Controls) -> list[Cell]:
    """A network for any style, in the style of each picture."""
    name = checkpoint.called(ckpt)
    if controls.style is None:
        raise UserError(f"{name} paints in the style of any picture: give some, such as style=[a.jpg,b.jpg].")
    _, masks = styles_and_masks("one", replace(controls, style=None))
    pictures = [style_pictures.opened(style) for style in several(controls.style)]
    return [Cell(ckpt, (style_pictures.name_of(one), name), replace(controls, style=one), masks) for one in pictures]


def of_walk(styles: Any, walk: Any, steps: int, controls: Controls) -> list[Cell]:
    """The styles of ``walk`` in one network, with ``steps`` pictures from each to the next, the first of them the
    style itself, and the last style. Raises UserError if one cannot be used.
    """
    files = listed("styles", styles if styles is not None else "gallery")
    if len(files) > 1:
        raise UserError(f"walk= leads through the styles of one network, and styles= has {len(files)}: give one.")
    if controls.style is not None:
        raise UserError("style= and walk= both say which styles to show: leave style= out.")
    net, info = _loaded(files[0], "styles")
    way = walks.along(Stylizer(net, info, name=checkpoint.called(files[0]), controls=controls), walk)
    _, masks = styles_and_masks("one", controls)
    count = steps * (len(way.names) - 1)
    parts = [number / count for number in range(count + 1)]
    return [Cell(files[0], way.caption(part), controls, masks, way.at(part)) for part in parts]


def _told(info: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """What a file says of one of its styles."""
    styles = info.get("styles") or []
    return styles[number] if number < len(styles) else {}


def titled(style: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A caption: the painting's title without its year, if it has one in letters that captions have, and the name."""
    title = style.get("title")
    title = dated(title)[0] if isinstance(title, str) else ""
    return (title, name) if title.strip() and has_letters(title) else (name,)


# --- comparisons


def of_comparison(ckpts: Any, settings: Sequence[Setting]) -> list[list[Cell]]:
    """A row for each checkpoint, with a cell for each setting; no settings: one cell, with the defaults.

    Raises UserError if a checkpoint or a setting cannot be used.
    """
    files = listed("ckpts", ckpts)
    return [_compared(ckpt, name, settings) for ckpt, name in zip(files, _apart(files), strict=True)]


def _compared(ckpt: str | Path, name: str, settings: Sequence[Setting]) -> list[Cell]:
    net, info = _loaded(ckpt, "ckpts")
    row = []
    for one in settings or [Setting(Controls(), "")]:
        # Reports a mix that this checkpoint has not, and a style that is missing.
        Stylizer(net, info, name=name, controls=one.controls).require_style()
        lines = titled(_mixed(info, net.n_styles, one.controls.mix), name)
        caption = (one.text, ": ".join(reversed(lines))) if settings else lines
        row.append(Cell(ckpt, caption, one.controls, styles_and_masks(ckpt, one.controls)[1]))
    return row


def _mixed(info: Mapping[str, Any], count: int, mix: Any) -> Mapping[str, Any]:
    """What a file says of the style that is used; nothing of a mixture."""
    told = [_told(info, number) for number in range(count)]
    if isinstance(mix, str):
        return next((style for style in told if style.get("name") == mix), {})
    return told[0] if mix is None else {}


def _apart(ckpts: Sequence[str | Path]) -> list[str]:
    """The names of checkpoints; with as many parent folders as keep different files apart."""
    names = [checkpoint.called(ckpt) for ckpt in ckpts]
    folders = [Path(checkpoint.split(ckpt)[0]).absolute().parent.parts for ckpt in ckpts]
    for depth in range(1, max(map(len, folders)) + 1):
        if len(set(names)) == len(set(map(str, ckpts))):
            break
        names = [
            "/".join([*parts[-depth:], checkpoint.called(ckpt)]) for parts, ckpt in zip(folders, ckpts, strict=True)
        ]
    return names


# --- checkpoints


def listed(option: str, value: Any) -> list[str | Path]:
    """An option's styles, one or several, as a list. Raises UserError if it has none, or something else."""
    found = several(value)
    if not found or not all(isinstance(one, str | Path) and one != "" for one in found):
        given = "" if value in (None, "", [], ()) else f"{value!r:.80}"
        raise UserError(
            f"{option}={given}: give names or files of styles, such as {option}=[udnie,gallery:sunflowers]."
        )
    return found


def _loaded(ckpt: str | Path, option: str) -> tuple[Any, dict[str, Any]]:
    """A network and what its file says. Raises UserError that names ``option``."""
    try:
        return checkpoint.load_style(ckpt)
    except UserError as error:
        text = str(error)
        raise UserError(option + text.removeprefix("ckpt") if text.startswith("ckpt=") else text) from error
