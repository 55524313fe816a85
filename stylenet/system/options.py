"""Options as frozen dataclasses: each keyword goes to the dataclass that validates it."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def grouped(options: Mapping[str, Any], given: Mapping[type, Any]) -> list[Any]:
    """One instance of each dataclass: the one that is ``given``, else one made from its fields among ``options``.

    ``given``: the dataclasses, with None for those to be made. Raises TypeError for an option that no dataclass has and
    for one whose dataclass is given, and the dataclass's own error for a value that is not allowed.
    """
    names = {kind: {field.name for field in fields(kind)} for kind in given}
    every = sorted(set().union(*names.values()))
    for name in options:
        if name not in every:
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(every)}."
            raise TypeError(f"There is no option {name!r}. {hint}")
    made = []
    for kind, one in given.items():
        own = {name: value for name, value in options.items() if name in names[kind]}
        if one is not None and own:
            raise TypeError(f"{', '.join(own)}: give it in {kind.__name__}(...), which is given too, or alone.")
        made.append(kind(**own) if one is None else one)
    return made
