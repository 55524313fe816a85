"""Publish a style: its file, a picture before and after, and a page that describes it, on the Hugging Face hub.

:mod:`stylenet.nets.hub` talks to the hub, :mod:`stylenet.nets.model_card` writes the page.
"""

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from stylenet.files.evaluated import figures_of
from stylenet.images import image_io
from stylenet.images.image_io import Picture
from stylenet.nets import checkpoint, hub, mistaken, model_card
from stylenet.nets.base import StyleNet
from stylenet.stylizing import sheets
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

PHOTO = ASSETS / "photos" / "val" / "castle.jpg"
SHEET, CARD = "before_after.jpg", "README.md"
PATH = re.compile(r"(?:[/~]|[A-Za-z]:[\\/]|\\\\).*[/\\].+")  # an absolute path, of a machine that nobody else has


def publish(
    ckpt: str | Path,
    repo: str,
    *,
    folder: str | Path | None = None,
    photo: str | Path | None = None,
    licence: str | None = None,
    about: str = "",
    private: bool = False,
    message: str | None = None,
    overwrite: bool = False,
    evaluation: str | Path | None = None,
    on_step: Callable[[str], object] | None = None,
) -> str:
    """Publish a style as ``repo`` (user/name) on the hub, and return the address of its page.

    ``ckpt``: as for :func:`stylenet.load`; ``file:style`` publishes that style alone. ``folder``: write the files there
    and upload nothing; the folder is returned. ``photo``: shown before and after, None for a bundled one. ``licence``:
    of the weights, as an SPDX name; None for what the style file says. ``about``: sentences for the page. ``private``:
    of a new repo. ``message``: of the commit. ``overwrite``: a new version of a repo, or of a folder, that has files.
    ``evaluation``: the folder of an evaluation of this style, whose figures the page shows, too.
    ``on_step`` is called with what is done next. Paths of this machine are left out of the file's metadata. Raises
    UserError for what cannot be used, a missing login or package, and where the hub refuses.
    """
    tell = on_step or (lambda step: None)
    _check(repo, licence, about, message, private=private, overwrite=overwrite)
    target = None if folder is None else _free_folder(folder, overwrite)
    shown = _shown(PHOTO if photo is None else photo)
    net, info = checkpoint.load_style(ckpt)
    info = _licensed(ckpt, _without_paths(info), licence)
    name, file = _file_name(ckpt), checkpoint.resolve(ckpt)
    evaluated = [] if evaluation is None else figures_of(evaluation, file, checkpoint.split(ckpt)[1])
    exists = target is None and hub.require_repo(repo, overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix=".publish-", dir=None if target is None else target.parent) as temp:
            made = Path(temp) / "repo"
            made.mkdir()
            tell("painting the photo ...")
            card = model_card.Published(repo, name, 0, SHEET, "" if photo else _credit(), about, evaluated)
            _fill(made, net, info, _is_half(file), shown, card)
            if target is not None:
                _put(made, target)
                return str(target)
            tell(f"uploading to {repo} ...")
            if exists and private:
                tell(f"{repo} exists and stays as visible as it is: private= is for new ones")
            return hub.upload(made, repo, message or f"Publish {name} with stylenet", private)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"Cannot write the files: {why}. Make room, or choose another folder=.") from error


def _check(repo: Any, licence: Any, about: Any, message: Any, **switches: Any) -> None:
    if not isinstance(repo, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UserError(f"repo={repo}: give it as user/name: letters, digits, -, _ and .")
    hub.package()
    for name, value in {"licence": licence, "about": about, "message": message}.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"{name}={value}: give a text.")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise UserError(f"{name}={value}: give true or false.")


def _licensed(ckpt: str | Path, info: dict[str, Any], licence: str | None) -> dict[str, Any]:
    """``info`` with the licence that was given, or its own. Raises UserError where there is none."""
    if not (licence := licence or info.get("licence")):
        raise UserError(f"ckpt={ckpt} does not say under which licence it is: give one, such as licence=CC-BY-4.0.")
    return {**info, "licence": licence}


def _shown(photo: str | Path) -> Path:
    if not isinstance(photo, str | Path) or not os.path.isfile(os.path.expanduser(photo)):
        raise UserError(f"photo={photo}: there is no such file. Give a picture, or leave it out.")
    return Path(os.path.expanduser(photo))


def _free_folder(folder: str | Path, overwrite: bool) -> Path:
    """The folder to write. Raises UserError if something is there that must not be replaced."""
    target = Path(os.path.expanduser(folder))
    if folder == "" or (os.path.lexists(target) and not target.is_dir()):
        raise UserError(f"folder={folder}: give the name of a folder.")
    there = sorted(os.listdir(target)) if target.is_dir() else []
    if there and not overwrite:
        raise UserError(f"folder={folder} has files: give overwrite=true to replace those of a style, or another one.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror or error}. Choose another folder=.") from error
    return target


def _file_name(ckpt: str | Path) -> str:
    """The name of the published file: that of the style, or of the file with several."""
    name = checkpoint.called(ckpt).rpartition(":")[2]
    return (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "style") + hub.SUFFIX


def _is_half(file: Path) -> bool:
    """Whether a style file holds float16, half the bytes: so does what is published."""
    if not mistaken.is_safetensors(file):
        return False
    with safetensors.safe_open(file, "pt") as opened:
        return all(opened.get_slice(key).get_dtype() == "F16" for key in opened.keys())


def _fill(
    folder: Path, net: StyleNet, info: dict[str, Any], half: bool, photo: Path, published: model_card.Published
) -> None:
    """Write the files. The picture is made by the file itself, whose size ``published`` does not know yet."""
    file = checkpoint.save(folder / published.file, net, info, half)
    options: dict[str, Any] = {"style": _paintings()} if net.any_style else {}
    page = sheets.sheet(photo, file, **options)
    image_io.write(folder / SHEET, Picture(np.asarray(page)), quality=92)
    published = replace(published, bytes=file.stat().st_size)
    (folder / CARD).write_text(model_card.card(net, info, published), encoding="utf-8")


def _put(made: Path, target: Path) -> None:
    """Move the files to ``target``. Other style files that are there would make two of one: they go."""
    if not target.exists():
        os.rename(made, target)
        return
    for old in target.glob(f"*{hub.SUFFIX}"):
        if not (made / old.name).exists():
            raise UserError(f"folder={target} holds {old.name}, another style: choose another folder.")
    for file in made.iterdir():
        shutil.move(file, target / file.name)


def _paintings() -> list[str]:
    """Pictures for a network for any style."""
    return [str(file) for file in sorted((ASSETS / "styles").glob("*.jpg"))[:3]]


def _credit() -> str:
    with (ASSETS / "photos" / "SOURCES.csv").open(encoding="utf-8", newline="") as rows:
        (row,) = [row for row in csv.DictReader(rows) if row["file"] == f"val/{PHOTO.name}"]
    return f"{row['title']}, {row['author']}, {row['licence']}"


def _without_paths(data: Any) -> Any:
    """Metadata with the last part of each absolute path alone: folders of the machine tell who trained it."""
    if isinstance(data, Mapping):
        return {key: _without_paths(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_paths(value) for value in data]
    if isinstance(data, str) and PATH.fullmatch(data.strip()):
        return re.split(r"[/\\]", data.strip().rstrip("/\\"))[-1]
    return data
