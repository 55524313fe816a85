r"""Photorealistic transfer beside plain colour transfer: figures on six pairs of photos, seconds, memory and a picture.

    python -m benchmarks.experiments.photorealism photos=/path/to/photos sheet=docs/photorealism.jpg \
        page=docs/photorealism.md

Each pair is a day and a night, two seasons or two weathers. Of what each method makes: ``edges``, the SSIM of its edges
and the photo's (1: the same); ``style``, as of stylenet.evaluation.metrics (1: the untouched photo, 0: the statistics
of the style photo). Plain colour transfer is Monge and Kantorovich's: the affine map that gives the photo the mean and
covariance of the colours of the other. ``photos``: the folder of the photos that are not bundled; pairs that lack one
are left out, which is said. ``sizes``: of the photo, each timed in a process of its own. ``page``: a page whose tables
get the new rows.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.experiments import trainings
from stylenet.evaluation.metrics import StyleMetrics, summary
from stylenet.images import image_io
from stylenet.images.color import Colors, Match
from stylenet.images.guided_filter import LUMA
from stylenet.stylizing import photorealistic
from stylenet.stylizing.photorealistic import Photorealism, Transfer
from stylenet.system.places import ASSETS

OPTIONS: dict[str, Any] = {
    "ckpt": "photo",
    "photos": None,  # folder of the photos that are not bundled
    "size": 512,  # longer side at which pairs are measured, in pixels
    "sizes": [512, 1024, 2048, 4096],  # of the photo, to be timed
    "out": "docs/results/photorealism.json",
    "sheet": None,  # a picture of the pairs
    "page": None,  # a Markdown file with the two tables
    "shown": ["castle", "aqueduct", "mountains", "lake"],  # on the sheet
    "width": 300,  # of a picture on it, in pixels
    "timed": None,  # a size: only measure it, in this process
}
SMOOTHINGS = ("none", "guided", "matting")
METHODS = ("colours", *SMOOTHINGS)
SPEEDS = ("guided_seconds", "guided_peak_gb", "matting_seconds", "matting_peak_gb")
HEADS = ("| what changes |", "| photo, px |")  # what the tables of the page begin with


@dataclass(frozen=True)
class Pair:
    """What changes, and the names of both photos."""

    what: str
    content: str
    style: str


PAIRS = (
    Pair("day to night", "castle", "gate_at_night"),
    Pair("noon to sunset", "aqueduct", "city_sunset"),
    Pair("autumn to winter", "mountains", "polar_bear"),
    Pair("day to evening", "lake", "sunset"),
    Pair("day to dusk", "temple_roof", "harbour_at_dusk"),
    Pair("clear to overcast", "palace_facade", "nips_f08f34c258228251"),
)


def main() -> None:
    chosen = trainings.options(OPTIONS)
    net = photorealistic.load(chosen["ckpt"], torch.device("cpu"))
    if chosen["timed"]:
        print(json.dumps(timed(net, chosen["timed"])))
        return
    found = {}
    pictures = []
    for pair in PAIRS:
        paths = [_path(name, chosen["photos"]) for name in (pair.content, pair.style)]
        if None in paths:
            print(f"{pair.content}, {pair.style}: not there", file=sys.stderr)
            continue
        photo, look = (image_io.fit(image_io.open_rgb(path), chosen["size"]) for path in paths if path)
        made, transfer = made_of(net, photo, look)
        found[pair.content] = {"what": pair.what, "style_photo": pair.style} | figures(made, photo, look)
        found[pair.content]["table_levels"] = table_error(transfer)
        print(f"{pair.content}: {found[pair.content]}", flush=True)
        if pair.content in chosen["shown"]:
            row = [photo, ImageOps.fit(look, photo.size), made["colours"], made["guided"]]
            pictures.append([image_io.fit(picture, chosen["width"]) for picture in row])
    means = {method: mean_of(found.values(), method) for method in METHODS}
    rows = [_row(one["what"], f"{name}, {one['style_photo']}", one, one["table_levels"]) for name, one in found.items()]
    rows.append(_row("mean", "", means, round(float(np.mean([one["table_levels"] for one in found.values()])), 2)))
    print("\n".join(rows), flush=True)
    times = {str(size): _apart(chosen["ckpt"], size) for size in chosen["sizes"]}
    trainings.write_results(Path(chosen["out"]), chosen, pairs=found, means=means, sizes=times)
    if chosen["page"]:
        page = Path(chosen["page"])
        speeds = [f"| {size} | {' | '.join(str(one.get(key, '')) for key in SPEEDS)} |" for size, one in times.items()]
        page.write_text(filled(filled(page.read_text(), HEADS[0], rows), HEADS[1], speeds))
    if chosen["sheet"]:
        trainings.in_rows(Path(chosen["sheet"]), pictures, 80)


def made_of(net: Any, photo: Image.Image, look: Image.Image) -> tuple[dict[str, Image.Image], Transfer]:
    """What each method makes of a photo, by name, and the transfer with the default smoothing."""
    before, style = (image_io.to_tensor(picture) for picture in (photo, look))
    made = {"colours": image_io.to_pil(Match(Colors([before]), Colors([style]))(before))}
    transfer, once = None, _Once(net)
    for smoothing in SMOOTHINGS:
        done = photorealistic.transfer(once, np.asarray(photo), look, Photorealism(smoothing))
        made[smoothing] = Image.fromarray(done.applied(np.asarray(photo)))
        transfer = done if smoothing == "guided" else transfer
    assert transfer is not None
    return made, transfer


class _Once:
    """A network that remembers the one picture that it has made: only the smoothing differs."""

    def __init__(self, net: Any):
        self.net, self.made = net, None

    def transfer(self, *pictures: Any) -> Tensor:
        self.made = self.net.transfer(*pictures) if self.made is None else self.made
        return self.made


def figures(made: dict[str, Image.Image], photo: Image.Image, look: Image.Image) -> dict[str, Any]:
    """``edges`` and ``style`` of each method."""
    metrics, before = StyleMetrics(look), image_io.to_tensor(photo)
    found = {}
    for method, picture in made.items():
        after = image_io.to_tensor(picture)
        record = metrics(after, before, image_io.to_tensor(look.resize(photo.size)))
        found[method] = {"edges": round(edges_kept(after, before), 3), "style": round(summary([record])["style"], 3)}
    return found


def edges_kept(picture: Tensor, photo: Tensor) -> float:
    """The SSIM of the edges of two pictures (1, 3, h, w). Edges: the length of the gradient of luma, divided by its
    99th percentile, so that contrast as such does not count.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    first, second = (_edges(image) for image in (picture, photo))
    return float(structural_similarity_index_measure(first, second, data_range=1.0))  # type: ignore[arg-type]


