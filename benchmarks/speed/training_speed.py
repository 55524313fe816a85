"""The common recipe against ours, measured in turns: training, stylizing, and training memory.

``measure`` returns all figures as plain data; a ratio is our speed divided by the common recipe's. common_recipe.py and
ours.py define the work, measuring.py the timing.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import ours
from benchmarks.speed.alone import common_alone, in_new_process, ours_alone
from benchmarks.speed.common_recipe import CommonNet, CommonTraining
from benchmarks.speed.measuring import Profile, Switches, Times, Work, as_at_home, enough, short
from benchmarks.speed.operations import matrix_rate, operations
from benchmarks.speed.plan import Plan
from stylenet.system.memory import keep_freed_memory
from stylenet.system.timing import hardware, versions


def measure(plan: Plan) -> tuple[dict[str, Any], str]:
    """All figures, and the profiler's tables (empty unless ``plan.profiled``)."""
    home = Switches()
    _say("memory, and the time of a step in a process that does nothing else ...")
    alone = {"common": in_new_process(common_alone, plan), "ours": in_new_process(ours_alone, plan)}
    _say("  " + ", ".join(f"{name} {found['alone_step_s']:.3g} s" for name, found in alone.items()))
    _say("training, the common recipe and ours in turns ...")
    training, tables = _training(plan, home)
    for name, figures in alone.items():
        training[name] |= figures
    _say("stylizing ...")
    stylizing = {str(size): _stylizing(plan, size, home) for size in plan.sizes}
    about = {"hardware": hardware(plan.device), "versions": versions()}
    return {"train": training, "stylize": stylizing} | about, tables


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _tell(theirs: Times, mine: Times) -> None:
    if mine.seconds:
        _say(f"  {len(mine.seconds)}: the common recipe {theirs.seconds[-1]:.3g} s, ours {mine.seconds[-1]:.3g} s")


# --- training


def _training(plan: Plan, home: Switches) -> tuple[dict[str, Any], str]:
    common, clock = plan.common(), plan.clock
    count = enough(plan.seconds, plan.settled(common.step))
    at_home, keeping = Work(common.step, clock, count), Work(common.step, clock, count)

    def others(so_far: Times) -> None:
        _tell(at_home.times, so_far)
        with as_at_home(home):
            at_home.measure()
        with as_at_home(home, keep_freed=True):
            keeping.measure()

    mine, precision = trained(plan, plan.train, plan.repeats, others, plan.profiled)
    batch = plan.train["data"]["batch_size"]
    figures = _compared(plan, at_home.times, mine.times)
    kept = _speed(keeping.times, plan.common_batch)
    figures["ratio_same_allocator"] = _ratio(figures["ours"], kept)
    figures["common_same_allocator"] = kept
    figures["ours"] |= _first(mine.first_step, mine.times)
    figures["same_work"] = _same_work(plan, home, Work(common.step, clock, count))
    figures |= {"batch": batch, "common_batch": plan.common_batch, "size": plan.train["data"]["size"]}
    figures["precision"] = precision
    figures["arithmetic"] = _arithmetic(plan, figures["ours"]["images_per_s"], "bf16" in precision)
    return figures, _tables(common, mine, home) if plan.profiled else ""


def _same_work(plan: Plan, home: Switches, theirs: Work) -> dict[str, Any]:
    """Our training of the common recipe's network by its losses, against the recipe."""
    _say("training the same network by the same losses ...")
    return against(theirs, plan, home, plan.same_work, (plan.repeats + 1) // 2)[0]


def against(
    theirs: Work, plan: Plan, home: Switches, settings: dict[str, Any], rounds: int, ready: bool = False
) -> tuple[dict[str, Any], str]:
    """Our training with ``settings`` and the steps ``theirs`` in turns: the figures of both, and our precision.

    ``ready``: ours without a loader, see :class:`benchmarks.speed.ours.Ready`.
    """

    def other(so_far: Times) -> None:
        _tell(theirs.times, so_far)
        with as_at_home(home):
            theirs.measure()

    mine, precision = trained(plan, settings, rounds, other, ready=ready)
    return _compared(plan, theirs.times, mine.times), precision


def trained(
    plan: Plan,
    settings: dict[str, Any],
    rounds: int,
    between: ours.Between,
    profiled: bool = False,
    ready: bool = False,
) -> tuple[ours.Paused, str]:
    """Our training for ``rounds`` measurements, and its precision."""
    paused = ours.Paused(plan.clock, rounds, plan.seconds, between, profiled)
    with tempfile.TemporaryDirectory() as folder:
        return paused, ours.train(settings, plan.styles, paused, Path(folder), plan.compiled, ready)


def _compared(plan: Plan, theirs: Times, mine: Times) -> dict[str, Any]:
    common, ours_ = _speed(theirs, plan.common_batch), _speed(mine, plan.train["data"]["batch_size"])
    return {"ratio": _ratio(ours_, common), "common": common, "ours": ours_}


def _speed(times: Times, batch: int) -> dict[str, Any]:
    return {"images_per_s": short(batch / times.median), "step_s": times.figures()}


def _ratio(mine: dict[str, Any], theirs: dict[str, Any]) -> float:
    return round(mine["images_per_s"] / theirs["images_per_s"], 3)


def _first(seconds: float, times: Times) -> dict[str, float]:
    """The very first time, and how much longer it took than the others: compiling is in there."""
    return {"first_s": round(seconds, 3), "compile_s": round(max(0.0, seconds - times.median), 3)}


def _arithmetic(plan: Plan, images_per_s: float, half: bool) -> dict[str, float]:
    """Which share of what this machine can multiply our training makes use of."""
    needed = operations(plan.train, plan.styles)
    rate = matrix_rate(plan.device, torch.bfloat16 if half else torch.float32)
    giga = {"operations_per_image_g": short(needed / 1e9), "matrix_rate_g": short(rate / 1e9)}
    return giga | {"share": short(needed * images_per_s / rate)}


def _tables(common: CommonTraining, mine: ours.Paused, home: Switches) -> str:
    theirs = Profile(common.device)
    with as_at_home(home):
        theirs.start()
        common.step()
        theirs.stop()
    assert mine.profile is not None
    return f"One step of the common recipe\n{theirs.table}\n\nOne step of ours\n{mine.profile.table}\n"


# --- stylizing


def _stylizing(plan: Plan, size: int, home: Switches) -> dict[str, Any]:
    """One picture of ``size`` x ``size`` at a time, from and to the device's memory."""
    picture = torch.rand(1, 3, size, size, device=plan.device)
    with tempfile.TemporaryDirectory() as folder:
        stylizer = ours.stylizer(plan.train["net"], Path(folder), plan.device)
    net, scaled = CommonNet().to(plan.device).eval(), picture * 255
    with as_at_home(home), torch.no_grad():
        theirs = _pictures(lambda: net(scaled), plan)
    keep_freed_memory()
    first = plan.clock.time(lambda: stylizer(picture))
    mine = _pictures(lambda: stylizer(picture), plan)
    for _ in range(plan.repeats):
        with as_at_home(home), torch.no_grad():
            theirs.measure()
        mine.measure()
        _tell(theirs.times, mine.times)
    ratio = round(theirs.times.median / mine.times.median, 3)
    return {
        "ratio": ratio,
        "common": {"picture_s": theirs.times.figures()},
        "ours": {"picture_s": mine.times.figures()} | _first(first, mine.times),
    }


def _pictures(work: Callable[[], Any], plan: Plan) -> Work:
    return Work(work, plan.clock, enough(plan.seconds, plan.settled(work)))
