"""Paint the textures of a 3D model, and print the paths of the files. ``--help`` lists the options."""

import signal
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import given, run


def job(config: DictConfig) -> None:
    from stylenet.files.model_file import model_file  # torch takes seconds to import: check options first
    from stylenet.system import console
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file remains
    options: Any = OmegaConf.to_container(config, resolve=True)
    options["style"] = given(options["style"])
    for path in model_file(**options):
        console.write_line(path)


def main() -> None:
    """The command line."""
    paths = ["ckpt", "input", "output", "scratch", "style", "turntable"]
    run(job, "model", paths=paths, texts=["mix"], also_groups=["style"])
