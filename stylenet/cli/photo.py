"""Give a photo the look of another, and print the path of the result. ``--help`` lists the options."""

import signal
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import given, run


def job(config: DictConfig) -> None:
    options: Any = OmegaConf.to_container(config, resolve=True)
    options["style"] = given(options["style"])

    from stylenet.files.photo_file import photo_file  # torch takes seconds to import: check options first
    from stylenet.system import console
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file remains
    console.write_line(photo_file(**options))


def main() -> None:
    """The command line."""
    paths = ["content", "style", "output", "ckpt", "content_mask", "style_mask", "lut"]
    run(job, "photo", paths=paths, also_groups=["style"])
