"""Our training and stylizing as in the scripts, with pauses for other measurements.

The training is that of ``scripts/train.py``: Lightning's Trainer with all its callbacks, the photos with their workers.
Periodic work (checkpoints, sheets, validation) is excluded: it is not part of a step.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import repeat
from os import devnull
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from benchmarks.speed.measuring import Clock, Profile, Times, enough
from stylenet.data.datamodule import Photos
from stylenet.nets import checkpoint
from stylenet.nets.registry import build
from stylenet.runtime.options import Runtime
from stylenet.stylizing.controls import Controls
from stylenet.stylizing.stylizer import Stylizer, load_each
from stylenet.system.errors import UserError
from stylenet.system.memory import keep_freed_memory
from stylenet.training.loggers import make_logger
from stylenet.training.module import StyleTransfer
from stylenet.training.trainer import stopped_by, trainer_for

LONG = 10**9  # steps: no end in sight
LEAD = 1  # steps after a pause that are not timed: caches have to fill
LEAD_ON_GPU = 40  # there the loader must first be rid of what it got ready in the pause: two batches of each worker


Between = Callable[[Times], None]


class Paused(Callback):
    """Times runs of steps, ``rounds`` of them of ``seconds`` or more each; calls ``between`` before each, with the
    times so far, and stops.

    ``lead``: steps after a pause that are not timed. ``first_step``: the seconds of the very first, which compiles what
    is to be compiled. ``profile`` is of one more step at the end.
    """

    def __init__(self, clock: Clock, rounds: int, seconds: float, between: Between, profiled: bool = False):
        self.clock, self.rounds, self.seconds, self.between = clock, rounds, seconds, between
        self.lead = LEAD if clock.device.type == "cpu" else LEAD_ON_GPU
        self.profile = Profile(clock.device) if profiled else None
        self.times = Times()
        self.done = 0  # steps since the last pause
        self.first_step, self.since = 0.0, 0.0
        self.phase = self._warm_up

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.since = self.clock.now()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.done += 1
        self.phase(trainer)

    def _warm_up(self, trainer: pl.Trainer) -> None:
        now = self.clock.now()
        if self.done == 1:
            self.first_step = now - self.since
        elif self.done > self.lead:
            self.times.count = enough(self.seconds, now - self.since)
            self._pause()
        self.since = now

    def _time(self, trainer: pl.Trainer) -> None:
        if self.done == self.lead:
            self.since = self.clock.now()
        elif self.done == self.lead + self.times.count:
            self.times.seconds.append((self.clock.now() - self.since) / self.times.count)
            if len(self.times.seconds) < self.rounds:
                self._pause()
            elif self.profile:
                self.phase = self._profiled
                self.profile.start()
            else:
                trainer.should_stop = True

    def _profiled(self, trainer: pl.Trainer) -> None:
        assert self.profile is not None
        self.profile.stop()
        trainer.should_stop = True

    def _pause(self) -> None:
        self.between(self.times)
        self.phase, self.done = self._time, 0


class Ready(Photos):
    """Photos whose batches are ready on the device: always the first, so that nothing waits for a loader."""

    device = torch.device("cpu")

    def train_dataloader(self) -> Any:
        first = torch.stack([self.crops[number] for number in range(self.batch_size)])
        return repeat(first.to(self.device))  # not a list: Lightning would compare its length with the steps


def train(
    settings: dict[str, Any],
    styles: list[dict[str, Any]],
    paused: Paused,
    folder: Path,
    compiled: bool,
    ready: bool = False,
) -> str:
    """Train by the settings of ``scripts/train.py`` until ``paused`` has its times; returns the precision.

    ``folder`` takes what a run writes. ``ready``: without a loader, see :class:`Ready`. Raises KeyboardInterrupt if the
    run was ended from outside, UserError if it should be compiled and cannot.
    """
    pl.seed_everything(settings["seed"], verbose=False)
    keep_freed_memory()
    photos = (Ready if ready else Photos)(**{**settings["data"], "val": 0}, steps=LONG, seed=settings["seed"])
    if isinstance(photos, Ready):
        photos.device = paused.clock.device
    model = StyleTransfer(settings["net"], settings["loss"], styles, settings["optimizer"], LONG)
    if compiled:
        model.compile_training()
    rarely = dict.fromkeys(("val_every", "checkpoint_every", "sheet_every"), LONG)
    where = on(paused.clock.device)
    with _in_silence():
        logger = make_logger("csv", folder, "", settings)
        trainer = trainer_for(settings["trainer"] | where | rarely, LONG, folder, logger)
        trainer.callbacks.append(paused)  # type: ignore[attr-defined]
        try:
            trainer.fit(model, datamodule=photos)
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
    if stopped_by(trainer) is not None:
        raise KeyboardInterrupt
    if compiled and model.training_terms == model.terms:
        raise UserError("compile=true: torch.compile does not work here; leave it out.")
    return str(trainer.precision)


def on(device: torch.device) -> dict[str, Any]:
    """The Trainer's settings for one device."""
    kind = "gpu" if device.type == "cuda" else device.type
    return {"accelerator": kind, "devices": [device.index] if device.index else 1}


@contextmanager
def _in_silence() -> Iterator[None]:
    """Advice and the bar, which is drawn as ever, go nowhere."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("stylenet").setLevel(logging.ERROR)
    with open(devnull, "w") as nowhere, redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        yield


def stylizer(net: dict[str, Any], folder: Path, device: torch.device) -> Stylizer:
    """A style of the network ``net`` with random weights, written and loaded as a user loads one."""
    arguments = {key: value for key, value in net.items() if key != "name"}
    path = checkpoint.save(folder / "random.safetensors", build(net["name"], **arguments), {})
    return load_each([path], [], Runtime(device=device), Controls())  # type: ignore[return-value]
