"""Measure a trained style on photos it never saw and print the figures as JSON: ``--help`` explains the options."""

import json
import sys
from pathlib import Path
from typing import Any

from cli import run
from omegaconf import DictConfig, OmegaConf


def main(config: DictConfig) -> None:
    from stylenet import checkpoint
    from stylenet.evaluate import evaluate, painting_of, squares
    from stylenet.files import replacing

    options: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    sizes = options["sizes"] if isinstance(options["sizes"], list) else [options["sizes"]]
    net, info = checkpoint.load(options["ckpt"])
    painting = painting_of(info, options["painting"])
    figures = {
        str(size): evaluate(net, squares(options["data"]["root"], size, options["photos"]), painting) for size in sizes
    }
    text = json.dumps({"ckpt": Path(options["ckpt"]).stem, "figures": figures}, indent=1)
    if options["output"]:
        with replacing(options["output"]) as temp:
            temp.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.argv = [f"data.root={word[5:]}" if word.startswith("data=") else word for word in sys.argv]  # data is a group
    run(main, "evaluate", paths=["ckpt", "data.root", "painting", "output"])
