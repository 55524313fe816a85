"""Where a run's figures and pictures go: Weights & Biases, TensorBoard, a CSV file or nowhere. All are Lightning's own
loggers.

A logger never asks and never fails a run: without a login, Weights & Biases works offline; without anything, CSV takes
its place.
"""

import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from stylenet.errors import UserError, one_line

log = logging.getLogger(__name__)

KINDS = ("wandb", "tensorboard", "csv", "none")
OFFLINE = ("offline", "dryrun")
PATIENCE = 30.0  # seconds that a training waits for W&B's server before it goes on offline


class Wandb(WandbLogger):
    """A dashboard worth opening: charts by name, the sheet of photos over time, the style image, the style file as an
    artifact.
    """

    def __init__(self, mode: str, **settings: Any):
        import wandb

        chosen = wandb.Settings(silent=True) if mode in OFFLINE else wandb.Settings(init_timeout=PATIENCE)
        # Named here, not by Lightning's ``offline``: it sets a variable that W&B has read by then.
        super().__init__(mode=mode, settings=chosen, **settings)
        self._wandb_init.pop("anonymous", None)  # W&B warns of the argument even where it is None
        self.told = False

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        with self._unfailing():
            self.log_image(name, [picture], step, file_type=["jpg"])  # a sheet is megabytes as PNG

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        with self._unfailing():
            super().log_metrics(metrics, step)

    def keep_style(self, path: Path, info: dict[str, Any]) -> None:
        """The final summary, the style file as an artifact, and the end of the run: a sweep's next one is its own."""
        import wandb

        with self._unfailing():
            self.experiment.summary.update({"style": [s["name"] for s in info["styles"]], "training": info["training"]})
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)  # W&B takes no others
            artifact = wandb.Artifact(name, type="style", metadata=info)
            artifact.add_file(str(path))
            self.experiment.log_artifact(artifact)
            self.experiment.finish()

    @contextmanager
    def _unfailing(self) -> Iterator[None]:
        """Whatever W&B raises in here is told once, and the training goes on."""
        try:
            yield
        except Exception as error:
            if not self.told:
                log.warning("Weights & Biases does not work, some of its charts will be missing: %s", one_line(error))
            self.told = True


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
        return CSVLogger(folder, name="csv", version="", **{"flush_logs_every_n_steps": 10, **settings})
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
    """W&B as the environment has it: online with a login, else offline; CSV where it cannot work at all."""
    mode = os.environ.get("WANDB_MODE")
    modes = [mode] if mode else ["online", "offline"] if _logged_in() else ["offline"]
    for mode in modes:
        try:
            logger = Wandb(name=name, save_dir=folder, mode=mode, config=config, **settings)
            run = logger.experiment
        except Exception as error:  # whatever ails W&B, the training goes on
            log.warning("Weights & Biases does not work %s: %s", mode, one_line(error))
            continue
        if mode in OFFLINE:
            where = shlex.quote(str(Path(run.dir).parent))
            log.warning("W&B works offline; to see the run there: wandb login, then wandb sync %s", where)
        return logger
    log.warning("the figures go to %s", folder / "csv")
    return CSVLogger(folder, name="csv", version="")


def _logged_in() -> bool:
    """Whether W&B has a key or a token, from the environment or from ``wandb login``; it is not asked for one."""
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except Exception:  # an old W&B, or a netrc that cannot be read: no login that could be used without asking
        return bool(os.environ.get("WANDB_API_KEY"))
