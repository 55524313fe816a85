"""How a film flickers, with and without ``temporal=``, and what a frame costs.

    python benchmarks/video.py clip=clip.mp4 ckpt=the_scream output=video.json

The flicker is the occlusion-masked warping error (Lai et al. 2018, "Learning blind video temporal consistency", eq. 7,
as a root of mean squares, in parts of the range): each result against the one before it, carried along by the flow of
the photographed frames, where that frame is still to be seen. Changes of shot are left out. Flow: OpenCV's DIS.
"""

import json
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the package

from benchmarks.measuring import short
from benchmarks.trainings import answering, options, write_json
from stylenet import films, stylize, temporal
from stylenet.errors import UserError
from stylenet.images import Picture
from stylenet.timing import hardware, versions

OPTIONS: dict[str, Any] = {
    "clip": None,
    "ckpt": "the_scream",
    "frames": 60,
    "temporal": [0.3, 0.6, 0.8, 0.9],
    "output": None,  # a file for the figures, as JSON; the clip's are added to those of others
}


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["clip"]:
        raise UserError("clip= is missing: give a film, such as clip=clip.mp4.")
    clip = Path(chosen["clip"])
    stylizer = stylize.load(chosen["ckpt"], "cpu")
    begin = time.perf_counter()
    source = films.Reader(clip)
    photos = list(islice((item for item in source if isinstance(item, films.Frame)), chosen["frames"]))
    read = (time.perf_counter() - begin) / len(photos)
    net, made = timed(lambda frame: stylizer.picture(Picture(frame.rgb)).rgb, photos)
    flow = temporal.dis()
    pairs = [temporal.trusted(after.rgb, before.rgb, flow) for before, after in zip(photos, photos[1:], strict=False)]
    figures: dict[str, Any] = {
        "size": list(source.size),
        "frames": len(photos),
        "changes_of_shot": sum(not same_shot(kept) for _, kept in pairs),
        "flicker_photos": short(flicker([one.rgb for one in photos], pairs)),
        "flicker": {"0": short(flicker(made, pairs))},
        "read_s": short(read),
        "net_s": short(net),
    }
    for part in chosen["temporal"]:
        steady = temporal.Steady(part)
        spent, held = timed(
            lambda pair, steady=steady: steady(*pair), [*zip([p.rgb for p in photos], made, strict=True)]
        )
        figures["flicker"][str(part)] = short(flicker(held, pairs))
        figures["steady_s"] = short(spent)
    figures["write_s"] = short(written(photos, made, source.look))
    print(json.dumps({clip.name: figures}, indent=2))
    if chosen["output"]:
        output = Path(chosen["output"])
        before = json.loads(output.read_text())["clips"] if output.exists() else {}
        about = {"ckpt": chosen["ckpt"], "hardware": hardware(torch.device("cpu")), "versions": versions()}
        write_json(output, about | {"clips": before | {clip.name: figures}})


def timed(work: Any, items: list[Any]) -> tuple[float, list[np.ndarray]]:
    """The median of seconds for one item, and what came of them."""
    seconds, results = [], []
    for item in items:
        begin = time.perf_counter()
        results.append(work(item))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), results


def same_shot(kept: np.ndarray) -> bool:
    return float(kept.mean()) > temporal.CUT


def flicker(results: list[np.ndarray], pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    errors = []
    for before, after, (back, kept) in zip(results, results[1:], pairs, strict=False):
        if same_shot(kept):
            carried = temporal.warped(before.astype(np.float32), back)
            squares = ((after - carried) / 255) ** 2
            errors.append(squares[kept > 0.5].mean())
    return float(np.mean(errors)) ** 0.5


def written(photos: list[films.Frame], made: list[np.ndarray], look: films.Look) -> float:
    """Seconds of encoding for one frame."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sink = films.Writer(Path(folder) / "out.mp4", look)
        for photo, rgb in zip(photos, made, strict=True):
            sink.add(films.Frame(rgb, photo.time, photo.duration))
        sink.close()
    return (time.perf_counter() - begin) / len(photos)


if __name__ == "__main__":
    answering(main)
