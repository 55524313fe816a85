"""Compares a resumed run with the original: settings that must be equal, and settings that may change.

Knows the names of a training's options; nothing about how it trains.
"""

import json
import os
from pathlib import Path
from typing import Any

from stylenet.system.errors import UserError

ADVICE = "Give the last.ckpt of a run, with the options of that run."
LATER = {"loss.repeat_weight": 0.0}  # settings that older runs do not record, and what they trained with
DATA = ("root", "size", "margin", "batch_size", "scale", "ratio", "flip", "val", "val_size")


def settings(model: Any, photos: Any, trainer: Any, ema: float | None) -> dict[str, Any]:
    """The settings that a run's result depends on and that may change on resume, as plain data by option name. Settings
    of a style are numbered: style.0.size. Settings that only decide how and where a run works are not included.
    """
    clock = model.schedule.seconds
    found = {
        "steps": model.schedule.steps if clock is None else None,
        "minutes": None if clock is None else clock / 60,
        "seed": photos.seed,
        "add": None if model.base is None else _styles_of(model.base[1]),
        **of_file(model.info(), dict(model.optimizer)),
        **{f"data.{name}": _place(getattr(photos, name)) for name in DATA},
        "trainer.precision": str(trainer.precision),
        "trainer.gradient_clip_val": trainer.gradient_clip_val,
        "trainer.ema": ema,
        "processes": trainer.world_size,
    }
    return json.loads(json.dumps(found))


def of_file(info: dict[str, Any], optimizer: dict[str, Any]) -> dict[str, Any]:
    """These settings as far as a style file records them; for checkpoints from before they were recorded."""
    found = {f"optimizer.{name}": value for name, value in optimizer.items()}
    for name, value in (info.get("loss") or {}).items():
        if name.endswith("_weight"):
            found[f"loss.{name}"] = value
        if name.endswith("_layers"):
            found |= {f"loss.{name}.{layer}": weight for layer, weight in value.items()}
    for number, style in enumerate(info.get("styles") or []):
        found |= {f"style.{number}.{name}": style[name] for name in ("size", "color") if name in style}
    return found


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """The settings that differ, each with both values. A setting that only one side records is ignored, but for those
    that are younger than the run.
    """
    if any(name.startswith("loss.") for name in before):
        before = LATER | before
    return {name: [before[name], now[name]] for name in now if name in before and before[name] != now[name]}


def in_words(changed: dict[str, list[Any]], names: list[str]) -> str:
    """The changed settings in one line. ``names``: those of the styles."""
    labels = {name: _label(name, names) for name in changed}
    return "; ".join(f"{labels[name]}={_shown(new)} (before: {_shown(old)})" for name, (old, new) in changed.items())


def for_the_file(changed: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same without the folders of this machine: whoever gets a style need not know them."""
    paths = ("data.root", "data.val")
    return {
        name: [Path(value).name if name in paths and isinstance(value, str) else value for value in both]
        for name, both in changed.items()
    }


def refuse_another(resume: str, before: dict[str, Any], now: dict[str, Any], same_shapes: bool) -> None:
    """Raise UserError where the run that is resumed had another network, loss or number of styles, or another painting.

    ``before`` and ``now``: what the files of both say about themselves. ``same_shapes``: of all their weights.
    """
    theirs, mine = _fixed(before), _fixed(now)
    names = [name for name in mine if name in theirs]
    if not same_shapes and before.get("net"):
        names += [name for name in {**theirs, **mine} if name.startswith("net.") and name not in names]
    for name in names:
        if theirs.get(name, 0) != mine.get(name, 0):
            raise UserError(
                f"resume={resume} is of a run with another network, loss or number of styles: {name} was "
                f"{_shown(theirs.get(name, 0))} and is {_shown(mine.get(name, 0))} here. {ADVICE}"
            )
    if not same_shapes:
        raise UserError(f"resume={resume} is of a run with another network, loss or number of styles. {ADVICE}")
    for old, new in zip(before.get("styles") or [], now["styles"], strict=False):
        if old.get("sha256", new["sha256"]) != new["sha256"]:
            was, is_now = _picture(old, new)
            raise UserError(
                f"resume={resume} is of a run with another painting: {was}, and here it is {is_now}. {ADVICE}"
            )


def refuse_another_base(resume: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise UserError where one run adds styles to a network and the other does not, or not to the same one."""
    theirs, mine = before.get("add"), now["add"]
    if theirs != mine:
        was, is_now = (f"adds to the styles {one}" if one else "adds to none" for one in (theirs, mine))
        raise UserError(f"resume={resume} is of a run that {was}; this one {is_now}. Give the add= of that run.")


def _styles_of(info: dict[str, Any]) -> str:
    return ", ".join(str(style.get("name")) for style in info.get("styles", []))


def _fixed(info: dict[str, Any]) -> dict[str, Any]:
    net, loss = info.get("net") or {}, info.get("loss") or {}
    optimizer = (info.get("training") or {}).get("optimizer")
    found = {"net.name": net["name"]} if net else {}
    found |= {f"net.{name}": value for name, value in (net.get("args") or {}).items()}
    found |= {f"loss.{name}": loss[name] for name in ("scale", "vgg", "pooling") if name in loss}
    found |= {f"loss.{name}": sorted(loss[name]) for name in ("style_layers", "content_layers") if name in loss}
    if optimizer is not None:
        apart = optimizer.get("norms", 1) != 1 or bool(optimizer.get("norms_first", 0))
        found["optimizer.norms or norms_first in use"] = apart  # then Adam has two groups of weights
    if "net.n_styles" in found:
        found["the number of styles"] = found.pop("net.n_styles")
    return json.loads(json.dumps(found))


def _picture(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    names = str(old.get("image")), str(new.get("image"))
    if names[0] != names[1]:
        return names
    return f"{names[0]} (sha256 {old['sha256'][:8]})", f"another of that name (sha256 {new['sha256'][:8]})"


def _label(name: str, names: list[str]) -> str:
    first, _, rest = name.partition(".")
    number, _, option = rest.partition(".")
    return f"style.{names[int(number)]}.{option}" if first == "style" else name


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _place(value: Any) -> Any:
    """A file or folder as one that is the same from everywhere."""
    return os.path.realpath(value) if isinstance(value, str | Path) else value
