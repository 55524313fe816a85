"""A training in several processes: the number of this one, the number of all, and how they end together.

torchrun and SLURM start all processes; otherwise Lightning starts the others of a machine. Knows nothing about what is
trained.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 60.0  # seconds that the first process waits for the others to end
PLACE = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what Lightning tells those it starts


def number() -> int:
    """This process's number among those that train together, 0 for the first or only one: as torchrun, SLURM or
    Lightning put it into the environment, so known from the start.
    """
    return next((int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), 0)


def started() -> tuple[int, int] | None:
    """(processes on each machine, machines) as torchrun or SLURM started them; None where neither did."""
    if here := int(os.environ.get("LOCAL_WORLD_SIZE", 0)):
        return here, int(os.environ["WORLD_SIZE"]) // here
    if "SLURM_NTASKS" in os.environ and _by_srun():
        machines = int(os.environ.get("SLURM_NNODES", 1))
        return max(1, int(os.environ["SLURM_NTASKS"]) // machines), machines
    return None


def _by_srun() -> bool:
    """Whether srun started this process: only then is it one task of a step. In a batch script and in a shell of salloc
    SLURM_NTASKS is what was reserved, and nothing is started but what the user starts.
    """
    in_a_shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # srun --pty bash; Lightning's rule too
    step = {"SLURM_STEP_ID", "SLURM_STEPID"} & {*os.environ} or os.environ.get("SLURM_PROCID", "0") != "0"
    return bool(step) and not in_a_shell


def alone_on_slurm() -> bool:
    """Whether this is the only process of a training on SLURM, which Lightning takes for one of SLURM_NTASKS."""
    if "SLURM_NTASKS" not in os.environ or "LOCAL_WORLD_SIZE" in os.environ:
        return False
    here, machines = started() or (1, 1)
    return here * machines == 1


@contextmanager
def together(trainer: Any) -> Iterator[None]:
    """The processes that Lightning's ``trainer`` starts in here end with the block, killed if it raises. A later one
    starts its own.
    """
    try:
        yield
    except BaseException:
        _end(trainer, 0)
        raise
    if _end(trainer, PATIENCE):
        _forget()


def _end(trainer: Any, patience: float) -> int:
    """Wait ``patience`` seconds for the others to end, then kill them; how many there were."""
    watched: list[subprocess.Popen] = getattr(trainer.strategy.launcher, "procs", [])
    others = [*watched]
    end = time.monotonic() + patience
    while any(other.poll() is None for other in others) and time.monotonic() < end:
        time.sleep(0.01)
    watched.clear()  # Lightning watches them and would kill this process after one that failed
    for other in others:
        other.kill()
        other.wait()
    return len(others)


def _forget() -> None:
    import torch.distributed as dist  # here: the scripts ask for number() before they load anything

    if dist.is_initialized():
        dist.destroy_process_group()
    for name in PLACE:
        os.environ.pop(name, None)
