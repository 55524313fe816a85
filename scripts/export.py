"""Write a trained style as a file for other programs and print its path: ``--help`` explains the options."""

from typing import Any

from cli import run
from omegaconf import DictConfig, OmegaConf

from stylenet.system import console


def main(config: DictConfig) -> None:
    from stylenet.runtime.export import export  # torch costs seconds: mistakes in the options come first

    options: Any = OmegaConf.to_container(config, resolve=True)
    console.give(export(**options))


if __name__ == "__main__":
    run(main, "export", paths=["ckpt", "output"])
