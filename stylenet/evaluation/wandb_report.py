"""Logs an evaluation to Weights & Biases: tables, plots and sheet; offline without a login."""

import logging
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from stylenet.evaluation.report import sizes, tables
from stylenet.system.errors import one_line

log = logging.getLogger(__name__)


def show(folder: Path, results: Mapping[str, Any], project: str = "stylenet") -> bool:
    """Log the figures and the pictures of ``folder``. True on success; failures of W&B are warnings only."""
    import wandb

    from stylenet.training.loggers import OFFLINE, wandb_modes, wandb_options

    chosen = wandb_options({}, project=project, job_type="evaluation", name=folder.name, dir=str(folder))
    for mode in wandb_modes():
        try:
            run: Any = wandb.init(
                **chosen,
                mode=mode,  # type: ignore[arg-type]
                config=dict(results["about"]),
                settings=wandb.Settings(silent=True),
            )
            run.log({**_tables(results), **_pictures(folder)})
            run.summary.update(_headlines(results))
            run.finish()
        except Exception as error:  # W&B may fail in any way; the figures are on disk
            log.warning("Weights & Biases does not work %s: %s", mode, one_line(error))
            continue
        if mode in OFFLINE:
            log.warning("W&B is offline. To upload the run: wandb login, then wandb sync %s", _place(run))
        return True
    return False


def _place(run: Any) -> str:
    return shlex.quote(os.path.dirname(run.dir))


def _tables(results: Mapping[str, Any]) -> dict[str, Any]:
    import wandb

    return {
        title.partition(",")[0].partition(":")[0]: wandb.Table(
            columns=[*_distinct(heads)], data=[list(row) for row in rows]
        )
        for title, (heads, rows) in tables(results).items()
        if rows
    }


def _distinct(heads: list[str]) -> list[str]:
    """Unique column titles: a repeated title, such as "photos", gets the name of the preceding column."""
    return [f"{heads[i - 1]}, {head}" if head in heads[:i] else head for i, head in enumerate(heads)]


def _pictures(folder: Path) -> dict[str, Any]:
    import wandb

    files = (folder / name for name in ("worth.png", "tradeoff.png", "sheet.jpg"))
    found = {}
    for file in files:
        if file.exists():
            with Image.open(file) as picture:
                found[file.stem] = wandb.Image(picture, file_type="jpg" if file.suffix == ".jpg" else "png")
    return found


def _headlines(results: Mapping[str, Any]) -> dict[str, Any]:
    """The figures for comparing runs."""
    found: dict[str, Any] = {}
    for name, size, figures in sizes(results):
        summary = figures["summary"]
        found |= {f"{name}/{size}/{key}": summary[key] for key in ("style", "content", "objective")}
        found |= {f"{name}/{size}/worth_from_{start}": steps["median"] for start, steps in summary["worth"].items()}
    return found
