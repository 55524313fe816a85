"""Equivalent steps: the iterations of Gatys' optimisation that reach the objective of one network pass (Johnson et al.
2016, figure 5).

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
BEYOND = 5  # iterations after the goal, for the plot


def run_until(
    objective: PerceptualLoss,
    photo: Tensor,
    start: Tensor,
    goal: float,
    limit: int,
    callback: Callable[[int], Any] | None = None,
    optimizer: str = "torch_lbfgs",
) -> dict[str, Any]:
    """Optimize from ``start`` until the objective reaches ``goal``, the network's, plus a few iterations; at most
    ``limit``.

    ``optimizer``: any of ``optimize``; the default made the published figures. ``callback(step)`` runs after each
    iteration. Returns plain data: "goal"; "curve", the objective from the start on; "worth", the equivalent steps;
    "iteration_s", the median seconds of an iteration; "seconds" to the goal.
    """
    clock = Clock(photo.device)
    curve: list[float] = []
    times: list[float] = []

    def watch(step: int, terms: Terms, image: Tensor) -> bool:
        curve.append(float(torch.stack([*terms.values()]).sum()))
        times.append(clock.now())
        if callback:
            callback(step)
        return len(curve) > BEYOND and min(curve[:-BEYOND]) <= goal

    try:
        optimize(objective, photo, start, limit, optimizer=optimizer, seen=watch)
    except NotANumber:
        pass  # keep the curve up to there
    return as_record(curve, times, goal)


def as_record(curve: Sequence[float], times: Sequence[float], goal: float) -> dict[str, Any]:
    """The plain data of :func:`run_until`. ``times``: seconds at each point of ``curve``."""
    found = equivalent_steps(curve, goal)
    steps = [later - before for before, later in zip(times, times[1:], strict=False)]
    seconds = None if found is None else _at(times, found) - times[0]
    return {
        "goal": float(f"{goal:.5g}"),
        "worth": None if found is None else round(found, 2),
        "iteration_s": float(f"{statistics.median(steps):.4g}") if steps else None,
        "seconds": None if seconds is None else float(f"{seconds:.4g}"),
        "curve": [float(f"{value:.5g}") for value in curve],
    }


def equivalent_steps(curve: Sequence[float], goal: float) -> float | None:
    """The first iteration at which ``curve`` reaches ``goal``, interpolated linearly; None if it never does."""
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
    """The median, with None as infinity; None if the median is infinite."""
    ordered = sorted(values, key=lambda value: float("inf") if value is None else value)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return None if low is None or high is None else (low + high) / 2


def summary(runs: Sequence[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Equivalent steps over the ``runs`` of several photos: median (None: more than ``limit``), minimum, maximum, how
    many reached the goal, and the median seconds.
    """
    steps = [run["worth"] for run in runs]
    reached = [value for value in steps if value is not None]
    return {
        "median": median(steps),
        "min": min(reached, default=None),
        "max": None if len(reached) < len(steps) else max(reached, default=None),
        "reached": len(reached),
        "photos": len(runs),
        "limit": limit,
        "iteration_s": median([run["iteration_s"] for run in runs]),
        "seconds": median([run["seconds"] for run in runs]),
    }
