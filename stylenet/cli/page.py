"""Write a web page that paints photos in the browser, and print its folder. ``--help`` lists the options."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import run
from stylenet.system import console


def job(config: DictConfig) -> None:
    from stylenet.page.build import build  # torch takes seconds to import: check options first
    from stylenet.system.errors import UserError

    options: Any = OmegaConf.to_container(config, resolve=True)
    if not isinstance(options["overwrite"], bool):
        raise UserError(f"overwrite={options['overwrite']}: give true or false.")
    console.write_line(build(**options, on_style=lambda name: console.warn_line(f"{name}: writing its network ...")))


def main() -> None:
    """The command line."""
    run(job, "page", paths=["folder", "styles", "paintings", "runtime"])
