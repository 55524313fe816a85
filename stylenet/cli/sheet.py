"""Put one photo into every style, and print the path of the sheet. ``--help`` lists the options."""

import signal
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import given, run


def job(config: DictConfig) -> None:
    from stylenet.files.sheet_file import sheet_file  # torch takes seconds to import: check options first
    from stylenet.system import console
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no partial file remains
    options: Any = OmegaConf.to_container(config, resolve=True)
    options["style"] = given(options["style"])
    console.write_line(sheet_file(**options))


def main() -> None:
    """The command line."""
    run(
        job,
        "sheet",
        paths=["input", "output", "styles", "style", "walk"],
        several=["input", "styles"],
        also_groups=["style"],
    )
