"""Pictures from 1 to 100 megapixels: time per megapixel and peak memory, in strips and, if it fits, in one piece.

    python -m benchmarks.speed.huge ckpt=the_scream output=huge.json

Each picture is read, stylized and written in a separate process. Its peak is resident memory, libraries (about 0.5 GB)
included. The pictures are an enlarged bundled photo with added noise, so no two regions are equal.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import stylenet as stylize
from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.speed.measuring import short
from stylenet.images import image_io
from stylenet.runtime import tiling
from stylenet.system.errors import UserError
from stylenet.system.memory import keep_freed_memory
from stylenet.system.timing import hardware, versions

OPTIONS: dict[str, Any] = {
    "ckpt": "the_scream",
    "megapixels": [1, 4, 10, 25, 50, 100],
    "whole": 4,  # megapixels up to which the picture is stylized in one piece as well: 1.4 GB for each
    "repeat": 1,  # times; the medians are given
    "suffix": ".jpg",
    "scratch": None,
    "output": None,  # a file for the figures, as JSON
}
PHOTO = Path(__file__).resolve().parents[2] / "stylenet" / "assets" / "photos" / "val" / "castle.jpg"
BAND = 256


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        return one(*sys.argv[2:])
    chosen = options(OPTIONS)
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=chosen["scratch"]) as folder:
        for megapixels in chosen["megapixels"]:
            source = Path(folder) / f"{megapixels}{chosen['suffix']}"
            make(source, round((megapixels * 1e6) ** 0.5))
            for way in ["strips", "whole"] if megapixels <= chosen["whole"] else ["strips"]:
                runs = [measured(source, way, chosen) for _ in range(chosen["repeat"])]
                figures.append({"megapixels": megapixels, "way": way} | medians(runs, megapixels))
                print(json.dumps(figures[-1]), flush=True)
            source.unlink()
    if chosen["output"]:
        told = {key: chosen[key] for key in ("ckpt", "repeat", "suffix")}
        write_json(
            Path(chosen["output"]),
            told | {"hardware": hardware(torch.device("cpu")), "versions": versions(), "pictures": figures},
        )


def make(path: Path, side: int) -> None:
    """A square picture with detail everywhere."""
    with Image.open(PHOTO) as photo:
        pixels = np.array(photo.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0)
    for top in range(0, side, BAND):
        rows = pixels[top : top + BAND]
        rows[:] = np.clip(rows + noise.integers(-6, 7, rows.shape), 0, 255)
    image_io.write(path, image_io.Picture(pixels), quality=90)


def measured(source: Path, way: str, chosen: dict[str, Any]) -> dict[str, float]:
    """One picture in a new process: seconds by what they went to, and the peak of its memory in GB."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.huge",
        "one",
        str(source),
        way,
        chosen["ckpt"],
        chosen["scratch"] or "",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{source.name} in {way} ended with code {process.returncode}.")
    return json.loads(said) | {"cpu_s": used.ru_utime + used.ru_stime, "peak_GB": used.ru_maxrss * 1024 / 1e9}


def medians(runs: list[dict[str, float]], megapixels: float) -> dict[str, float]:
    found = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    found["pass_s_per_megapixel"] = found["pass_s"] / megapixels
    return {name: short(value) for name, value in found.items()}


def one(source: str, way: str, ckpt: str, scratch: str) -> None:
    """Stylize one picture and print what each step took."""
    keep_freed_memory()
    times = [time.perf_counter()]
    stylizer: Any = stylize.load(ckpt, "cpu", tile="off", scratch=scratch or None, backend="torch")
    times.append(time.perf_counter())
    picture = image_io.read(source)
    times.append(time.perf_counter())
    stylizer.tile = tiling.rows_for(picture.rgb.shape[1]) if way == "strips" else "off"
    picture = stylizer.picture(picture)
    times.append(time.perf_counter())
    target = Path(source).with_stem("stylized")
    image_io.write(target, picture)
    times.append(time.perf_counter())
    target.unlink()
    names = ("load_s", "read_s", "pass_s", "write_s")
    print(json.dumps({name: times[i + 1] - times[i] for i, name in enumerate(names)}))


if __name__ == "__main__":
    answering(main)
