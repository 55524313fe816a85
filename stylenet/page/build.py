"""Write a web page that paints photos in the browser: a folder of static files. :mod:`stylenet.page.serve` shows it.

``static/`` holds the page's own HTML, CSS and JavaScript. ``styles.json`` lists styles, networks and all files.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stylenet.nets import checkpoint
from stylenet.page import onnxruntime_web
from stylenet.page import styles as page_styles
from stylenet.runtime import graph
from stylenet.runtime.export import FORMATS
from stylenet.system.errors import UserError
from stylenet.system.places import PACKAGE

STATIC = PACKAGE / "page" / "static"
LIST = "styles.json"
STYLES = ("the_scream_lite", "udnie_lite", "any")


def build(
    folder: str | Path = "site",
    styles: str | Path | Sequence[str | Path] = STYLES,
    *,
    paintings: str | Path | Sequence[str | Path] | None = None,
    runtime: str | Path | None = None,
    overwrite: bool = False,
    on_style: Callable[[str], object] | None = None,
) -> Path:
    """Write the page into ``folder``, which is complete or absent, and return its path.

    ``styles``: names or files, as ``stylenet.load`` takes them; a file with several styles gives them all.
    ``paintings``: files, or names of bundled ones, whose styles are offered where a network paints in any style; None
    for ``stylenet.page.styles.PAINTINGS``. ``runtime``: the folder ``dist`` of onnxruntime-web, None for npm's.
    ``overwrite``: replace a page. ``on_style`` is called with the name of each style file before it is exported. Raises
    UserError if a style or painting cannot be used, onnxruntime-web or the packages for the export are missing, or the
    folder exists or cannot be written.
    """
    wanted = [styles] if isinstance(styles, str | Path) else list(styles)
    if not wanted or not all(isinstance(one, str | Path) and str(one) for one in wanted):
        raise UserError(f"styles={styles!r:.80}: give the names or files of styles, such as styles=[udnie_lite].")
    target = Path(os.path.expanduser(folder))
    _check_target(target, overwrite)
    for package in FORMATS["onnx"].needs:
        graph.require(package, FORMATS["onnx"].extra)
    pictures = page_styles.find_paintings(paintings)
    _check_styles(wanted, given=None if paintings is None else len(pictures))
    engine = onnxruntime_web.folder(runtime)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".page-", dir=target.parent) as temp:
            _fill(Path(temp) / "page", engine)
            described = _add_styles(Path(temp) / "page", wanted, pictures, on_style or (lambda name: None))
            _list(Path(temp) / "page", described)
            _put(Path(temp) / "page", target, Path(temp) / "old")
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror or error}. Choose another folder=.") from error
    return target


def _check_styles(wanted: Sequence[str | Path], given: int | None) -> None:
    """Raise UserError if a style does not exist, or the number of paintings ``given`` does not suit the styles."""
    for one in wanted:
        try:
            checkpoint.resolve(one)
        except UserError as error:
            raise UserError(str(error).replace("ckpt=", "styles=", 1)) from None
    if given is None:
        return
    paints_any = [checkpoint.load_style(one)[0].any_style for one in wanted]
    if given and not any(paints_any):
        raise UserError("paintings= are for a network for any style: give styles=[any], too, or leave them out.")
    if not given and all(paints_any):
        raise UserError("paintings=[] leaves the page without a style to begin with: give one, or other styles, too.")


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or (not (target / LIST).is_file() and any(target.iterdir())):
        raise UserError(f"folder={target} exists and is no page: choose another folder=.")
    if any(target.iterdir()) and not overwrite:
        raise UserError(f"folder={target} exists: give overwrite=true to replace the page, or another folder=.")


def _put(made: Path, target: Path, old: Path) -> None:
    """Rename the finished page to ``target``; a page that is there already is moved to ``old`` first."""
    if target.exists():
        os.rename(target, old)
    os.rename(made, target)


def _fill(page: Path, engine: Path) -> None:
    """Write all but the styles into the folder ``page``, which is made."""
    for name in ("networks", "thumbnails", "runtime"):
        (page / name).mkdir(parents=True)
    for file in STATIC.iterdir():
        shutil.copyfile(file, page / file.name)
    for name in onnxruntime_web.FILES:
        shutil.copyfile(engine / name, page / "runtime" / name)
    (page / "runtime" / "LICENCE.txt").write_text(onnxruntime_web.LICENCE)
    shutil.copyfile(page_styles.SAMPLE, page / "sample.jpg")


def _add_styles(
    page: Path, wanted: Sequence[str | Path], paintings: dict[Path, tuple[str, str]], on_style: Callable[[str], object]
) -> dict[str, list[dict[str, Any]]]:
    """Write the networks and thumbnails, and describe networks and styles."""
    networks: list[dict[str, Any]] = []
    styles: list[dict[str, Any]] = []
    for ckpt in dict.fromkeys(wanted):
        on_style(str(ckpt))
        taken = [file.relative_to(page).as_posix() for file in (page / "networks").iterdir()]
        network, found = page_styles.add(page, ckpt, taken, paintings)
        styles += [{**one, "network": len(networks)} for one in found]
        networks.append(network)
    _tell_apart(styles)
    return {"networks": networks, "styles": styles}


def _list(page: Path, described: dict[str, Any]) -> None:
    """Write the list of the page's styles and files."""
    files = [file.relative_to(page).as_posix() for file in page.rglob("*") if file.is_file()]
    listed = {
        "runtime": onnxruntime_web.VERSION,
        "sample": {"file": "sample.jpg", "credit": page_styles.credit()},
        **described,
        "files": sorted([*files, LIST]),
    }
    (page / LIST).write_text(json.dumps(listed, indent=1, ensure_ascii=False), encoding="utf-8")


def _tell_apart(styles: list[dict[str, Any]]) -> None:
    """Add to titles that several styles have that one is light, or its name."""
    for added in (lambda name: ", light" if name.endswith("_lite") else "", lambda name: f" ({name})"):
        titles = [one["title"] for one in styles]
        for one, title in zip(styles, titles, strict=True):
            if titles.count(title) > 1:
                one["title"] = f"{title}{added(one['name'])}"
