"""Runs in other processes: the processes of one training, and the runs of ``-m``, started by a launcher.

Knows Hydra; nothing about styles.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from stylenet.cli import doors, own_configs
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.training import distributed

Job = Callable[[DictConfig], Any]
INTERRUPTED = 128 + signal.SIGINT

_interrupted: list[bool] = []  # not empty after Ctrl-C in a launcher's process: it starts no further runs


# --- the processes of one training


def as_first_process(function: Job) -> Job:
    """Wrap ``function`` to put this run's own options into ``sys.argv``: Lightning starts the other processes with
    them, in the same folder.
    """

    def job(config: DictConfig) -> Any:
        hydra: Any = HydraConfig.get()
        sys.argv[1:] = [*doors.command(), *own_configs.option(), *hydra.overrides.hydra, *hydra.overrides.task]
        with read_write(hydra), open_dict(hydra):
            hydra.run.dir = hydra.runtime.output_dir
        return function(config)

    return job


def follow(job: Job, configs: str, config_name: str) -> None:
    """Run the job with the same options, but without its own folder and log: the first process has them."""
    _refuse_many()
    with initialize_config_dir(configs, version_base="1.3"):
        config = compose(config_name, sys.argv[1:], return_hydra_config=True)
    config.hydra.runtime.output_dir = config.hydra.run.dir
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    logging.getLogger("stylenet").setLevel(logging.ERROR)
    job(config)


def _refuse_many() -> None:
    here, machines = distributed.started() or (1, 1)
    if here * machines > 1 and _many():
        raise UserError(
            "torchrun and srun start the processes of one training: run them once per training, without -m."
        )


# --- the runs of -m


PLUGINS = ("joblib", "submitit_local", "submitit_slurm", "optuna")


def _many() -> bool:
    return bool({"-m", "--multirun"} & {*sys.argv})


def prepare_many() -> None:
    """Prepare the runs of ``-m``, if given, before Hydra starts them: after Ctrl-C, which reaches all processes, wait
    for the runs to save their state.

    Raises UserError in one of several processes of a single training.
    """
    if not _many():
        return
    _refuse_many()
    if "hydra/launcher=joblib" in sys.argv:
        signal.signal(signal.SIGINT, _wait)


def _wait(number: int, frame: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console.warn_line("waiting for the runs to stop; press Ctrl-C again to end them at once")


class Ended(Exception):
    """A run in a launcher's process was stopped; ``code`` is its exit code."""

    def __init__(self, code: Any):
        super().__init__(code)
        self.code = code


def one_of_many() -> bool:
    """Whether this is one of the runs of ``-m``. Its mistakes are reported after the other runs."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def beside_others() -> int | None:
    """The number of this ``-m`` run if several run at once on this machine, else None."""
    if not one_of_many() or HydraConfig.get().runtime.choices.get("hydra/launcher") not in ("joblib", "submitit_local"):
        return None
    return int(HydraConfig.get().job.num)


def shared(name: str) -> Path | None:
    """A path shared by exactly the runs of one ``-m``; None for a single run."""
    if not one_of_many():
        return None
    hydra = HydraConfig.get()
    return Path(hydra.runtime.output_dir).parents[len(Path(hydra.sweep.subdir).parts) - 1] / name


def _require_uninterrupted() -> None:
    if _interrupted:
        raise Ended(INTERRUPTED)


def _ended(stop: BaseException) -> Ended:
    code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
    if code == INTERRUPTED:
        _interrupted.append(True)
    return Ended(code)


def report_stop(job: Job) -> Job:
    """Wrap ``job``: a worker reports a stop to its launcher, which otherwise would end all runs at once."""
    launcher = os.getpid()  # the function below is copied into the other processes, with this id

    def run(config: DictConfig) -> Any:
        _require_uninterrupted()
        try:
            return job(config)
        except (SystemExit, KeyboardInterrupt) as stop:
            if os.getpid() == launcher:
                raise
            raise _ended(stop) from None

    return run
