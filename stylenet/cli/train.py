"""Train a style, and print the path of the finished style file. ``--help`` lists the options."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from stylenet.cli import launch, own_configs
from stylenet.cli.hydra_app import run
from stylenet.nets.catalog import PHOTO as PHOTO_NETS
from stylenet.system import console
from stylenet.system.errors import UserError
from stylenet.training.schedule import Schedule

ANY = "any"  # of configs/style: no painting of its own
PHOTO = "photo"  # the same for the network of stylenet photo


def job(config: DictConfig) -> list[float] | None:
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    schedule = Schedule(settings["steps"], settings["minutes"])  # now, as its minutes begin here

    from stylenet.images import safe_open

    with safe_open.allowed(settings["megapixels"]):
        return train_as(settings, schedule)


def train_as(settings: dict[str, Any], schedule: Schedule) -> list[float] | None:
    """Train with these settings and print the style's path. Returns the objectives of a sweeper, if requested."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice for programmers, not users

    import pytorch_lightning as pl

    from stylenet.data.datamodule import Photos
    from stylenet.system.memory import keep_freed_memory
    from stylenet.training import distributed
    from stylenet.training.any_style import AnyStyle
    from stylenet.training.module import StyleTransfer, check
    from stylenet.training.reconstruction import Reconstruction
    from stylenet.training.trainer import compiles, in_turn, reading, stopped_by, train, trainer_for

    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)  # importing it resets the level
    folder = Path(HydraConfig.get().runtime.output_dir)
    check("steps", settings["steps"], 1, whole=True)
    steps, seed = schedule.steps, settings["seed"]
    check("seed", seed, 0, 2**32 - 1, whole=True)
    check("style_size", settings["style_size"], 1, whole=True)
    styles = style_list(settings)
    name = settings["name"] or "+".join(style["name"] for style in styles) or next(iter(settings["style"]))
    kind = Reconstruction if learns_photos(settings) else AnyStyle if learns_any(settings) else StyleTransfer
    if settings["add"] is not None:
        settings["net"] = net_of(settings["add"])
        name = f"{Path(settings['add']).stem}+{name}"
    place = shelf_for(settings, folder, name)
    _complete(settings["data"])

    keep_freed_memory()
    pl.seed_everything(seed, verbose=False)
    photos = Photos(**settings["data"], steps=steps, seed=seed)
    model = kind(settings["net"], settings["loss"], styles, settings["optimizer"], steps, photos.colors, schedule)
    if settings["add"] is not None:
        model.add_to(settings["add"], start=not settings["resume"])
    elif settings["init"] and not settings["resume"]:
        model.start_from(settings["init"])
    first = distributed.number() == 0
    if schedule.seconds is not None:
        settings["steps"] = None  # in the record of the run
        if settings["data"].get("download") and first:
            photos.prepare_data()
            schedule.start()
    if compiles(settings["compile"]):
        model.compile_training()
    if (number := launch.beside_others()) is not None:
        settings["trainer"] = in_turn(settings["trainer"], number)
    trainer = trainer_for(settings["trainer"], steps, folder, logger_for(settings, folder, name) if first else False)
    path = train(model, photos, trainer, place, settings["resume"], settings["half"])
    if first:
        console.write_line(path)
        if signal := stopped_by(trainer):
            sys.exit(128 + signal)
    return [reading(trainer, name) for name in settings["objective"]] if settings["objective"] else None


def learns_photos(settings: dict[str, Any]) -> bool:
    """Whether the run trains the network of stylenet photo. Raises UserError for options that do not go together."""
    net, photo = settings["net"]["name"], PHOTO in settings["style"]
    if (net in PHOTO_NETS) != photo:
        raise UserError(
            f"net={net} learns from photos and has no style: leave style= out."
            if net in PHOTO_NETS
            else f"style={PHOTO} is chosen by net={PHOTO_NETS[0]}, this is net={net}: give style= a painting's name."
        )
    if photo and settings["add"] is not None:
        raise UserError(f"add={settings['add']} adds a style, and net={net} has none: leave it out.")
    return photo


