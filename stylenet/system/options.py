"""Options as frozen dataclasses: each keyword goes to the dataclass that validates it."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def grouped(options: Mapping[str, Any], *kinds: type) -> list[Any]:
    """One instance of each dataclass of ``kinds``, built from its fields in ``options``.

    Raises TypeError for an unknown option, and the dataclass's own error for an invalid value.
    """
    names = [{field.name for field in fields(kind)} for kind in kinds]
    every = sorted(set().union(*names))
    for name in options:
        if name not in every:
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(every)}."
            raise TypeError(f"There is no option {name!r}. {hint}")
    return [
        kind(**{name: value for name, value in options.items() if name in own})
        for kind, own in zip(kinds, names, strict=True)
    ]
