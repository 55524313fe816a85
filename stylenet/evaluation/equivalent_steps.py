"""How many iterations of Gatys' optimisation one pass of a network is worth (Johnson et al. 2016, figure 5).

Knows objectives, pictures and clocks; nothing about networks or files.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stylenet.losses.perceptual import PerceptualLoss
from stylenet.optimizing.optimizer import NotANumber, Terms, optimize
from stylenet.system.timing import Clock

STARTS = ("content", "noise")
BEYOND = 5  # iterations after the network's objective is reached, for the figure


def race(
    objective: PerceptualLoss,
    photo: Tensor,
    start: Tensor,
    goal: float,
    limit: int,
    seen: Callable[[int], Any] | None = None,
    optimizer: str = "torch_lbfgs",
) -> dict[str, Any]:
    """L-BFGS from ``start`` until its objective is ``goal``, the network's, and a few iterations on; ``limit`` at most.

    ``optimizer``: that of the published figures, or another of ``optimize``'s. ``seen`` is told of each iteration. As
    plain data: the "goal", the "curve" of the objective (the start's first), the "worth" of it, the seconds of an
    iteration (median) and "seconds" to the goal.
    """
    clock = Clock(photo.device)
    curve: list[float] = []
    times: list[float] = []

    def watch(step: int, terms: Terms, image: Tensor) -> bool:
        curve.append(float(torch.stack([*terms.values()]).sum()))
        times.append(clock.now())
        if seen:
            seen(step)
        return len(curve) > BEYOND and min(curve[:-BEYOND]) <= goal

    try:
        optimize(objective, photo, start, limit, optimizer=optimizer, seen=watch)
    except NotANumber:
        pass  # the curve up to there is what there is
    return described(curve, times, goal)


def described(curve: Sequence[float], times: Sequence[float], goal: float) -> dict[str, Any]:
    """A race in plain data; see :func:`race`. ``times``: when each point of ``curve`` was reached."""
    found = worth(curve, goal)
    steps = [later - before for before, later in zip(times, times[1:], strict=False)]
    seconds = None if found is None else _at(times, found) - times[0]
    return {
        "goal": float(f"{goal:.5g}"),
        "worth": None if found is None else round(found, 2),
        "iteration_s": float(f"{statistics.median(steps):.4g}") if steps else None,
        "seconds": None if seconds is None else float(f"{seconds:.4g}"),
        "curve": [float(f"{value:.5g}") for value in curve],
    }


def worth(curve: Sequence[float], goal: float) -> float | None:
    """The first iteration at which ``curve`` is down to ``goal``, interpolated linearly; None where it never is."""
    for step, value in enumerate(curve):
        if value <= goal:
            before = curve[step - 1] if step else value
            return float(step) if step == 0 else step - 1 + (before - goal) / (before - value)
    return None


def _at(times: Sequence[float], place: float) -> float:
    whole = int(place)
    after = times[min(whole + 1, len(times) - 1)]
    return times[whole] + (place - whole) * (after - times[whole])


def median(values: Sequence[float | None]) -> float | None:
    """The median, where None is more than any number; None if it is None itself."""
    ordered = sorted(values, key=lambda value: float("inf") if value is None else value)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return None if low is None or high is None else (low + high) / 2


def summary(races: Sequence[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Of the races of several photos: the median worth (None: more than the ``limit``), the least and the greatest, how
    many reached the goal, and the median seconds.
    """
    worths = [race["worth"] for race in races]
    reached = [value for value in worths if value is not None]
    return {
        "median": median(worths),
        "min": min(reached, default=None),
        "max": None if len(reached) < len(worths) else max(reached, default=None),
        "reached": len(reached),
        "photos": len(races),
        "limit": limit,
        "iteration_s": median([race["iteration_s"] for race in races]),
        "seconds": median([race["seconds"] for race in races]),
    }
