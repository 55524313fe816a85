"""One training run: from the settings of Lightning's Trainer, and the first or a resumed step, to the style file.

Settings are plain dicts, as in ``configs/train.yaml``; only the command line knows Hydra. perceptual.py has the losses.
"""

import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from tqdm.contrib.logging import logging_redirect_tqdm

from stylenet.data.datamodule import SHARE_MORE, Photos
from stylenet.nets import checkpoint
from stylenet.system.atomic import writable
from stylenet.system.errors import UserError, one_line
from stylenet.training import distributed, resuming
from stylenet.training.callbacks import callbacks
from stylenet.training.checkpointing import AtomicFiles, WeightEMA
from stylenet.training.guards import StopOnSignal
from stylenet.training.module import StyleTransfer, check
from stylenet.training.precision import bf16_pays
from stylenet.training.shelf import UNFINISHED, Shelf

log = logging.getLogger(__name__)


def trainer_for(settings: dict[str, Any], steps: int, folder: Path, logger: Logger | bool) -> pl.Trainer:
    """Lightning's Trainer for ``steps`` steps, from ``configs/trainer``. ``precision: auto`` is bf16 if the processor
    has it and is faster with it, else float32. Raises UserError for unsuitable settings.
    """
    settings = dict(settings)
    for name in ("val_every", "checkpoint_every", "sheet_every", "log_every_n_steps"):
        check(f"trainer.{name}", settings[name], 1, whole=True)
    val_every, checkpoint_every, sheet_every = (settings.pop(f"{x}_every") for x in ("val", "checkpoint", "sheet"))
    if (ema := settings.pop("ema")) is not None:
        check("trainer.ema", ema, 0, 1)
    if settings["precision"] == "auto":
        settings["precision"] = "bf16-mixed" if bf16_pays(settings["accelerator"]) else "32-true"
    _spread(settings)
    try:
        return pl.Trainer(
            **settings,
            max_steps=steps,
            max_epochs=-1,
            val_check_interval=min(val_every, steps),
            num_sanity_val_steps=0,
            logger=logger,
            default_root_dir=folder,
            callbacks=callbacks(folder, settings["log_every_n_steps"], checkpoint_every, sheet_every, ema),
            plugins=[AtomicFiles(), *([LightningEnvironment()] if distributed.alone_on_slurm() else [])],
            use_distributed_sampler=False,
            enable_model_summary=False,
            inference_mode=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {one_line(error)} (configs/trainer/default.yaml shows what is usual)") from error


def in_turn(settings: dict[str, Any], number: int) -> dict[str, Any]:
    """The Trainer's settings for run ``number`` of several parallel runs with one device each: they take the GPUs of
    this machine in turn. An explicit choice such as devices=[1] stays.
    """
    gpus = torch.cuda.device_count() if settings["accelerator"] in ("auto", "gpu", "cuda") else 0
    return settings | {"devices": [number % gpus]} if settings["devices"] == 1 and gpus > 1 else settings


def _spread(settings: dict[str, Any]) -> None:
    """Fill in the settings for several processes: DDP, and their number as torchrun or SLURM started them for auto."""
    here, machines = distributed.started() or ("auto", 1)
    one = settings["devices"] == 1 or (isinstance(settings["devices"], list) and len(settings["devices"]) == 1)
    if settings.get("strategy", "auto") == "auto" and one:
        if here != "auto" and here * machines > 1:
            raise UserError(f"{here * machines} processes were started: say trainer=ddp, or start one.")
        return
    if distributed.alone_on_slurm() and int(tasks := os.environ["SLURM_NTASKS"]) > 1:
        log.warning("SLURM reserved %s tasks, this is one process on one machine; srun python ... starts all", tasks)
    if settings["devices"] == "auto":
        settings["devices"] = here
    if settings.get("num_nodes", "auto") == "auto":
        settings["num_nodes"] = machines
    if settings.get("strategy", "auto") in ("auto", "ddp"):
        # VGG is made of buffers: to send them round in every step would take longer than the step.
        settings["strategy"] = DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def compiles(choice: bool | str) -> bool:
    """Whether a run compiles its passes: true, false, or "auto", which does not: on a GPU the passes are as fast
    without, and compiling takes minutes.

    Raises UserError for another choice.
    """
    if choice not in (True, False, "auto"):
        raise UserError(f"compile={choice}: give true, false or auto.")
    return choice is True


def train(
    model: StyleTransfer,
    photos: Photos,
    trainer: pl.Trainer,
    out: Path | Shelf,
    resume: str | None = None,
    half: bool = False,
) -> Path:
    """Run the training, write the style to ``out`` or a free name beside it, and return its path, which is valid in the
    first process only. A stopped run writes its current style; see :func:`stopped_by`. ``half``: 16-bit floats, half
    the size.

    Changed settings of a resumed run are reported, and recorded in the style file.

    Raises UserError for photos, styles or a ``resume`` that cannot be used or belongs to a run with another painting,
    network or loss, and when the loss is no longer a number; KeyboardInterrupt for Ctrl-C before the first step, and
    for a second one.
    """
    shelf = out if isinstance(out, Shelf) else Shelf(out, resumed=resume is not None)
    ema = next((c.rate for c in trainer.callbacks if isinstance(c, WeightEMA)), None)  # type: ignore[attr-defined]
    model.settings = resuming.settings(model, photos, trainer, ema)
    if resume:
        _compare(model, resume, _resumable(resume), trainer.max_steps)
    if trainer.is_global_zero:
        writable(shelf.path)
    if trainer.precision == "64-true":
        model.double()  # Lightning does so after it has read the checkpoint into what there is
    with distributed.together(trainer):
        return _train(model, photos, trainer, shelf, resume, half)


def _train(
    model: StyleTransfer, photos: Photos, trainer: pl.Trainer, shelf: Shelf, resume: str | None, half: bool
) -> Path:
    val_batches = trainer.limit_val_batches
    try:
        with logging_redirect_tqdm():  # messages above the bar, not into it
            trainer.fit(model, datamodule=photos, ckpt_path=resume, weights_only=True)
        if photos.val_photos and model.validated_at != trainer.global_step and stopped_by(trainer) is None:
            _keep(model, photos, trainer, shelf, half, unfinished=True)  # should the validation be interrupted
            trainer.limit_val_batches = val_batches  # the clock's end has set it to 0
            trainer.validate(model, datamodule=photos, verbose=False)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        if re.search(r"Bus error|shared memory|/torch_\d+", str(error)):  # others have filled it meanwhile
            raise UserError(f"The shared memory is full ({one_line(error)[:100]}). {SHARE_MORE}") from error
        raise
    info = _keep(model, photos, trainer, shelf, half, unfinished=stopped_by(trainer) is not None)
    if not trainer.is_global_zero or shelf.mine is None:
        return shelf.path
    shelf.tell()
    for logger in trainer.loggers:
        if hasattr(logger, "keep_style"):
            logger.keep_style(shelf.mine, info)  # type: ignore[attr-defined]
    return shelf.mine


def stopped_by(trainer: pl.Trainer) -> int | None:
    """The number of the signal that ended the training early, if one did."""
    return next(c.stopped_by for c in trainer.callbacks if isinstance(c, StopOnSignal))  # type: ignore[attr-defined]


def reading(trainer: pl.Trainer, name: str) -> float:
    """What the run's last validation says of ``name``: "style", "content", "loss", "style/relu1_2" ... But for "loss"
    they do not depend on the weights of the loss. Raises UserError where there is no such reading.
    """
    readings = {key[4:]: value for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    if name not in readings:
        raise UserError(f"objective={name}: no validation measured that. There are: {', '.join(readings) or 'none'}.")
    return float(readings[name])


def _keep(
    model: StyleTransfer, photos: Photos, trainer: pl.Trainer, shelf: Shelf, half: bool, unfinished: bool
) -> dict[str, Any]:
    """Write the style as it is now; what the file says about it is returned."""
    val = trainer.callback_metrics if model.validated_at == trainer.global_step else {}
    more = {
        "batch": photos.batch_size * trainer.world_size,
        "data": photos.describe(),
        "precision": str(trainer.precision),
        "val": {name[4:]: round(float(value), 5) for name, value in val.items() if name.startswith("val/")},
    }
    net, info = model.finished(more | ({UNFINISHED: True} if unfinished else {}))
    if trainer.is_global_zero:
        shelf.keep(net, info, half, trainer.global_step if stopped_by(trainer) is not None else None)
    return info


def _resumable(resume: str) -> dict[str, Any]:
    """The checkpoint of a training. Raises UserError where ``resume`` is none."""
    advice = resuming.ADVICE
    try:
        saved = torch.load(resume, map_location="cpu", weights_only=True, mmap=True)
        if not {"optimizer_states", "loops"} <= saved.keys() or not isinstance(saved["state_dict"], dict):
            raise KeyError("a training's state")
        return saved
    except FileNotFoundError as error:
        raise UserError(f"resume={resume}: there is no such file. {advice}") from error
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"resume={resume} is not a checkpoint of a training, or damaged. {advice}") from error


def _compare(model: StyleTransfer, resume: str, saved: dict[str, Any], steps: int) -> None:
    """Refuse a different run, and report changed settings, or that none of the ``steps`` is left. Older checkpoints
    record only some of the settings.
    """
    theirs, mine = ({k: x.shape for k, x in state.items()} for state in (saved["state_dict"], model.state_dict()))
    info = saved.get(checkpoint.KEY) or {}
    resuming.refuse_another(resume, info, model.info(), theirs == mine)
    resuming.refuse_another_base(resume, saved.get("settings") or {}, model.settings)
    training = info.get("training") or {}
    before = saved.get("settings") or resuming.of_file(info, training.get("optimizer") or {})
    model.changes = list(training.get("changes") or [])
    if model.schedule.seconds is None and (done := saved["global_step"]) >= steps:
        log.warning(
            "nothing is left to train: resume=%s has done %d steps, and steps=%d asks for no more", resume, done, steps
        )
    if changed := resuming.changes(before, model.settings):
        step, names = saved["global_step"], [style["name"] for style in model.styles]
        log.warning("other settings from step %d on: %s", step, resuming.in_words(changed, names))
        model.changes.append({"step": step, **resuming.for_the_file(changed)})
        model.goes_on_otherwise = True
