"""The available styles, and the metadata of their files. Reads no weights, and does not import torch."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS, project

KEY = "stylenet"  # of the metadata in our files, and of the same data in our training's checkpoints
ANY_STYLE = ("predicted", "adain")  # the networks that paint in the style of any picture
PHOTO = ("photowct",)  # the networks of `stylenet photo`, which hold no style
LONGEST = 10**8  # bytes of a header: what safetensors itself takes


def known() -> dict[str, Path]:
    """The styles at hand by name: in ./checkpoints, else in the clone's checkpoints, else shipped."""
    return {name: files[0] for name, files in all_files().items()}


def all_files() -> dict[str, list[Path]]:
    """All style files at hand by name, the nearest first: the others of a name are hidden by it."""
    styles: dict[str, list[Path]] = {}
    for folder in (Path("checkpoints"), project("checkpoints"), ASSETS / "checkpoints"):
        for file in folder.glob("[!.]*.safetensors"):
            files = styles.setdefault(file.stem, [])
            if not any(file.samefile(other) for other in files):  # ./checkpoints may be the clone's
                files.append(file)
    return dict(sorted(styles.items()))


def read_info(path: Path) -> dict[str, Any]:
    """What a style file says of itself: its network, its styles, its training; {} for weights alone.

    Raises UserError for a file that cannot be read, and for one that is no safetensors file.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= LONGEST else None
        info = None if header is None else json.loads(header.get("__metadata__", {}).get(KEY, "{}"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}. Check the file and its rights.") from error
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged or cut short. Get it again.") from None
    if not isinstance(info, dict):
        raise UserError(f"{path} is damaged or cut short. Get it again.")
    return info


def is_for_photos(info: Mapping[str, Any]) -> bool:
    """Whether what a file says of itself names a network of `stylenet photo`."""
    net = info.get("net")
    return isinstance(net, Mapping) and net.get("name") in PHOTO


def list_styles() -> list[dict[str, Any]]:
    """All styles at hand as plain data: ckpt, title, year, network, bytes, file, training; error of a damaged one.

    ``hides``: the files of the same name that are farther away, see :func:`known`.
    """
    return [
        style | {"hides": [str(other) for other in hidden]}
        for name, (file, *hidden) in all_files().items()
        for style in _described(name, file)
    ]


def _described(name: str, file: Path) -> list[dict[str, Any]]:
    try:
        info = read_info(file)
        size = file.stat().st_size
    except (UserError, OSError) as error:
        return [{"ckpt": name, "file": str(file), "error": str(error)}]
    net = info.get("net")
    kind = net.get("name") if isinstance(net, Mapping) else None
    titles = dict.fromkeys(ANY_STYLE, "any: give style=painting.jpg") | dict.fromkeys(PHOTO, "for stylenet photo")
    unnamed = {"name": name} | ({"title": titles[kind]} if kind in titles else {})
    styles = [one for one in info.get("styles") or [] if isinstance(one, Mapping)] or [unnamed]
    shared = {"network": _network(info), "bytes": size, "file": str(file), "training": info.get("training")}
    described = []
    for one in styles:
        title, year = dated(str(one.get("title") or one.get("name") or name))
        ckpt = name if len(styles) == 1 else f"{name}:{one.get('name')}"
        described.append({"ckpt": ckpt, "title": title, "year": year, **shared})
    return described


def _network(info: Mapping[str, Any]) -> str:
    """A network in a word: its name and widths, as johnson 32-64-128."""
    net = info.get("net")
    args = net.get("args") if isinstance(net, Mapping) else None
    widths = args.get("widths") if isinstance(args, Mapping) else None
    return f"{net.get('name', '')} {'-'.join(map(str, widths or ()))}".strip() if isinstance(net, Mapping) else ""


def dated(title: str) -> tuple[str, str | None]:
    """A title without the year at its end, and the year: "about 1831" is one."""
    found = re.fullmatch(r"(.+), ((?:about )?\d{4}(?:-\d+)?)", title)
    return (found[1], found[2]) if found else (title, None)
