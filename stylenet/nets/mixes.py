"""Shares of styles: ``udnie:0.6,sunflowers:0.4``. Knows no networks."""

import re
from collections.abc import Sequence
from math import isfinite
from numbers import Real
from typing import Any

NumberText = r"\d+(?:\.\d*)?|\.\d+"


def shares(text: str) -> list[tuple[str, float]]:
    """The parts of ``a:0.7,b:0.3`` with their shares, which are made to sum to 1; of a name alone, itself with 1.

    Raises ValueError if some part has no share, or all are 0.
    """
    parts = [part.strip() for part in text.split(",")]
    found = [re.fullmatch(rf"(.+):({NumberText})", part) for part in parts]
    if not any(found):
        return [(text, 1.0)]
    if not all(found):
        part = parts[found.index(None)]
        raise ValueError(f"{part!r} has no share; give each one, such as a:0.7,b:0.3")
    return divided([(match[1], float(match[2])) for match in found if match])


def divided(given: Sequence[tuple[Any, float]]) -> list[tuple[Any, float]]:
    """The same with shares that sum to 1. Raises ValueError unless they are numbers of 0 or more, and one is above."""
    numbers = [share for _, share in given]
    if not all(isinstance(x, Real) and not isinstance(x, bool) and isfinite(x) and x >= 0 for x in numbers):
        raise ValueError("shares are numbers of 0 or more")
    if not sum(numbers) > 0:
        raise ValueError("one share must be above 0")
    return [(one, share / sum(numbers)) for one, share in given]
