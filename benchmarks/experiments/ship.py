"""Make the shipped styles from a network with several: one file of all, and separate files of some.

    python -m benchmarks.experiments.ship ckpt=base/base.safetensors whole=gallery \
        singles=[starry_night,the_scream,udnie]

Writes 16-bit weights to ``out``. ``photos`` and ``init`` become metadata: the training photos and the initial network.
"""

from pathlib import Path
from typing import Any

from benchmarks.experiments.trainings import answering, options
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "ckpt": None,
    "whole": "gallery",  # the name of the file with all styles; null: none
    "singles": [],  # names of styles
    "out": str(Path(__file__).resolve().parents[2] / "stylenet/assets/checkpoints"),
    "photos": None,
    "init": None,
}


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["ckpt"]:
        raise UserError("ckpt= is missing: give the file of a network with several styles.")
    net, info = checkpoint.load(chosen["ckpt"])
    training = info["training"] | ({"init": chosen["init"]} if chosen["init"] else {})
    training["data"] = training.get("data", {}) | ({"root": chosen["photos"]} if chosen["photos"] else {})
    info = {**info, "training": training, "licence": "Apache-2.0"}
    out = Path(chosen["out"])
    if chosen["whole"]:
        checkpoint.save(out / f"{chosen['whole']}.safetensors", net, info, half=True)
    for name in chosen["singles"]:
        checkpoint.save(out / f"{name}.safetensors", *checkpoint.single_style(net, info, name), half=True)


if __name__ == "__main__":
    answering(main)
