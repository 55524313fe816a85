"""The loggers of a run: Weights & Biases, TensorBoard, trackio, a CSV file, or none.

A dashboard never prompts and never fails a run. Without a login, Weights & Biases works offline; without the package,
CSV replaces it. A resumed run continues the charts of its run, each step once: ``go_on(step)`` gives a logger the step.
"""

import json
import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError, one_line
from stylenet.training import wandb_files
from stylenet.training.csv_logger import Figures
from stylenet.training.unfailing import Unfailing

log = logging.getLogger(__name__)

KINDS = ("wandb", "tensorboard", "trackio", "csv", "none")
OFFLINE = ("offline", "dryrun")
VARIABLES = {  # what W&B reads from the environment, by the argument of wandb.init that would override it
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "name": "WANDB_NAME",
    "dir": "WANDB_DIR",
    "job_type": "WANDB_JOB_TYPE",
    "notes": "WANDB_NOTES",
}
ELSEWHERE = "wandb_run.json"  # in a run's folder: its id at W&B, and where W&B's files of it are, if not in there
PATIENCE = 30.0  # seconds that a training waits for W&B's server before it goes on offline


class Wandb(Unfailing, WandbLogger):
    """A dashboard worth opening: charts by name, the sheet of photos over time, the style image, the style file as an
    artifact.

    ``figures`` is where the same rows are on disk at once: a kill takes those that W&B has not written or sent yet,
    and the resumed run gives them to it again. ``folder``: the run's; W&B's own files may be elsewhere. ``earlier``:
    the folder of the run that is resumed.
    """

    called = "Weights & Biases"

    def __init__(self, mode: str, figures: Figures, folder: Path, earlier: Path | None = None, **settings: Any):
        import wandb

        kept, run = _kept_by_wandb(earlier) if earlier else (None, None)

        chosen = wandb.Settings(silent=True) if mode in OFFLINE else wandb.Settings(init_timeout=PATIENCE)
        if run and not settings.get("id"):
            settings["id"] = run
        # Named here, not by Lightning's ``offline``: it sets a variable that W&B has read by then.
        super().__init__(mode=mode, settings=chosen, **settings)
        self._wandb_init.pop("anonymous", None)  # W&B warns of the argument even where it is None
        self.figures, self.earlier = figures, earlier
        self.last = self._last(mode, kept)
        where = Path(self.experiment.dir).resolve().parents[1]  # it may be no folder that was asked for
        if mode != "disabled" and where != (folder / "wandb").resolve():
            with replacing(folder / ELSEWHERE) as temp:
                temp.write_text(json.dumps({"id": self.experiment.id, "dir": str(where)}))

    def _last(self, mode: str, kept: Path | None) -> int:
        """The last step that W&B has, -1 in a new run. ``kept``: where its files of the run before are."""
        if kept is None or self.version is None:
            return -1
        last = wandb_files.last_step(kept, self.version) if mode in OFFLINE else -1
        return max(last, self.experiment.starting_step - 1)

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        import wandb

        if step > self.last:
            with self.unfailing():  # a sheet is megabytes as PNG
                self._chart({name: [wandb.Image(picture, file_type="jpg")]}, step)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if not self.figures.begun:
            self.go_on(step or 0)  # nothing is left to train
        self.figures.log_metrics(metrics, step)
        with self.unfailing():
            self._chart(metrics, step or 0)

    def go_on(self, step: int) -> None:
        for at, figures in self.figures.go_on(step):
            with self.unfailing():
                self._chart({name: float(value) for name, value in figures.items()}, at)
                if self.earlier and (sheet := self.earlier / "sheets" / f"{at:06d}.jpg").exists():
                    with Image.open(sheet) as picture:
                        self.log_picture("sheet", picture, at)

    def _chart(self, metrics: Any, step: int) -> None:
        """A row for the dashboard, whose count of rows is the step too: W&B ignores what it has already."""
        if step > self.last:
            self.experiment.log({**metrics, wandb_files.STEP: step}, step=step)

    def keep_style(self, path: Path, info: dict[str, Any]) -> None:
        """The final summary, the style file as an artifact, and the end of the run: a sweep's next one is its own."""
        import wandb

        with self.unfailing():
            self.experiment.summary.update({"style": [s["name"] for s in info["styles"]], "training": info["training"]})
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)  # W&B takes no others
            artifact = wandb.Artifact(name, type="style", metadata=info)
            artifact.add_file(str(path))
            self.experiment.log_artifact(artifact)
            self.experiment.finish()


class Tensorboard(Unfailing, TensorBoardLogger):
    """Charts and pictures for TensorBoard, on disk before the next step."""

    called = "TensorBoard"

    def __init__(self, folder: Path, resumed: bool, **settings: Any):
        super().__init__(folder, name="tensorboard", version="", **settings)
        self.resumed = resumed

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        if step or not self.resumed:
            with self.unfailing():
                self.experiment.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        with self.unfailing():
            super().log_metrics(metrics, step)
            self.experiment.flush()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        with self.unfailing():
            super().log_hyperparams(*args, **kwargs)

    def finalize(self, status: str) -> None:
        with self.unfailing():
            super().finalize(status)

    def go_on(self, step: int) -> None:
        """A new file that has TensorBoard forget what earlier ones say of later steps."""
        self.experiment.close()
        self._experiment, self._kwargs["purge_step"] = None, step + 1


