"""The callbacks of a training: charts, sample pictures, the progress bar, and those of guards.py and checkpointing.py.

They read what the module leaves after each step (``last_terms``, ``last_norm``) and know nothing about how it was
computed.
"""

import io
import logging
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm
from torch import Tensor

from stylenet.images.contact_sheet import in_rows
from stylenet.images.image_io import to_pil
from stylenet.system import console
from stylenet.system.atomic import replacing
from stylenet.system.timing import duration
from stylenet.training.checkpointing import LastCheckpoint, WeightEMA
from stylenet.training.guards import Clock, NonFiniteGuard, StopOnSignal

log = logging.getLogger(__name__)

LONG = 30 * 60  # seconds: a training longer than this is told of the quick recipe


class OneFolder(Callback):
    """All processes of a run use the folder of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if trainer.world_size > 1:
            folder = trainer.strategy.broadcast(self.folder)
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if hasattr(callback, "folder"):
                    callback.folder = folder


class LogMetrics(Callback):
    """Losses by name, learning rate, gradient norm and images/s every ``every`` steps, and each validation's losses;
    once, how long it takes.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.since: tuple[float, int] | None = None
        self.began: tuple[float, int] | None = None
        self.said = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for logger in trainer.loggers:
            if trainer.global_step and hasattr(logger, "go_on"):
                logger.go_on(trainer.global_step)  # type: ignore[attr-defined]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        step, now = trainer.global_step, time.monotonic()
        self.began = self.began or (now, step)
        if pl_module.schedule.seconds is None:
            self._say_how_long(now - self.began[0], step - self.began[1], trainer.max_steps - step)
        if step % self.every and not pl_module.schedule.is_over(step):
            return
        readings = {name: float(value) for name, value in pl_module.loss.readings(pl_module.last_terms).items()}
        metrics = {f"train/{name}": value for name, value in readings.items()}
        metrics["train/grad_norm"] = float(pl_module.last_norm)
        metrics["train/lr"] = trainer.optimizers[0].param_groups[-1]["lr"]  # of the norms it may be another
        if self.since and step > self.since[1]:
            count = len(batch) if isinstance(batch, Tensor) else len(batch[0])  # photos, with paintings
            images = count * trainer.world_size * (step - self.since[1])
            metrics["train/images_per_s"] = images / (now - self.since[0])
        self.since = (now, step)
        shown = {name: readings[name] for name in ("loss", "style", "content") if name in readings}
        pl_module.log_dict(shown, prog_bar=True, logger=False)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.since = None  # the time it took is not the training's
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, trainer.global_step)

    def _say_how_long(self, seconds: float, steps: int, left: int) -> None:
        if self.said or steps < 1 or seconds < 15 or left < 1:
            return
        self.said = True
        total = seconds / steps * left
        hint = "; experiment=quick starts from a trained style and takes minutes" if total > LONG else ""
        log.info("about %s for the %d steps left%s", duration(total), left, hint)


class SampleGrid(Callback):
    """Every ``every`` steps the same few validation photos, above their stylizations, as a file and for the logger."""

    def __init__(self, folder: Path, every: int, photos: int = 6):
        self.folder, self.every, self.photos = folder, every, photos

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                for style, picture in zip(pl_module.styles, pl_module.pictures, strict=True):
                    logger.log_picture(f"style/{style['name']}", picture, trainer.global_step)  # type: ignore[attr-defined]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if trainer.global_step % self.every == 0 or pl_module.schedule.is_over(trainer.global_step):
            self.draw(trainer, pl_module)

    @torch.no_grad()
    def draw(self, trainer: pl.Trainer, pl_module: Any) -> None:
        photos: list[Tensor] = trainer.datamodule.val_photos[: self.photos]  # type: ignore[attr-defined]
        if not photos or not trainer.is_global_zero:
            return
        pl_module.eval()
        content = [pl_module.prepare(photo[None]) for photo in photos]
        rows = pl_module.samples(content)
        pl_module.train()
        sheet = in_rows([[to_pil(image) for image in row] for row in rows], gap=0)
        content = io.BytesIO()
        sheet.save(content, "JPEG", quality=92)
        with replacing(self.folder / "sheets" / f"{trainer.global_step:06d}.jpg") as temp:
            temp.write_bytes(content.getbuffer())
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                logger.log_picture("sheet", sheet, trainer.global_step)  # type: ignore[attr-defined]


class Bar(TQDMProgressBar):
    """The whole run is one bar, on stderr, of steps or of minutes; validation passes in silence."""

    IN_MINUTES = "{l_bar}{bar}| {n:.1f}/{total:g} min{postfix}"

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if console.is_terminal(sys.stderr) else 50)  # in a file each refresh stays

    def init_train_tqdm(self) -> Tqdm:
        return Tqdm(
            desc="training",
            file=console.stderr(),
            disable=self.is_disabled or not console.is_writable(sys.stderr),
            dynamic_ncols=True,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        bar, seconds = self.train_progress_bar, pl_module.schedule.seconds
        if seconds is not None:
            bar.bar_format = self.IN_MINUTES
            bar.reset(seconds / 60)
            return
        bar.reset(trainer.max_steps)
        bar.n = bar.initial = trainer.global_step  # what was done before resume= says nothing about this run's pace

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        schedule = pl_module.schedule
        if schedule.seconds is None:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        elif trainer.global_step % self.refresh_rate == 0 or schedule.is_over(trainer.global_step):
            bar = self.train_progress_bar
            bar.n = min(bar.total, schedule.spent / 60)
            bar.set_postfix({"step": trainer.global_step, **self.get_metrics(trainer, pl_module)})

    def on_exception(self, trainer: pl.Trainer, *args: Any) -> None:
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()  # now, so that what is said about the exception comes last

    def get_metrics(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


def callbacks(
    folder: Path, log_every: int, checkpoint_every: int, sheet_every: int, ema: float | None
) -> list[Callback]:
    """All of them, in the order in which they must run: the averaging puts the average in the weights' place when the
    training ends, so it comes after whoever saves these for resuming.
    """
    return [
        Clock(),
        OneFolder(folder),
        NonFiniteGuard(folder, checkpoint_every),
        LogMetrics(log_every),
        SampleGrid(folder, sheet_every),
        StopOnSignal(folder),
        Bar(),
        *([WeightEMA(ema)] if ema else []),
        LastCheckpoint(folder, checkpoint_every),
    ]
