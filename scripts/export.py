"""Write a trained style as a file for other programs and print its path: ``--help`` explains the options."""

from typing import Any

from cli import run
from omegaconf import DictConfig, OmegaConf

from stylenet import streams


def main(config: DictConfig) -> None:
    from stylenet.export import export  # torch costs seconds: mistakes in the options come first

    options: Any = OmegaConf.to_container(config, resolve=True)
    streams.give(export(**options))


if __name__ == "__main__":
    run(main, "export", paths=["ckpt", "output"])
