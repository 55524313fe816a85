"""Stylize pictures with a trained style and print the paths written: ``--help`` explains the options."""

import os
import signal
import sys
from typing import Any

from cli import run
from omegaconf import DictConfig, OmegaConf


def main(config: DictConfig) -> None:
    from stylenet.files.report import SomeFailed
    from stylenet.files.stylize_files import stylize_files  # torch costs seconds: mistakes in the options come first
    from stylenet.images import safe_open
    from stylenet.system import console
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing half-written stays behind
    options: Any = OmegaConf.to_container(config, resolve=True)
    safe_open.allow(options.pop("megapixels"))
    try:
        for path in stylize_files(**options):
            console.give(path)
    except SomeFailed as error:
        console.tell(error)
        sys.exit(1)
    except BrokenPipeError:  # who reads the paths, or the picture, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


if __name__ == "__main__":
    run(main, "stylize", paths=["ckpt", "input", "output", "scratch", "report", "mask"], several="input")
