"""Training: the LightningModule, and one function that takes it from settings to a finished style file.

Settings are plain dicts (``configs/train.yaml`` shows them); Hydra is the scripts' business.
"""

import hashlib
import logging
import pickle
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn
from tqdm.contrib.logging import logging_redirect_tqdm

import stylenet
from stylenet import checkpoint
from stylenet.callbacks import AtomicFiles, Stopper, callbacks
from stylenet.data import Photos
from stylenet.errors import UserError, one_line
from stylenet.images import to_tensor
from stylenet.losses import PerceptualLoss
from stylenet.nets import build
from stylenet.paintings import find_painting, open_painting

log = logging.getLogger(__name__)

CALIBRATION_PHOTOS = 32
LICENCE = "Made by training; the painting and the photos keep their own licences: see styles and training.data."


class StyleTransfer(pl.LightningModule):
    """Trains ``net`` against a frozen VGG (Johnson et al. 2016, eq. 5, without TV unless it is given a weight).

    ``net``: {"name", and the constructor's arguments}; ``loss``: the arguments of ``PerceptualLoss``; ``styles``: one
    dict for each style, {"name", "image", "size", ...}, image and size as ``open_painting`` takes them; ``optimizer``:
    {"lr", "warmup", "final"}: Adam, its learning rate rising over ``warmup`` steps and falling along a half cosine to
    ``final`` times its height at ``steps``. Batches are uint8 or [0, 1], ``(b, 3, h, w)``.
    """

    def __init__(
        self,
        net: dict[str, Any],
        loss: dict[str, Any],
        styles: Sequence[dict[str, Any]],
        optimizer: dict[str, Any],
        steps: int,
    ):
        super().__init__()
        check("optimizer.lr", optimizer["lr"], 0)
        check("optimizer.warmup", optimizer["warmup"], 0, whole=True)
        check("optimizer.final", optimizer["final"], 0, 1)
        for name in ("style_weight", "content_weight", "tv_weight", "range_weight"):
            check(f"loss.{name}", loss.get(name, 0), 0)
        self.save_hyperparameters()
        arguments = {key: value for key, value in net.items() if key != "name"}
        self.net = build(net["name"], n_styles=len(styles), **arguments).to(memory_format=torch.channels_last)
        self.pictures = [open_painting(style["image"], style["size"]) for style in styles]
        self.styles = [{**style, "sha256": _sha256(find_painting(style["image"]))} for style in styles]
        self.loss = PerceptualLoss([to_tensor(picture) for picture in self.pictures], **loss)
        self.loss.to(memory_format=torch.channels_last)
        self.optimizer, self.steps = optimizer, steps
        self.last_terms: dict[str, Tensor] = {}
        self.last_norm = torch.zeros(())
        self.validated_at = -1  # the step of the latest validation

    def configure_optimizers(self) -> Any:
        adam = torch.optim.Adam(self.net.parameters(), self.optimizer["lr"], fused=True)
        warmup, final = max(1, self.optimizer["warmup"]), self.optimizer["final"]

        def share(step: int) -> float:
            done = torch.tensor(min(1.0, step / self.steps))
            return min(1.0, (step + 1) / warmup) * (final + (1 - final) * float(0.5 + 0.5 * torch.cos(torch.pi * done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(adam, share)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Measure what the loss is measured in, unless a resumed run has it already."""
        if bool(self.loss.get_buffer("is_calibrated")):
            return
        photos: Photos = self.trainer.datamodule  # type: ignore[attr-defined]
        log.info("calibrating the loss on %d crops", CALIBRATION_PHOTOS)
        with torch.autocast(self.device.type, enabled=False):
            self.loss.calibrate(self.prepare(photos.crops[k][None]) for k in range(CALIBRATION_PHOTOS))

    def prepare(self, photos: Tensor) -> Tensor:
        """uint8 ``(b, 3, h, w)`` -> the same on the device in [0, 1]."""
        photos = photos.to(self.device, memory_format=torch.channels_last)
        return photos.float() / 255 if photos.dtype == torch.uint8 else photos

    def choose_styles(self, first: int, count: int) -> Tensor | None:
        """Samples ``first``, ``first + 1`` ... take turns at the styles: ``(count, n_styles)`` of 0 and 1; None for a
        single style.
        """
        if len(self.styles) == 1:
            return None
        turns = (torch.arange(first, first + count) % len(self.styles)).to(self.device)
        return nn.functional.one_hot(turns, len(self.styles)).float()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        content = self.prepare(batch)
        first = (self.global_step * self.trainer.world_size + self.global_rank) * len(batch)
        style = self.choose_styles(first, len(batch))
        terms = self.loss(self.net(content, style), content, style)
        self.last_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack([*terms.values()]).sum()

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        limit = gradient_clip_val or float("inf")
        self.last_norm = nn.utils.clip_grad_norm_(self.net.parameters(), limit)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        content = self.prepare(batch)
        style = self.choose_styles(batch_idx * len(batch), len(batch))
        readings = self.loss.readings(self.loss(self.net(content, style), content, style))
        named = {f"val/{name}": value for name, value in readings.items()}
        self.log_dict(named, batch_size=len(batch), sync_dist=True, logger=False)  # Charts knows the right step

    def on_validation_epoch_end(self) -> None:
        self.validated_at = self.global_step

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        return self.net(content, style)

    def info(self) -> dict[str, Any]:
        """What a style file says about itself; what the finished run adds is added by :func:`train`."""
        loss: dict[str, Any] = dict(self.hparams["loss"])
        return {
            "format": checkpoint.FORMAT,
            "net": checkpoint.describe(self.net),
            "styles": [{**style, "image": Path(style["image"]).name} for style in self.styles],
            "loss": {**loss, "vgg_path": None},
            "calibration": self.loss.calibration(),
            "training": {"steps": self.global_step, "optimizer": dict(self.optimizer)},
            "versions": {
                "stylenet": stylenet.__version__,
                "torch": str(torch.__version__),
                "pytorch_lightning": version("pytorch-lightning"),
                "python": platform.python_version(),
            },
            "licence": LICENCE,
        }

    def on_save_checkpoint(self, saved: dict[str, Any]) -> None:
        saved[checkpoint.KEY] = self.info()

    def start_from(self, ckpt: str) -> None:
        """Take the weights of another style's checkpoint; its first style is where each of ours starts.

        Raises UserError if its network is not of the same kind and size.
        """
        try:
            other, info = checkpoint.load(ckpt)
        except UserError as error:
            raise UserError(str(error).replace("ckpt=", "init=", 1)) from error
        mine = self.net.state_dict()
        state = dict(other.state_dict())
        for key, value in state.items():
            if "norm" in key and key in mine and value.shape[1:] == mine[key].shape[1:]:
                state[key] = value[:1].expand(mine[key].shape)
        if state.keys() != mine.keys() or any(state[key].shape != mine[key].shape for key in mine):
            raise UserError(
                f"init={ckpt} holds the net {info['net']}, this run trains {checkpoint.describe(self.net)}: "
                "give the same net=... and its arguments, or leave init= out."
            )
        self.net.load_state_dict(state)


def check(name: str, value: Any, least: float, most: float = float("inf"), whole: bool = False) -> None:
    """Raise UserError unless ``value`` is a number from ``least`` to ``most``, a whole one if so asked."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        limits = f"from {least} to {most}" if most < float("inf") else f"of {least} or more"
        raise UserError(f"{name}={value}: give a {'whole ' * whole}number {limits}.")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def trainer_for(settings: dict[str, Any], steps: int, folder: Path, logger: Logger | bool) -> pl.Trainer:
    """Lightning's Trainer, from ``configs/trainer``: ``precision: auto`` is bf16 where the processor has it, else
    float32. Raises UserError for what it does not take.
    """
    settings = dict(settings)
    for name in ("val_every", "checkpoint_every", "sheet_every", "log_every_n_steps"):
        check(f"trainer.{name}", settings[name], 1, whole=True)
    val_every, checkpoint_every, sheet_every = (settings.pop(f"{x}_every") for x in ("val", "checkpoint", "sheet"))
    if (ema := settings.pop("ema")) is not None:
        check("trainer.ema", ema, 0, 1)
    if settings["precision"] == "auto":
        settings["precision"] = "bf16-mixed" if has_bf16(settings["accelerator"]) else "32-true"
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
            plugins=[AtomicFiles()],
            use_distributed_sampler=False,
            enable_model_summary=False,
            inference_mode=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {one_line(error)} (configs/trainer/default.yaml shows what is usual)") from error


def has_bf16(accelerator: str) -> bool:
    """Whether bfloat16 products are fast here: NVIDIA since Ampere, or a CPU with AMX or AVX512-BF16."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available() and accelerator in ("auto", "gpu", "mps"):
        return False
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # torch 2.8 has it not
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def train(
    model: StyleTransfer,
    photos: Photos,
    trainer: pl.Trainer,
    out: Path,
    resume: str | None = None,
    half: bool = False,
) -> Path:
    """Run the training and write the style to ``out``; return its path. Stopped early, it writes what there is, beside
    a style that has the name already, and :func:`stopped_by` tells. ``half``: as 16-bit floats, half the size.

    Raises UserError for photos, styles or a ``resume`` that cannot be used, and when the loss is no longer a number;
    KeyboardInterrupt for Ctrl-C before the first step, and for a second one.
    """
    if resume:
        _check_resumable(model, resume)
    try:
        with logging_redirect_tqdm():  # messages above the bar, not into it
            trainer.fit(model, datamodule=photos, ckpt_path=resume, weights_only=True)
        if photos.val_photos and model.validated_at != trainer.global_step and stopped_by(trainer) is None:
            _keep(model, photos, trainer, out, half)  # should the validation be interrupted
            trainer.validate(model, datamodule=photos, verbose=False)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    if stopped_by(trainer) is not None and (out.exists() or out.stem in checkpoint.known()):
        out = out.with_stem(f"{out.stem}_at_{trainer.global_step}")  # the finished style keeps its file and its name
    info = _keep(model, photos, trainer, out, half)
    for logger in trainer.loggers:
        if trainer.is_global_zero and hasattr(logger, "keep_style"):
            logger.keep_style(out, info)  # type: ignore[attr-defined]
    return out


def stopped_by(trainer: pl.Trainer) -> int | None:
    """The number of the signal that ended the training early, if one did."""
    return next(c.stopped_by for c in trainer.callbacks if isinstance(c, Stopper))  # type: ignore[attr-defined]


def _keep(model: StyleTransfer, photos: Photos, trainer: pl.Trainer, out: Path, half: bool) -> dict[str, Any]:
    """Write the style as it is now; what the file says about it is returned."""
    info = model.info()
    val = trainer.callback_metrics if model.validated_at == trainer.global_step else {}
    info["training"] |= {
        "batch": photos.batch_size * trainer.world_size,
        "data": photos.describe(),
        "precision": str(trainer.precision),
        "val": {name[4:]: round(float(value), 5) for name, value in val.items() if name.startswith("val/")},
    }
    if trainer.is_global_zero:
        checkpoint.save(out, model.net, info, half)
    return info


def _check_resumable(model: StyleTransfer, resume: str) -> None:
    """Raise UserError unless ``resume`` is a training's checkpoint of a model like this one."""
    advice = "Give the last.ckpt of a run, with the options of that run."
    try:
        saved = torch.load(resume, map_location="cpu", weights_only=True, mmap=True)
        theirs = {key: value.shape for key, value in saved["state_dict"].items()}
        if not {"optimizer_states", "loops"} <= saved.keys():
            raise KeyError("a training's state")
    except FileNotFoundError as error:
        raise UserError(f"resume={resume}: there is no such file. {advice}") from error
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"resume={resume} is not a checkpoint of a training, or damaged. {advice}") from error
    if theirs != {key: value.shape for key, value in model.state_dict().items()}:
        raise UserError(f"resume={resume} is of a run with another network, loss or number of styles. {advice}")
