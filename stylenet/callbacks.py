"""What rides along with a training: atomic checkpoints, charts, a sheet of pictures, a guard against NaN, and an
orderly stop.

It reads what the module leaves after each step (``last_terms``, ``last_norm``) and knows nothing about how it was
computed.
"""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from stylenet.errors import UserError
from stylenet.files import replacing
from stylenet.images import to_pil

log = logging.getLogger(__name__)

LAST = "last.ckpt"
EXPLODED = 1000.0  # times the lowest loss of the run so far
LONG = 30 * 60  # seconds: a training longer than this is told of the quick recipe


class AtomicFiles(TorchCheckpointIO):
    """Lightning's checkpoint files, written beside and renamed into place: a kill leaves the previous one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replacing(path) as temp:
            torch.save(checkpoint, temp)


class Guard(Callback):
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

    def _check(self, names: Sequence[str]) -> None:
        assert self.first_bad is not None
        step = float(self.first_bad.min())
        if step == float("inf"):
            return
        name = names[int(self.first_bad.argmin())]
        last = self.folder / LAST
        kept = (
            f"the last good checkpoint is {last} (resume={last})" if last.exists() else "no checkpoint was written yet"
        )
        raise UserError(
            f"Training stopped at step {step:.0f}: {name} exploded or is not a number. Try a lower optimizer.lr, "
            f"a lower trainer.gradient_clip_val or trainer.precision=32-true; {kept}."
        )


class Charts(Callback):
    """Losses by name, learning rate, gradient norm and images/s every ``every`` steps, and each validation's losses;
    once, how long it takes.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.since: tuple[float, int] | None = None
        self.began: tuple[float, int] | None = None
        self.said = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        step, now = trainer.global_step, time.monotonic()
        self.began = self.began or (now, step)
        self._say_how_long(now - self.began[0], step - self.began[1], trainer.max_steps - step)
        if step % self.every and step != trainer.max_steps:
            return
        readings = {name: float(value) for name, value in pl_module.loss.readings(pl_module.last_terms).items()}
        metrics = {f"train/{name}": value for name, value in readings.items()}
        metrics["train/grad_norm"] = float(pl_module.last_norm)
        metrics["train/lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        if self.since and step > self.since[1]:
            images = len(batch) * trainer.world_size * (step - self.since[1])
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
        log.info("about %s for the %d steps left%s", _duration(total), left, hint)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{max(1, minutes)} min"


class Sheet(Callback):
    """Every ``every`` steps the same few validation photos, above their stylizations, as a file and for the logger."""

    def __init__(self, folder: Path, every: int, photos: int = 6):
        self.folder, self.every, self.photos = folder, every, photos

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                for style, picture in zip(pl_module.styles, pl_module.pictures, strict=True):
                    logger.log_picture(f"style/{style['name']}", picture, trainer.global_step)  # type: ignore[attr-defined]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self.draw(trainer, pl_module)

    @torch.no_grad()
    def draw(self, trainer: pl.Trainer, pl_module: Any) -> None:
        photos: list[Tensor] = trainer.datamodule.val_photos[: self.photos]  # type: ignore[attr-defined]
        if not photos or not trainer.is_global_zero:
            return
        pl_module.eval()
        content = [pl_module.prepare(photo[None]) for photo in photos]
        output = [pl_module.net(x, pl_module.choose_styles(i, 1)) for i, x in enumerate(content)]
        pl_module.train()
        rows = [torch.cat(row, dim=3).cpu() for row in (content, output)]
        sheet = to_pil(torch.cat(rows, dim=2).float())
        with replacing(self.folder / "sheets" / f"{trainer.global_step:06d}.jpg") as temp:
            sheet.save(temp, quality=92)
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                logger.log_picture("sheet", sheet, trainer.global_step)  # type: ignore[attr-defined]


class Stopper(Callback):
    """Ctrl-C and SIGTERM end the run after the step at hand, with everything written; a second one ends it at once.

    ``stopped_by``: the signal's number, None in a run that came to its own end.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, folder: Path):
        self.folder = folder
        self.stopped_by: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        def stop(number: int, frame: Any) -> None:
            self.stopped_by = number
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # who sends SIGTERM may not wait for a validation
            signal.signal(number, self.before[number])
            log.warning("stopping after this step; once more stops at once, without saving")

        self.before = {number: signal.signal(number, stop) for number in self.signals}

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._restore()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._restore()
        trainer.save_checkpoint(self.folder / LAST)
        if self.stopped_by is not None:
            log.warning("stopped at step %d; go on with resume=%s", trainer.global_step, self.folder / LAST)


class Bar(TQDMProgressBar):
    """The whole run is one bar, on stderr; validation passes in silence."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if sys.stderr.isatty() else 50)  # in a file each refresh stays

    def init_train_tqdm(self) -> Tqdm:
        return Tqdm(
            desc="training",
            file=sys.stderr,
            disable=self.is_disabled,
            dynamic_ncols=True,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        bar = self.train_progress_bar
        bar.reset(trainer.max_steps)
        bar.n = bar.initial = trainer.global_step  # what was done before resume= says nothing about this run's pace

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
        Guard(folder, checkpoint_every),
        Charts(log_every),
        Sheet(folder, sheet_every),
        Stopper(folder),
        Bar(),
        # Buffers are VGG and the calibration: to average them would wear them down by rounding.
        *([EMAWeightAveraging(decay=ema, use_buffers=False)] if ema else []),
        ModelCheckpoint(
            folder,
            Path(LAST).stem,
            every_n_train_steps=checkpoint_every,
            enable_version_counter=False,
            save_weights_only=False,
        ),
    ]
