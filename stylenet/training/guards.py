"""What ends a training before its last step: a loss or weights that are not finite, a signal, the clock.

Knows the checkpoint to resume from; nothing about how the loss was computed.
"""

import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from stylenet.system.errors import UserError
from stylenet.training.checkpointing import LAST

EXPLODED = 1000.0  # times the lowest loss of the run so far
SETTLED = 3  # steps after the first, until their mean says how long one takes

log = logging.getLogger(__name__)


class NonFiniteGuard(Callback):
    """Stop with UserError when a term or the gradient is no longer a number, or the loss explodes.

    What is looked at stays on the device; it is read every ``every`` steps, and always before a checkpoint would be
    written.
    """

    def __init__(self, folder: Path, checkpoint_every: int, every: int = 10):
        self.folder, self.checkpoint_every, self.every = folder, checkpoint_every, every
        self.lowest: Tensor | None = None
        self.first_bad: Tensor | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        values = torch.stack([*pl_module.last_terms.values(), pl_module.last_norm]).detach().float()
        total = values[:-1].sum()
        if self.lowest is None or self.first_bad is None:
            self.lowest, self.first_bad = total, torch.full_like(values, torch.inf)
        bad = ~values.isfinite() | ((total > EXPLODED * self.lowest) & (values == values[:-1].max()))
        self.first_bad = torch.where(bad & self.first_bad.isinf(), float(trainer.global_step), self.first_bad)
        self.lowest = torch.fmin(self.lowest, total)
        on_cpu = values.device.type == "cpu"
        if on_cpu or trainer.global_step % self.every == 0 or trainer.global_step % self.checkpoint_every == 0:
            self._check([*pl_module.last_terms, "the gradient"])

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.first_bad is not None:
            self._check([*pl_module.last_terms, "the gradient"])

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """The loss was that of the weights before the step: these are the ones after it, and they may have exploded in
        this very step, by numbers that are finite.
        """
        if not torch.stack([weight.isfinite().all() for weight in pl_module.net.parameters()]).all():
            self._stop(trainer.global_step, "a weight")
        if self.lowest is None:
            return  # no step was taken
        if terms := pl_module.terms_after():
            values = torch.stack([*terms.values()]).float()
            if not values.isfinite().all() or values.sum() > EXPLODED * self.lowest:
                self._stop(trainer.global_step, [*terms][int(values.nan_to_num(torch.inf).argmax())])

    def _check(self, names: Sequence[str]) -> None:
        assert self.first_bad is not None
        step = float(self.first_bad.min())
        if step < float("inf"):
            self._stop(int(step), names[int(self.first_bad.argmin())])

    def _stop(self, step: int, name: str) -> NoReturn:
        last = self.folder / LAST
        kept = (
            f"the last good checkpoint is {last} (resume={last})" if last.exists() else "no checkpoint was written yet"
        )
        raise UserError(
            f"Training stopped at step {step}: {name} exploded or is not a number. Try a lower optimizer.lr, "
            f"a lower trainer.gradient_clip_val or trainer.precision=32-true; {kept}."
        )


class Clock(Callback):
    """Ends a run after its minutes. It comes before all other callbacks, which ask the schedule for the last step.

    The validation and the writing of the style follow the last step; their time is reserved. Several processes use the
    clock of the first; on a GPU they ask for it every ``every`` steps.
    """

    def __init__(self, every: int = 10):
        self.every = every
        self.began: tuple[float, int] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        schedule = pl_module.schedule
        if schedule.seconds is None:
            return
        self._look(trainer, schedule)
        if schedule.is_over(trainer.global_step):
            spent, given = schedule.spent / 60, schedule.seconds / 60
            if not trainer.global_step:
                raise UserError(
                    f"minutes={given:g} were over before the first step: to begin took {spent:.1f}. Give more."
                )
            log.warning("minutes=%g: %.1f of them are spent already; give more to go on", given, spent)
            self._end(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        schedule, step = pl_module.schedule, trainer.global_step
        if schedule.seconds is None:
            return
        self.began = self.began or (time.monotonic(), step)
        every = 1 if pl_module.device.type == "cpu" else self.every
        if step - self.began[1] >= SETTLED:
            schedule.reserve = self._reserve(trainer, schedule.seconds, every)
        if step % every == 0:
            self._look(trainer, schedule)
        if schedule.is_over(step):
            self._end(trainer)
            if step < pl_module.optimizer["warmup"]:
                log.warning("only %d steps fitted into minutes=%g: too few", step, schedule.seconds / 60)

    def _look(self, trainer: pl.Trainer, schedule: Any) -> None:
        schedule.set(trainer.strategy.broadcast(schedule.look()))

    def _end(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = True
        trainer.limit_val_batches = 0  # the validation of the end comes when the style is on disk

    def _reserve(self, trainer: pl.Trainer, seconds: float, every: int) -> float:
        """Seconds to reserve for the validation and the steps between two looks at the clock. A pass without gradients
        takes a third of a step for as many pixels.
        """
        assert self.began is not None
        photos: Any = trainer.datamodule  # type: ignore[attr-defined]
        a_step = (time.monotonic() - self.began[0]) / (trainer.global_step - self.began[1])
        seen = photos.batch_size * (photos.size + photos.margin) ** 2
        validation = len(photos.val_photos) * photos.val_size**2 / seen * 0.4
        return min(seconds / 4, a_step * (every / 2 + validation))


class StopOnSignal(Callback):
    """Ctrl-C and SIGTERM end the run after the current step, with everything written; a second signal ends it at once.

    ``stopped_by``: the signal's number, None for a run that finished. Several processes synchronise after each step on
    a CPU, every ``every`` steps on a GPU.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, folder: Path, every: int = 10):
        self.folder, self.every = folder, every
        self.stopped_by: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        def stop(number: int, frame: Any) -> None:
            self.stopped_by = number
            if trainer.world_size == 1:
                self._stop(trainer)
            # Lightning's own would have several processes talk out of turn.
            alone = trainer.world_size == 1 or number == signal.SIGINT
            signal.signal(number, self.before[number] if alone else signal.SIG_DFL)
            log.warning("stopping after this step; once more stops at once, without saving")

        self.before = {number: signal.signal(number, stop) for number in self.signals}

    def _stop(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = True
        trainer.limit_val_batches = 0  # who sends SIGTERM may not wait for a validation

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if pl_module.device.type == "cpu" or trainer.global_step % self.every == 0:
            self._agree(trainer, pl_module)

    def _agree(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A signal to one of several processes stops all at the same step: they wait for each other in every step."""
        if trainer.world_size > 1:
            heard = torch.tensor(self.stopped_by or 0, device=pl_module.device)
            dist.all_reduce(heard, dist.ReduceOp.MAX)
            if number := int(heard):
                self.stopped_by = number
                self._stop(trainer)

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._restore()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._restore()
        self._agree(trainer, pl_module)  # on what came after the last step
        trainer.save_checkpoint(self.folder / LAST)
        if self.stopped_by is not None:
            log.warning("stopped at step %d; go on with resume=%s", trainer.global_step, self.folder / LAST)
