"""Measure trained styles on held-out photos, and print the tables. ``--help`` lists the options."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stylenet.cli import doors
from stylenet.cli.hydra_app import run
from stylenet.system import console
from stylenet.system.errors import UserError

FILES = ("ckpt", "data.root", "painting", "paintings", "judge", "output")
BAR = "{percentage:3.0f}% [{elapsed}, {remaining} left at most]"


_typed: list[str] = []


def job(config: DictConfig) -> None:
    options: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    check(options)

    from stylenet.images import safe_open
    from stylenet.system.memory import keep_freed_memory

    keep_freed_memory()
    with safe_open.allowed(options["megapixels"]):
        evaluate(options)


def evaluate(options: dict[str, Any]) -> None:
    """Measure, and write the results."""
    from stylenet.evaluation.candidates import candidate
    from stylenet.evaluation.report import markdown
    from stylenet.evaluation.survey import Plan, Survey
    from stylenet.runtime.options import choose_device
    from stylenet.system.timing import duration

    device = choose_device(options["device"])
    otherwise = {"loss": options["loss"], "size": options["style_size"]}
    shared = {"otherwise": otherwise, "judge": options["judge"], "range": options["range"]}
    nets = [candidate(c, p, device, **shared) for c, p in zip(options["ckpt"], options["painting"], strict=True)]
    folder = Path(options["output"] or "evaluation")
    plan = Plan(
        data=options["data"]["root"],
        sizes=options["sizes"],
        photos=options["photos"],
        runs=options["worth"]["photos"],
        steps=options["worth"]["steps"],
        optimizer=options["worth"]["optimizer"],
        paintings=options["paintings"],
        seed=options["seed"],
        device=device,
    )
    survey = Survey(nets, plan, folder, {"command": command()})
    for net in nets:
        console.warn_line(f"{net.name}: {net.notes}")
    if seconds := survey.expected():
        console.warn_line(f"This takes {duration(seconds)} at most; an interrupted evaluation can resume.")
    with console.bar(total=survey.total(), bar_format=BAR, mininterval=5, smoothing=0.1) as bar:
        results = survey.run(bar.update)
    write_results(folder, results, survey, markdown(results), options["wandb"])


def write_results(folder: Path, results: dict[str, Any], survey: Any, text: str, wandb: bool) -> None:
    from stylenet.evaluation import report
    from stylenet.evaluation.wandb_report import show
    from stylenet.system.atomic import replacing

    with replacing(folder / "results.md") as temp:
        temp.write_text(text)
    report.plot_equivalent_steps(folder / "worth.png", results)
    report.plot_tradeoff(folder / "tradeoff.png", results)
    report.sheet(folder / "sheet.jpg", survey.pictures())
    if wandb:
        show(folder, results)
    console.write_line(text.rstrip("\n"))
    console.write_line(folder)


def command() -> str:
    """The command line as typed, without this machine's folders."""
    return shlex.join([*doors.program("evaluate").split(), *map(_without_folders, _typed)])


def _without_folders(word: str) -> str:
    """An option with every folder replaced by ``/path/to``."""
    return re.sub(r"[^\[\]=,'\"]*/(?=[^/])", "/path/to/", word)


# --- options


def check(options: dict[str, Any]) -> None:
    """Raise UserError for invalid options; turn single values into lists where several are allowed."""
    options["sizes"] = _list(options["sizes"])
    sizes = len(options["sizes"])
    if not sizes:
        raise UserError("sizes=[] is empty: give one or more, such as sizes=[256,512].")
    for size in options["sizes"]:
        _whole("sizes", size, 32)
    options["photos"] = _each("photos", options["photos"], sizes, 2)
    options["worth"]["photos"] = _each("worth.photos", options["worth"]["photos"], sizes, 0)
    for name, value, least in (
        ("worth.steps", options["worth"]["steps"], 1),
        ("seed", options["seed"], 0),
        ("style_size", options["style_size"], 32),
    ):
        _whole(name, value, least)
    if not isinstance(options["wandb"], bool):
        raise UserError(f"wandb={options['wandb']}: give true or false.")
    options["ckpt"] = _list(options["ckpt"])
    given = _list(options["painting"])
    options["painting"] = given * len(options["ckpt"]) if len(given) == 1 else given
    if len(options["painting"]) != len(options["ckpt"]):
        raise UserError(f"painting= lists {len(given)} for {len(options['ckpt'])} networks: give one, or one for each.")
    if options["output"] and Path(options["output"]).is_file():
        raise UserError(f"output={options['output']} is a file: give a folder.")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _each(name: str, value: Any, count: int, least: int) -> list[int]:
    """One number for each of ``count`` sizes; longer lists, such as the three defaults, are truncated."""
    values = value * count if isinstance(value, list) and len(value) == 1 else value
    values = values if isinstance(values, list) else [values] * count
    if len(values) < count:
        raise UserError(f"{name}= lists {len(values)} numbers for {count} sizes: give one, or one for each.")
    for number in values:
        _whole(name, number, least)
    return values[:count]


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value}: give whole numbers of {least} or more.")


def main() -> None:
    """The command line."""
    _typed[:] = sys.argv[1:]
    # data is a Hydra group
    sys.argv = [f"data.root={word[5:]}" if word.startswith("data=") else word for word in sys.argv]
    run(job, "evaluate", paths=FILES, several="ckpt")
