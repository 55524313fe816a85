"""Publish a style on the Hugging Face hub, and print the address of its page. ``--help`` lists the options."""

import signal
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import run
from stylenet.system import console

PATHS = ["ckpt", "repo", "folder", "photo", "licence", "about", "message", "evaluation"]  # all are used as typed


def job(config: DictConfig) -> None:
    from stylenet.files.publishing import publish  # torch takes seconds to import: check options first

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file remains
    options: Any = OmegaConf.to_container(config, resolve=True)
    console.write_line(publish(**options, on_step=console.warn_line))


def main() -> None:
    """The command line."""
    run(job, "publish", paths=PATHS)
