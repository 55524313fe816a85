"""Paint a picture by optimising its pixels, and print the file's path. ``--help`` lists the options."""

import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import run
from stylenet.system import console
from stylenet.system.errors import UserError

NAMES = {"alpha": "content_weight", "beta": "style_weight"}  # Gatys' names


def job(config: DictConfig) -> None:
    options: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for theirs, ours in NAMES.items():
        if (value := options.pop(theirs)) is not None:
            if options[ours] is not None:
                raise UserError(f"{theirs}={value} and {ours}={options[ours]} are the same option: give one of them.")
            options[ours] = value
    options["style"] = options["style"]["image"]
    if not options["style"]:
        raise UserError("Please give style=..., a bundled painting's name or a picture (--help explains).")

    from stylenet.files.paint_file import Interrupted, paint_file  # torch takes seconds: check options first
    from stylenet.runtime.options import choose_device
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    options["device"] = choose_device(options["device"])
    try:
        console.write_line(paint_file(**options))
    except Interrupted as stop:
        console.write_line(stop.path)
        console.warn_line(stop)
        sys.exit(130)


def main() -> None:
    """The command line."""
    # style is a Hydra group, for train
    sys.argv = [f"style.image={word[6:]}" if word.startswith("style=") else word for word in sys.argv]
    run(job, "optimize", paths=["content", "style.image", "output", "vgg_path"])
