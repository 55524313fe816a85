"""Many small photos in one run: pictures per second, and constant memory.

    python -m benchmarks.speed.folders output=docs/results/folders_2_cores.json

Makes a temporary folder of photos (crops of the bundled ones), runs scripts/stylize.py on it and monitors its resident
memory, shared libraries included. Exits with 0 only if memory after a tenth of the pictures and at the end differs by
less than 30 MB, and the report and the results are complete.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.stress.watching import looked_at
from stylenet.files import report
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware, versions

OPTIONS: dict[str, Any] = {
    "ckpt": "the_scream_lite",
    "count": 10_000,
    "side": 32,  # pixels
    "backend": "auto",
    "output": None,  # a file for the figures, as JSON
}
ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "stylenet" / "assets" / "photos" / "val"
GROWTH = 30.0  # MB that count as none: less than 4 KB for each of 9,000 pictures


def main() -> None:
    chosen = options(OPTIONS)
    count = chosen["count"]
    if count < 100:
        raise UserError(f"count={count}: less than 100 tell nothing.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "in", count, chosen["side"])
        figures = watched(folder, chosen)
        said = [line["status"] for line in report.read(folder / "report.jsonl")]
        whole = len([*(folder / "out").rglob("[!.]*.jpg")])
    figures |= {"written": said.count("written"), "results": whole}
    print(figures)
    if chosen["output"]:
        told = {key: chosen[key] for key in ("ckpt", "count", "side", "backend")}
        about = {"hardware": hardware(torch.device("cpu")), "versions": versions()}
        write_json(Path(chosen["output"]), told | figures | about)
    sys.exit(not (figures["growth_MB"] <= GROWTH and said.count("written") == len(said) == whole == count))


def make(folder: Path, count: int, side: int) -> None:
    """``count`` square JPEG files, 1,000 in a folder, no two alike."""
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(PHOTOS.glob("*.jpg"))]
    random = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        top, left = (random.integers(0, size - side) for size in photo.shape[:2])
        place = folder / f"{number // 1000:02}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo[top : top + side, left : left + side]).save(place / f"{number:05}.jpg", quality=90)


def watched(folder: Path, chosen: dict[str, Any]) -> dict[str, Any]:
    """Seconds and MB of one run, at ten points of it."""
    words = [f"ckpt={chosen['ckpt']}", "device=cpu", f"backend={chosen['backend']}", "input=in", "output=out"]
    command = [sys.executable, str(ROOT / "scripts" / "stylize.py"), *words, "report=report.jsonl"]
    begin, first, samples = time.perf_counter(), 0.0, []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            first = first or time.perf_counter()
            if number % (chosen["count"] // 10) == 0 and (seen := looked_at(process.pid)):
                seconds = round(time.perf_counter() - begin, 1)
                samples.append({"pictures": number, "seconds": seconds, "MB": round(seen.memory, 1)})
                print(samples[-1], flush=True)
    if process.returncode:
        raise UserError(f"scripts/stylize.py ended with code {process.returncode}.")
    return {
        "seconds": samples[-1]["seconds"],
        "seconds_to_the_first": round(first - begin, 1),
        "pictures_per_second": round((samples[-1]["pictures"] - 1) / (samples[-1]["seconds"] + begin - first), 1),
        "growth_MB": round(samples[-1]["MB"] - samples[0]["MB"], 1),
        "samples": samples,
    }


if __name__ == "__main__":
    answering(main)
