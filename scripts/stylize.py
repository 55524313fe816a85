"""Stylize pictures with a trained style and print the paths written: ``--help`` explains the options."""

from cli import run
from omegaconf import DictConfig, OmegaConf


def main(config: DictConfig) -> None:
    from stylenet.stylize import stylize_files  # torch costs seconds: mistakes in the options are answered before

    options = OmegaConf.to_container(config, resolve=True)
    for path in stylize_files(**options):
        print(path, flush=True)


if __name__ == "__main__":
    run(main, "stylize", paths=["ckpt", "input", "output"], several="input")
