"""Compare ours with the common recipe and print a Markdown table: ``--help`` explains the options."""

import json
import os
import sys
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from stylenet.cli.hydra_app import explain, run
from stylenet.cli.train import style_list
from stylenet.system import console
from stylenet.system.errors import UserError

SAME_WORK = ["loss=pytorch_examples", "net=johnson", "net.upsample=nearest", "net.output=linear", "net.noise=0"]
SAME_WORK += ["data.margin=0"]
FILES = ("output", "markdown", "profile")


def job(config: DictConfig) -> None:
    options: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    check(options)
    train, same_work = training(options), training(options, SAME_WORK)

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own messages
    from benchmarks.speed.plan import Plan
    from benchmarks.speed.report import markdown
    from benchmarks.speed.training_speed import measure
    from stylenet.runtime.options import choose_device
    from stylenet.system.atomic import replacing

    plan = Plan(
        train=train,
        same_work=same_work,
        styles=style_list(train),
        device=choose_device(options["device"]),
        common_batch=options["common_batch"],
        sizes=options["sizes"],
        repeats=options["repeats"],
        seconds=options["seconds"],
        compiled=options["compile"],
        profiled=bool(options["profile"]),
    )
    figures, tables = measure(plan)
    figures["options"] = {key: value for key, value in options.items() if key not in (*FILES, "data")}
    table = markdown(figures)
    texts = (json.dumps(figures, indent=1) + "\n", table, tables)
    for path, text in zip((options[key] for key in FILES), texts, strict=True):
        if path:
            with replacing(path) as temp:
                temp.write_text(text)
    console.write_line(table.rstrip("\n"))


def check(options: dict[str, Any]) -> None:
    """Raise UserError for numbers and switches that make no sense; fill in what follows from others."""
    if options["repeats"] is None:
        options["repeats"] = 3 if options["quick"] else 7
    if not isinstance(options["sizes"], list):
        options["sizes"] = [options["sizes"]]
    least = {"repeats": 1, "batch": 1, "common_batch": 1, "size": 32, "sizes": 16}
    for name, value in least.items():
        for given in options["sizes"] if name == "sizes" else [options[name]]:
            if isinstance(given, bool) or not isinstance(given, int) or given < value:
                raise UserError(f"{name}={given}: give whole numbers of {value} or more.")
    if isinstance(options["seconds"], bool) or not isinstance(options["seconds"], int | float):
        raise UserError(f"seconds={options['seconds']}: give a number.")
    for name in ("quick", "compile"):
        if not isinstance(options[name], bool):
            raise UserError(f"{name}={options[name]}: give true or false.")


def training(options: dict[str, Any], changes: list[str] | None = None) -> dict[str, Any]:
    """The settings of ``scripts/train.py`` with ``ours=`` and, after that, ``changes``."""
    words = ["style=starry_night", *(options["ours"] or "").split(), *(changes or [])]
    try:
        settings: Any = OmegaConf.to_container(compose("train", words), resolve=True)
    except HydraException as error:
        raise UserError(f"ours={options['ours']}: {explain(error, 'train')}") from error
    settings["data"] |= {"batch_size": options["batch"], "size": options["size"], "root": options["data"]["root"]}
    return settings


def main() -> None:
    """The command line."""
    sys.argv = [f"data.root={word[5:]}" if word.startswith("data=") else word for word in sys.argv]  # data is a group
    run(job, "benchmark", paths=["data.root", "ours", *FILES])


if __name__ == "__main__":
    main()
