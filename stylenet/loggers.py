"""Where a run's figures and pictures go: Weights & Biases, TensorBoard, a CSV file or nowhere. All are Lightning's own
loggers.

A logger never asks and never fails a run: without a login, Weights & Biases works offline; without anything, CSV takes
its place.
"""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from stylenet.errors import UserError

log = logging.getLogger(__name__)

KINDS = ("wandb", "tensorboard", "csv", "none")


class Wandb(WandbLogger):
    """A dashboard worth opening: charts by name, the sheet of photos over time, the style image, the style file as an
    artifact.
    """

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        self.log_image(name, [picture], step)

    def keep_style(self, path: Path, info: dict[str, Any]) -> None:
        import wandb

        self.experiment.summary.update({"style": [s["name"] for s in info["styles"]], "training": info["training"]})
        artifact = wandb.Artifact(path.stem, type="style", metadata=info)
        artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)


class Tensorboard(TensorBoardLogger):
    """Charts and pictures for TensorBoard."""

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        self.experiment.add_image(name, np.asarray(picture), step, dataformats="HWC")


def make_logger(kind: str, folder: Path, name: str, config: dict[str, Any], **settings: Any) -> Logger | bool:
    """The logger ``kind`` writing to ``folder``, with the whole resolved ``config``; False for "none".

    ``settings``: what else Lightning's logger of this kind takes (project, entity, tags ... for wandb).
    """
    if kind not in KINDS:
        raise UserError(f"logger.kind={kind}: no such logger. Allowed: {', '.join(KINDS)}.")
    if kind == "none":
        return False
    if kind == "csv":
        return CSVLogger(folder, name="csv", version="", **settings)
    if kind == "tensorboard":
        return _tensorboard(folder, **settings)
    return _wandb(folder, name, config, settings)


def _tensorboard(folder: Path, **settings: Any) -> Logger:
    try:
        return Tensorboard(folder, name="tensorboard", version="", **settings)
    except ModuleNotFoundError as error:
        raise UserError(
            "logger=tensorboard needs the tensorboard package: pip install 'stylenet[tensorboard]'."
        ) from error


def _wandb(folder: Path, name: str, config: dict[str, Any], settings: dict[str, Any]) -> Logger:
    offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun") or not _logged_in()
    try:
        logger = Wandb(name=name, save_dir=folder, offline=offline, **settings)
        logger.experiment.config.update(config, allow_val_change=True)
    except Exception as error:  # whatever ails W&B, the training goes on
        log.warning("Weights & Biases does not work (%s): the figures go to %s", error, folder / "csv")
        return CSVLogger(folder, name="csv", version="")
    if offline and os.environ.get("WANDB_MODE") != "disabled":
        log.warning(
            "W&B works offline; to see the run there: wandb login, then wandb sync %s",
            logger.experiment.dir and Path(logger.experiment.dir).parent,
        )
    return logger


def _logged_in() -> bool:
    """Whether W&B has a key, from the environment or from ``wandb login``; it is not asked for one."""
    if os.environ.get("WANDB_MODE") == "disabled" or os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    try:
        return bool(wandb.api.api_key)
    except Exception:  # without a readable netrc there is no login
        return False