def _edges(image: Tensor) -> Tensor:
    luma = (image * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    down, across = luma.diff(dim=2)[..., :-1], luma.diff(dim=3)[:, :, :-1]
    length = (down**2 + across**2).sqrt()
    return (length / length.flatten().quantile(0.99).clamp(min=1e-6)).clamp(max=1)


def table_error(transfer: Transfer) -> float:
    """The mean difference of the look-up table's picture from the transfer's, in levels of 255."""
    by_table = transfer.cube().applied(image_io.to_array(transfer.before)).astype(float)
    return round(float(np.abs(by_table - image_io.to_array(transfer.after)).mean()), 2)


def _row(what: str, names: str, one: dict[str, Any], levels: float) -> str:
    cells = [f"{one[method]['style']:.2f} ({one[method]['edges']:.2f})" for method in METHODS]
    return f"| {what} | {names} | {' | '.join(cells)} | {levels} |"


def filled(text: str, head: str, rows: list[str]) -> str:
    """A page whose table that begins with ``head`` has these rows."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(head)) + 2
    end = next((number for number in range(begin, len(lines)) if not lines[number].startswith("|")), len(lines))
    return "\n".join([*lines[:begin], *rows, *lines[end:]]) + "\n"


def mean_of(records: Any, method: str) -> dict[str, float]:
    return {key: round(float(np.mean([one[method][key] for one in records])), 3) for key in ("edges", "style")}


def timed(net: Any, size: int) -> dict[str, Any]:
    """Seconds and memory of a photo whose longer side is ``size``."""
    photo = image_io.open_rgb(ASSETS / "photos" / "val" / "castle.jpg")
    photo = np.asarray(photo.resize((size, round(size * photo.height / photo.width)), Image.Resampling.LANCZOS))
    look = image_io.open_rgb(ASSETS / "photos" / "train" / "gate_at_night.jpg")
    found: dict[str, Any] = {}
    for smoothing in ("guided", "matting") if size <= 1024 else ("guided",):
        begin = time.perf_counter()
        photorealistic.transfer(net, photo, look, Photorealism(smoothing)).applied(photo)
        found[f"{smoothing}_seconds"] = round(time.perf_counter() - begin, 2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        found[f"{smoothing}_peak_gb"] = round(peak / 1e9, 2)
    return found


def _apart(ckpt: str, size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.experiments.photorealism", f"ckpt={ckpt}", f"timed={size}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(f"{size}: {done.stdout}", end="", flush=True)
    return json.loads(done.stdout)


def _path(name: str, folder: str | None) -> Path | None:
    """The file of a photo, bundled or in the folder."""

    def places() -> Iterator[Path]:
        yield from (ASSETS / "photos" / part / f"{name}.jpg" for part in ("val", "train"))
        yield from (Path(folder) / part / f"{name}.jpg" for part in ("", "train", "val")) if folder else ()

    return next((place for place in places() if place.exists()), None)


if __name__ == "__main__":
    trainings.answering(main)
