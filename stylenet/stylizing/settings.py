"""A set of controls as a short text, such as ``stroke=2,color=luminance``: for comparisons and their captions."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from stylenet.stylizing.controls import Controls
from stylenet.system.errors import UserError

NAMES = tuple(field.name for field in fields(Controls))
EXAMPLE = "such as stroke=2,color=luminance"


@dataclass(frozen=True)
class Setting:
    """Controls, and how a caption calls them."""

    controls: Controls
    text: str


def setting(given: str | Mapping[str, Any] | Controls) -> Setting:
    """The controls of a text (``stroke=2,color=luminance``; empty: the defaults), of a mapping by name, or themselves.

    Raises UserError for a text of another form, a control that there is not, and a value that is not allowed.
    """
    if isinstance(given, Controls):
        usual = {field.name: field.default for field in fields(Controls)}
        values = {name: getattr(given, name) for name in NAMES}
        return Setting(given, _text({name: x for name, x in values.items() if _differs(x, usual[name])}))
    if not isinstance(given, str | Mapping):
        raise UserError(f"settings={given!r:.80}: give controls as a text, {EXAMPLE}, or several of them in a list.")
    values = _values(given) if isinstance(given, str) else dict(given)
    for name in values:
        if name not in NAMES:
            near = difflib.get_close_matches(str(name), NAMES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UserError(
                f"settings={_shown(given)}: there is no control {name!r}.{hint} There are: {', '.join(NAMES)}."
            )
    try:
        return Setting(Controls(**values), _text(values))
    except UserError as error:
        where = f"settings={_shown(given)}: " if len(values) > 1 else "settings: "
        raise UserError(f"{where}{error}") from error


def _differs(value: Any, usual: Any) -> bool:
    return value is not None if usual is None else value != usual


def _values(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in re.split(r",(?![^\[]*\])", text) if text.strip() else []:  # the commas of a list belong to it
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise UserError(f"settings={text}: {part.strip()!r} is not of the form name=value, {EXAMPLE}.")
        if name in values:
            raise UserError(f"settings={text}: {name}= is there twice. Each is a setting of its own: repeat settings=.")
        values[name] = _value(value)
    return values


def _value(text: str) -> Any:
    """Numbers, true, false and lists of numbers; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_said(value)}" for name, value in values.items()) or "default"


def _said(value: Any) -> str:
    if isinstance(value, str | int | float | list | tuple):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return type(value).__name__


def _shown(given: Any) -> str:
    return given if isinstance(given, str) else repr(given)[:80]
