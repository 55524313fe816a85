"""Write a web page that paints photos in the browser: a folder of static files. :mod:`stylenet.page.serve` shows it.

``static/`` holds the page's own HTML, CSS and JavaScript. ``styles.json`` lists styles, networks and all files.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from stylenet.images import image_io
from stylenet.nets import checkpoint
from stylenet.page import onnxruntime_web
from stylenet.runtime import graph
from stylenet.runtime.export import FORMATS, export
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS, PACKAGE

STATIC = PACKAGE / "page" / "static"
LIST = "styles.json"
SAMPLE = ASSETS / "photos" / "val" / "castle.jpg"
THUMBNAIL, PAINTED = 224, 384  # pixels a side of a thumbnail, and of the longer side of the picture it is cut from
STYLES = ("the_scream_lite", "udnie_lite")


def build(
    folder: str | Path = "site",
    styles: str | Path | Sequence[str | Path] = STYLES,
    *,
    runtime: str | Path | None = None,
    overwrite: bool = False,
    on_style: Callable[[str], object] | None = None,
) -> Path:
    """Write the page into ``folder``, which is complete or absent, and return its path.

    ``styles``: names or files, as ``stylenet.load`` takes them; a file with several styles gives them all. ``runtime``:
    the folder ``dist`` of onnxruntime-web, None for npm's. ``overwrite``: replace a page. ``on_style`` is called with
    the name of each style file before it is exported. Raises UserError if a style cannot be used, onnxruntime-web or
    the packages for the export are missing, or the folder exists or cannot be written.
    """
    wanted = [styles] if isinstance(styles, str | Path) else list(styles)
    if not wanted or not all(isinstance(one, str | Path) and str(one) for one in wanted):
        raise UserError(f"styles={styles!r:.80}: give the names or files of styles, such as styles=[udnie_lite].")
    target = Path(os.path.expanduser(folder))
    _check_target(target, overwrite)
    for package in FORMATS["onnx"].needs:
        graph.require(package, FORMATS["onnx"].extra)
    for one in wanted:
        try:
            checkpoint.resolve(one)
        except UserError as error:
            raise UserError(str(error).replace("ckpt=", "styles=", 1)) from None
    engine = onnxruntime_web.folder(runtime)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".page-", dir=target.parent) as temp:
            _fill(Path(temp) / "page", wanted, engine, on_style or (lambda name: None))
            _put(Path(temp) / "page", target, Path(temp) / "old")
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror or error}. Choose another folder=.") from error
    return target


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


def _fill(page: Path, wanted: Sequence[str | Path], engine: Path, on_style: Callable[[str], object]) -> None:
    for name in ("networks", "thumbnails", "runtime"):
        (page / name).mkdir(parents=True)
    for file in STATIC.iterdir():
        shutil.copyfile(file, page / file.name)
    for name in onnxruntime_web.FILES:
        shutil.copyfile(engine / name, page / "runtime" / name)
    (page / "runtime" / "LICENCE.txt").write_text(onnxruntime_web.LICENCE)
    shutil.copyfile(SAMPLE, page / "sample.jpg")
    networks: list[dict[str, Any]] = []
    styles: list[dict[str, Any]] = []
    for ckpt in dict.fromkeys(wanted):
        on_style(str(ckpt))
        network, found = _add(page, ckpt, [one["file"] for one in networks])
        styles += [{**one, "network": len(networks)} for one in found]
        networks.append(network)
    _tell_apart(styles)
    files = sorted(str(file.relative_to(page).as_posix()) for file in page.rglob("*") if file.is_file())
    listed = {
        "runtime": onnxruntime_web.VERSION,
        "sample": {"file": "sample.jpg", "credit": _credit()},
        "networks": networks,
        "styles": styles,
        "files": sorted([*files, LIST]),
    }
    (page / LIST).write_text(json.dumps(listed, indent=1, ensure_ascii=False), encoding="utf-8")


def _add(page: Path, ckpt: str | Path, taken: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write the network of ``ckpt`` and the thumbnails of its styles, and describe them."""
    net, info = checkpoint.load(ckpt)
    if net.any_style:
        raise UserError(f"styles={ckpt} paints in any style, which a page cannot yet: give styles with a name.")
    name = _free(f"networks/{_plain(checkpoint.called(ckpt))}", ".onnx", taken)
    file = export(ckpt, "onnx", page / name)
    told = [one for one in info.get("styles") or [] if isinstance(one, dict)]
    told = told if len(told) == net.n_styles else [{} for _ in range(net.n_styles)]
    stylizer, photo = Stylizer(net, info), image_io.fit(image_io.open_rgb(SAMPLE), PAINTED)
    styles = []
    for index, one in enumerate(told):
        called = str(one.get("name") or checkpoint.called(ckpt))
        thumbnail = f"thumbnails/{Path(name).stem}_{index}.jpg"
        weights = [float(other == index) for other in range(net.n_styles)]
        painted = stylizer(photo, weights) if net.n_styles > 1 else stylizer(photo)
        _square(painted).save(page / thumbnail, quality=85)
        title, by = _title(str(one.get("title") or called))
        styles.append({"name": called, "title": title, "by": by, "thumbnail": thumbnail, "index": index})
    data = file.read_bytes()
    described = {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "styles": net.n_styles}
    return described | {"licence": info.get("licence"), "names": [one["name"] for one in styles]}, styles


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def _title(text: str) -> tuple[str, str]:
    """A title, and who painted it when: "Udnie, Francis Picabia, 1913" is "Udnie" and "Francis Picabia, 1913"."""
    found = re.fullmatch(r"(.+?), (.+, (?:about )?\d{4}(?:-\d+)?)", text)
    return (found[1], found[2]) if found else (text, "")


def _tell_apart(styles: list[dict[str, Any]]) -> None:
    """Add to titles that several styles have that one is light, or its name."""
    for added in (lambda name: ", light" if name.endswith("_lite") else "", lambda name: f" ({name})"):
        titles = [one["title"] for one in styles]
        for one, title in zip(styles, titles, strict=True):
            if titles.count(title) > 1:
                one["title"] = f"{title}{added(one['name'])}"


def _credit() -> str:
    with (ASSETS / "photos" / "SOURCES.csv").open(encoding="utf-8", newline="") as rows:
        (row,) = [row for row in csv.DictReader(rows) if row["file"] == f"val/{SAMPLE.name}"]
    return f"{row['title']}, {row['author']}, {row['licence']}"


def _free(name: str, suffix: str, taken: Sequence[str]) -> str:
    number, free = 1, f"{name}{suffix}"
    while free in taken:
        number += 1
        free = f"{name}_{number}{suffix}"
    return free


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "style"
