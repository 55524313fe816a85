"""Flicker of a film with and without ``temporal=``, and time per frame.

    python -m benchmarks.speed.video clip=clip.mp4 ckpt=the_scream output=video.json

The flicker is the occlusion-masked warping error (Lai et al. 2018, "Learning blind video temporal consistency", eq. 7,
as a root mean square, as a fraction of the range): each result against the previous one, warped by the flow of the
source frames, where that frame is still visible. Shot changes are excluded. Flow: OpenCV's DIS.

    python -m benchmarks.speed.video clip=clip.mp4 ckpt=the_scream_lite width=3840 frames=120 flicker=false \
        output=4k.json

``width``: enlarge the clip to this width first. ``from_file_to_file_s``: seconds per frame from file to file, as in the
script, with decoding, network, temporal blending and encoding in parallel.
"""

import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import stylenet as stylize
from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.speed.measuring import short
from stylenet.files import film_engine
from stylenet.files.options import Writing
from stylenet.files.planning import Job
from stylenet.images.image_io import Picture
from stylenet.stylizing.stylizer import Stylizer
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware, versions
from stylenet.video import container, protocol, temporal
from stylenet.video.options import STEADY, FilmOptions

OPTIONS: dict[str, Any] = {
    "clip": None,
    "ckpt": "the_scream",
    "frames": 60,
    "width": None,
    "device": "auto",
    "flicker": True,
    "temporal": [0.3, 0.6, 0.8, 0.9],
    "output": None,  # a file for the figures, as JSON; the clip's are added to those of others
}


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["clip"]:
        raise UserError("clip= is missing: give a film, such as clip=clip.mp4.")
    clip = Path(chosen["clip"])
    stylizer: Any = stylize.load(chosen["ckpt"], chosen["device"])
    with tempfile.TemporaryDirectory() as folder:
        if chosen["width"]:
            clip = enlarged(clip, Path(folder) / clip.with_suffix(".mp4").name, chosen["width"], chosen["frames"])
        figures = measured(clip, stylizer, chosen)
        figures |= {"from_file_to_file_s": from_file_to_file(clip, stylizer, chosen["frames"])}
    print(json.dumps({clip.name: figures}, indent=2))
    if chosen["output"]:
        output = Path(chosen["output"])
        before = json.loads(output.read_text())["clips"] if output.exists() else {}
        about = {"ckpt": chosen["ckpt"], "hardware": hardware(stylizer.device), "versions": versions()}
        write_json(output, about | {"clips": before | {clip.name: figures}})


def measured(clip: Path, stylizer: Stylizer, chosen: dict[str, Any]) -> dict[str, Any]:
    """Each step by itself, and the flicker."""
    begin = time.perf_counter()
    source, photos = first_frames(clip, chosen["frames"])
    read = (time.perf_counter() - begin) / len(photos)
    net, made = timed(lambda frame: stylizer.picture(Picture(frame.rgb)).rgb, photos)
    write = written(photos, made, source.look)
    steps = {"size": list(source.size), "frames": len(photos), "read_s": short(read), "net_s": short(net)}
    steps |= {"write_s": short(write)}
    if not chosen["flicker"]:
        return steps
    flow = temporal.dis()
    pairs = [temporal.trusted(after.rgb, before.rgb, flow) for before, after in zip(photos, photos[1:], strict=False)]
    figures: dict[str, Any] = steps | {
        "changes_of_shot": sum(not same_shot(kept) for _, kept in pairs),
        "flicker_photos": short(flicker([one.rgb for one in photos], pairs)),
        "flicker": {"0": short(flicker(made, pairs))},
    }
    for part in chosen["temporal"]:
        steady = temporal.Steady(part)
        spent, held = timed(
            lambda pair, steady=steady: steady(*pair), [*zip([p.rgb for p in photos], made, strict=True)]
        )
        figures["flicker"][str(part)] = short(flicker(held, pairs))
        figures["steady_s"] = short(spent)
    return figures


def first_frames(clip: Path, count: int) -> tuple[container.Reader, list[protocol.Frame]]:
    source = container.Reader(clip)
    return source, list(islice((item for item in source if isinstance(item, protocol.Frame)), count))


def enlarged(clip: Path, target: Path, width: int, count: int) -> Path:
    source, frames = first_frames(clip, count)
    height = round(width * source.size[1] / source.size[0] / 2) * 2
    sink = container.Writer(target, source.look)
    for frame in frames:
        rgb = np.asarray(Image.fromarray(frame.rgb).resize((width, height), Image.Resampling.BICUBIC))
        sink.add(protocol.Frame(rgb, frame.time, frame.duration))
    sink.close()
    return target


def from_file_to_file(clip: Path, stylizer: Stylizer, count: int, flow: str = "auto") -> dict[str, float]:
    """Seconds a frame, steadied as by itself and not at all. ``flow``: see :class:`FilmOptions`."""
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        read, frames = first_frames(clip, count)
        sink = container.Writer(source, read.look)
        for frame in frames:
            sink.add(frame)
        sink.close()
        for part in (STEADY, 0.0):
            how = film_engine.FilmSettings(FilmOptions(part, flow), Writing(overwrite=True), stylizer.device.type)
            outcome = film_engine.stylized(Job(source, target), stylizer.picture, how)
            if outcome.reason:
                raise UserError(outcome.reason)
            spent[f"temporal={part:g}"] = short(outcome.seconds / len(frames))
    return spent


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


def written(photos: list[protocol.Frame], made: list[np.ndarray], look: protocol.Look) -> float:
    """Seconds of encoding for one frame."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sink = container.Writer(Path(folder) / "out.mp4", look)
        for photo, rgb in zip(photos, made, strict=True):
            sink.add(protocol.Frame(rgb, photo.time, photo.duration))
        sink.close()
    return (time.perf_counter() - begin) / len(photos)


if __name__ == "__main__":
    answering(main)