def make_logger(
    kind: str,
    folder: Path,
    name: str,
    config: dict[str, Any],
    resume: str | Path | None = None,
    called: str | None = None,
    **settings: Any,
) -> Logger | bool:
    """The logger ``kind``, which writes to ``folder``, with the whole resolved ``config``; False for "none".

    ``resume``: the checkpoint that the run continues; its charts are beside it. ``settings``: further arguments of
    Lightning's logger of this kind (project, entity, tags ... for wandb). For those that are None, W&B's environment
    variables apply, then ``folder``, ``name`` and "stylenet". ``called``: the name that the user gave the run, if any.
    """
    if kind not in KINDS:
        raise UserError(f"logger.kind={kind}: no such logger. Allowed: {', '.join(KINDS)}.")
    if kind == "none":
        return False
    earlier = Path(resume).parent if resume else None
    if kind == "tensorboard":
        return _tensorboard(folder, resumed=earlier is not None, **settings)
    figures = Figures(folder / "csv", earlier / "csv" if earlier else None)
    if kind == "csv":
        return figures
    if kind == "trackio":
        return _trackio(folder, figures, earlier, config, name=called or name, **settings)
    chosen = wandb_options(settings | {"name": called}, project="stylenet", name=name, dir=str(folder))
    return _wandb(folder, figures, earlier, config=config, **chosen)


def _tensorboard(folder: Path, **settings: Any) -> Logger:
    try:
        return Tensorboard(folder, **settings)
    except ModuleNotFoundError as error:
        raise UserError(
            "logger=tensorboard needs the tensorboard package: pip install 'stylenet[tensorboard]'."
        ) from error


def _trackio(folder: Path, figures: Figures, earlier: Path | None, config: dict[str, Any], **settings: Any) -> Logger:
    """Trackio, or CSV where it cannot work."""
    from stylenet.training.trackio_logger import Trackio

    try:
        return Trackio(figures, folder, earlier, config, **{key: value for key, value in settings.items() if value})
    except ModuleNotFoundError as error:
        raise UserError("logger=trackio needs the trackio package: pip install 'stylenet[trackio]'.") from error
    except Exception as error:  # whatever ails it, the training goes on
        log.warning("trackio does not work: %s; the figures go to %s", one_line(error), figures.path.parent)
        return figures


def _wandb(folder: Path, figures: Figures, earlier: Path | None, **settings: Any) -> Logger:
    """W&B as the environment has it: online with a login, else offline; CSV where it cannot work at all."""
    typed = settings.pop("mode", None)
    for mode in [typed] if typed else wandb_modes():
        try:
            # Lightning's default for ``save_dir`` would override W&B's ``dir``.
            logger = Wandb(mode, figures, folder, earlier, save_dir=None, **settings)
            run = logger.experiment
        except Exception as error:  # whatever ails W&B, the training goes on
            log.warning("Weights & Biases does not work %s: %s", mode, one_line(error))
            continue
        if mode in OFFLINE:
            where = shlex.quote(str(Path(run.dir).parent))
            log.warning("W&B works offline; to see the run there: wandb login, then wandb sync %s", where)
        return logger
    log.warning("the figures go to %s", figures.path.parent)
    return figures


def _kept_by_wandb(earlier: Path) -> tuple[Path, str | None]:
    """Where W&B has its files of the run in the folder ``earlier``, and the run's id there, if it is known."""
    try:
        told = json.loads((earlier / ELSEWHERE).read_text())
        return Path(told["dir"]), str(told["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return earlier / "wandb", wandb_files.run_id(earlier / "wandb")


def wandb_options(typed: dict[str, Any], **ours: Any) -> dict[str, Any]:
    """The arguments of wandb.init: what was ``typed`` (None: it was not), else what the environment says, else ours."""
    from_outside = {name: os.environ.get(variable) for name, variable in VARIABLES.items()}
    given = [{name: value for name, value in one.items() if value not in (None, "")} for one in (from_outside, typed)]
    return ours | given[0] | given[1]


def wandb_modes() -> list[str]:
    """The modes of W&B to try, in order: that of the environment, else online with a login, else offline."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "t", "y", "yes", "on"):
        return ["disabled"]
    mode = os.environ.get("WANDB_MODE")
    return [mode] if mode else ["online", "offline"] if _logged_in() else ["offline"]


def _logged_in() -> bool:
    """Whether W&B has a key or a token, from the environment or from ``wandb login``; it is not asked for one."""
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except Exception:  # an old W&B, or a netrc that cannot be read: no login that could be used without asking
        return bool(os.environ.get("WANDB_API_KEY"))
