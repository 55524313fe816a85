"""What a page has of one style file: its network as ONNX, its styles with a thumbnail each, and a description of both.
Knows nothing of the page's folder but where in it these files go.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylenet.images import image_io
from stylenet.nets import checkpoint
from stylenet.nets.base import STYLE_SIDE, StyleNet
from stylenet.runtime import graph
from stylenet.runtime.export import export
from stylenet.stylizing import style_pictures
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError
from stylenet.system.places import ASSETS

SAMPLE = ASSETS / "photos" / "val" / "castle.jpg"
THUMBNAIL, PAINTED = 224, 384  # pixels a side of a thumbnail, and of the longer side of the picture it is cut from
BUNDLED = ASSETS / "styles"
PAINTINGS = ("starry_night", "great_wave", "composition_viii", "street_in_auvers")
SMALLEST = 32  # pixels a side of a painting that an exported style network takes
FEW = 64  # numbers: shorter arrays of a network are not worth a cast

Described = dict[str, Any]
Painted = tuple[Described, Callable[[Image.Image], Image.Image]]  # a style without its thumbnail, and what makes one


def find_paintings(wanted: str | Path | Sequence[str | Path] | None) -> dict[Path, tuple[str, str]]:
    """The files of ``wanted``, names of bundled paintings or files, with a title each, and who painted it when.

    None: ``PAINTINGS``. Raises UserError for one that does not exist.
    """
    told = [wanted] if not isinstance(wanted, Sequence) or isinstance(wanted, str) else wanted
    told = PAINTINGS if wanted is None else told
    known = {Path(row["file"]).stem: row for row in _sources(BUNDLED)}
    found = {}
    for one in told:
        if str(one) in known:
            row = known[str(one)]
            found[BUNDLED / row["file"]] = title(", ".join(_swapped(row["title"], row["author"])))
            continue
        path = Path(one).expanduser() if isinstance(one, str | Path) and str(one) else None
        if path is None or not path.is_file():
            names = ", ".join(sorted(known))
            raise UserError(f"paintings={one}: there is no such file. Give pictures, or names of these: {names}.")
        found[path] = (path.stem, "")
    return found


def _swapped(title: str, author: str) -> tuple[str, ...]:
    """ "Udnie, 1913" and an author as the name, the author and the year."""
    name, _, year = title.rpartition(", ")
    return (name, author, year) if name else (title, author)


def add(
    page: Path, ckpt: str | Path, taken: Collection[str], paintings: dict[Path, tuple[str, str]]
) -> tuple[Described, list[Described]]:
    """Write the network of ``ckpt`` and the thumbnails of its styles into ``page``, and describe them.

    ``taken``: names of networks that are there. ``paintings``: see :func:`find_paintings`; a network for any style has
    the styles of these.
    """
    net, info = checkpoint.load_style(ckpt)
    name = _free(f"networks/{plain(checkpoint.called(ckpt))}", taken)
    files = [export(ckpt, "onnx", page / f"{name}.onnx")]
    files += [page / f"{name}_style.onnx"] if net.any_style else []
    network, *style_of = [_file(page, file) for file in files]
    network |= {"styles": net.n_styles, "licence": info.get("licence")}
    network |= {"style_of": style_of[0] | {"side": STYLE_SIDE, "smallest": SMALLEST}} if style_of else {}
    photo = image_io.fit(image_io.open_rgb(SAMPLE), PAINTED)
    styles = []
    for index, (style, paint) in enumerate(_any(net, info, paintings) if net.any_style else _own(net, info, ckpt)):
        thumbnail = f"thumbnails/{Path(name).name}_{index}.jpg"
        _square(paint(photo)).save(page / thumbnail, quality=85)
        styles.append(style | {"thumbnail": thumbnail})
    return network, styles


def _own(net: StyleNet, info: dict[str, Any], ckpt: str | Path) -> list[Painted]:
    """The styles of a network that has its own."""
    told = [one for one in info.get("styles") or [] if isinstance(one, dict)]
    told = told if len(told) == net.n_styles else [{} for _ in range(net.n_styles)]
    stylizer = Stylizer(net, info)
    styles: list[Painted] = []
    for index, one in enumerate(told):
        called = str(one.get("name") or checkpoint.called(ckpt))
        name, by = title(str(one.get("title") or called))
        weights = [float(other == index) for other in range(net.n_styles)]
        asked = weights if net.n_styles > 1 else None
        described = {"name": called, "title": name, "by": by, "weights": weights}
        styles.append((described, lambda photo, asked=asked: stylizer(photo, asked)))
    return styles


def _any(net: StyleNet, info: dict[str, Any], paintings: dict[Path, tuple[str, str]]) -> list[Painted]:
    """The styles of these paintings in a network for any style."""
    stylizer = Stylizer(net, info)
    styles: list[Painted] = []
    for file, (name, by) in paintings.items():
        code = style_pictures.weights_of(net, style_pictures.opened(file), stylizer.device)
        described = {"name": file.stem, "title": name, "by": by, "weights": code.tolist()}
        styles.append((described, lambda photo, code=code: stylizer(photo, code.tolist())))
    return styles


def _file(page: Path, file: Path) -> Described:
    halve(file)
    data = file.read_bytes()
    name = file.relative_to(page).as_posix()
    return {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def halve(file: Path) -> None:
    """Store the float32 weights of an ONNX file in 16 bits where these are as exact, as they are in our style files.

    The program turns them back before it runs, so it computes the same, from a file of half the size.
    """
    onnx = graph.require("onnx", "onnx")
    model = onnx.load(file)
    weights, casts = list(model.graph.initializer), []
    for n, tensor in enumerate(weights):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size >= FEW and np.array_equal(half.astype(np.float32), values):
            weights[n] = onnx.numpy_helper.from_array(half, f"{tensor.name}_half")
            casts.append(onnx.helper.make_node("Cast", [weights[n].name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(weights)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)


def title(text: str) -> tuple[str, str]:
    """A title, and who painted it when: "Udnie, Francis Picabia, 1913" is "Udnie" and "Francis Picabia, 1913"."""
    found = re.fullmatch(r"(.+?), (.+, (?:about )?\d{4}(?:-\d+)?)", text)
    return (found[1], found[2]) if found else (text, "")


def credit() -> str:
    """Whose photo the sample is."""
    (row,) = [row for row in _sources(ASSETS / "photos") if row["file"] == f"val/{SAMPLE.name}"]
    return f"{row['title']}, {row['author']}, {row['licence']}"


def _sources(folder: Path) -> list[dict[str, str]]:
    with (folder / "SOURCES.csv").open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def _free(name: str, taken: Collection[str]) -> str:
    """``name``, with a number if that or its style network is the name of another file."""
    number, free = 1, name
    while {f"{free}.onnx", f"{free}_style.onnx"} & {*taken}:
        number += 1
        free = f"{name}_{number}"
    return free


def plain(name: str) -> str:
    """A name for files."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "style"