def learns_any(settings: dict[str, Any]) -> bool:
    """Whether the run trains a network for any style. Raises UserError for options that do not go together."""
    from stylenet.nets.registry import NETS

    net, paintings = settings["net"]["name"], settings["data"]["paintings"]
    any_net = net in NETS and NETS[net].any_style
    any_style = ANY in settings["style"]
    if any_net != any_style:
        raise UserError(
            f"net={net} learns any style: give style=any, and a folder of paintings as data.paintings=..."
            if any_net
            else f"style=any needs a network for any style, this is net={net}: give net=predicted, or experiment=any."
        )
    if any_style and settings["add"] is not None:
        raise UserError(f"add={settings['add']} adds one style to a network of several: leave it out with style=any.")
    if any_style and paintings is None:
        raise UserError("style=any learns from many paintings: please give data.paintings=/path/to/paintings.")
    if paintings is not None and not any_style:
        raise UserError(f"data.paintings={paintings} is for style=any: give that, or leave it out.")
    return any_style


def net_of(ckpt: str) -> dict[str, Any]:
    """The configuration of a style file's network, for styles that are added to it."""
    from stylenet.nets import checkpoint
    from stylenet.training.module import load_as

    spec = checkpoint.describe(load_as("add", ckpt)[0])
    return {"name": spec["name"], **{key: value for key, value in spec["args"].items() if key != "n_styles"}}


def _complete(data: dict[str, Any]) -> None:
    """Raise UserError for data=folder without a folder; convert data.val to a number if it is one."""
    if HydraConfig.get().runtime.choices["data"] == "folder" and not data["root"]:
        raise UserError("data=folder needs a folder: please give data.root=/path/to/photos.")
    if str(data["val"]).isdecimal():
        data["val"] = int(data["val"])  # a string so far, as it may be a folder
    if str(data["val_paintings"]).isdecimal():
        data["val_paintings"] = int(data["val_paintings"])


def shelf_for(settings: dict[str, Any], folder: Path, name: str) -> Any:
    """Where the finished style is saved."""
    from stylenet.training.shelf import Shelf

    path = Path(settings["out"] or folder) / f"{name}.safetensors"
    return Shelf(path, settings["overwrite"], settings["resume"] is not None, launch.shared(".styles"))


def logger_for(settings: dict[str, Any], folder: Path, name: str) -> Any:
    """The configured logger."""
    from stylenet.training.loggers import make_logger

    chosen = dict(settings["logger"])
    called = chosen.pop("name", None) or settings["name"]
    return make_logger(folder=folder, name=name, config=settings, resume=settings["resume"], called=called, **chosen)


def style_list(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The styles as a list; style=custom is named after its file. A style_size= on the command line overrides the
    configured sizes of all styles, except those given there for a single style.
    """
    typed = {word.lstrip("+").partition("=")[0] for word in HydraConfig.get().overrides.task}
    chosen = dict(settings["style"])
    color = chosen.pop("color", "style")  # for all; style.<name>.color overrides it
    names = [key for key, style in chosen.items() if "image" in style]
    if ANY in chosen and len(chosen) > 1:
        raise UserError(f"style={ANY} stands for all paintings of data.paintings=: give it alone, without {names}.")
    if PHOTO in chosen and len(chosen) > 1:
        raise UserError(f"style={PHOTO} stands for no painting: give it alone, without {names}.")
    styles = []
    for key, style in chosen.items():
        if key in (ANY, PHOTO):
            continue
        if "image" not in style:
            raise UserError(f"style.{key}=...: this run has no such style, only style={','.join(names)}.")
        name = settings["name"] or Path(style["image"]).stem if key == "custom" else key
        if "style_size" in typed and f"style.{key}.size" not in typed:
            style = {**style, "size": settings["style_size"]}
        styles.append({"name": name, "size": settings["style_size"], "color": color, **style})
    return styles


def main() -> None:
    """The command line."""
    if {"--help", "-h"} & {*sys.argv}:
        sys.argv.append("style=starry_night")  # Hydra prints no help until every choice is made
    texts = ["name", *(f"logger.{option}" for option in ("name", "project", "entity", "group"))]
    run(job, "train", _paths, together=True, texts=texts)


def _paths() -> list[str]:
    pictures = [f"style.{file.stem}.image" for file in own_configs.of_group("style")]
    return [
        "init",
        "add",
        "resume",
        "out",
        "data.root",
        "data.val",
        "data.paintings",
        "data.val_paintings",
        "loss.vgg_path",
        *pictures,
    ]
