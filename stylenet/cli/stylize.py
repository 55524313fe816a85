"""Stylize pictures with a trained style, and print the paths of the files. ``--help`` lists the options."""

import signal
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import given, run

PATHS = ["ckpt", "input", "output", "scratch", "report", "mask", "style", "walk"]


def job(config: DictConfig) -> None:
    from stylenet import stylize_files
    from stylenet.files.report import SomeFailed
    from stylenet.system import console
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file remains
    options: Any = OmegaConf.to_container(config, resolve=True)
    options["style"] = given(options["style"])
    try:
        for path in stylize_files(**options):
            console.write_line(path)
    except SomeFailed as error:
        console.warn_line(error)
        sys.exit(1)
    except BrokenPipeError:
        console.end_quietly()


def main() -> None:
    """The command line."""
    run(job, "stylize", paths=PATHS, several="input", texts=["mix"], also_groups=["style"])
