"""Export a trained style for other programs, and print the path of the file. ``--help`` lists the options."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import given, run
from stylenet.system import console


def job(config: DictConfig) -> None:
    from stylenet.runtime.export import export  # torch takes seconds to import: check options first

    options: Any = OmegaConf.to_container(config, resolve=True)
    options["style"] = given(options["style"])
    console.write_line(export(**options))


def main() -> None:
    """The command line."""
    run(job, "export", paths=["ckpt", "output", "style"], texts=["mix"], also_groups=["style"])
