"""The checkpoint that a training resumes from, which is always whole, and the average of the weights in it.

Knows nothing about what is trained.
"""

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EMAWeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from stylenet.system.atomic import leftovers, replacing

LAST = "last.ckpt"


class AtomicFiles(TorchCheckpointIO):
    """Lightning's checkpoint files, written beside and renamed into place: a kill leaves the previous one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()  # torch.save says what ails a full disk in no words of the system's
        torch.save(checkpoint, content)
        with replacing(path) as temp:
            temp.write_bytes(content.getbuffer())
        for half_written in leftovers(Path(path)):
            half_written.unlink(missing_ok=True)


class LastCheckpoint(Checkpoint):
    """The checkpoint to resume from, every ``every`` steps; after a validation, which a resumed run would not make up
    for.
    """

    def __init__(self, folder: Path, every: int):
        self.folder, self.every = folder, every

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        every = trainer.val_check_batch if sum(trainer.num_val_batches) else None
        if every is None or (batch_idx + 1) % every:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.folder / LAST)


class WeightEMA(EMAWeightAveraging):
    """The exponential average of the weights, shipped also by a resumed run that has no step left to take."""

    def __init__(self, decay: float):
        self.rate = decay
        super().__init__(decay=decay, use_buffers=False)  # VGG and the calibration: rounding would wear them down

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.on_train_end(trainer, pl_module)
