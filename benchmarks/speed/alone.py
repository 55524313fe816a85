"""Each training in a separate process: its peak memory and step times."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.speed.measuring import peak_memory, short
from benchmarks.speed.plan import Plan


def in_new_process(work: Callable[[Plan], dict[str, Any]], plan: Plan) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, plan).result()


def common_alone(plan: Plan) -> dict[str, Any]:
    """The common recipe in this process, as it is at home."""
    return {"alone_step_s": short(plan.settled(plan.common().step)), "peak_memory": peak_memory(plan.device)}


def ours_alone(plan: Plan) -> dict[str, Any]:
    """Our training in this process."""
    from benchmarks.speed import ours  # Lightning: not for the common recipe's process

    paused = ours.Paused(plan.clock, 1, plan.seconds, lambda times: None)
    with tempfile.TemporaryDirectory() as folder:
        ours.train(plan.train, plan.styles, paused, Path(folder), plan.compiled)
    return {"alone_step_s": short(paused.times.median), "peak_memory": peak_memory(plan.device)}
