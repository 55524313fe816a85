"""Stylize hundreds of hostile picture files: none may crash or block the stylizer, or leak memory.

    python -m benchmarks.stress.hostile ckpt=the_scream_lite output=hostile.json

Each file is stylized twice in one process; the second round detects growth of memory and open files. A process that
dies or times out is replaced. Then scripts/stylize.py stylizes the whole folder. A file must give either a valid
picture of the right size or a one-line message, and nothing else on stderr. Linux only.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from benchmarks.experiments.trainings import answering, options, write_json
from benchmarks.stress import hostile_files
from stylenet import stylize_files
from stylenet.files import planning
from stylenet.images.suffixes import PICTURES
from stylenet.system.errors import UserError
from stylenet.system.timing import hardware, versions

OPTIONS: dict[str, Any] = {
    "ckpt": "the_scream_lite",
    "size": 64,  # longer side of what is stylized
    "seconds": 20,  # a file that takes longer is said to hang
    "seed": 0,
    "kinds": None,  # names of those to make, all by default
    "output": None,  # a file for the figures, as JSON
}
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stylize.py"
GOOD = ("written", "refused")
GROWTH = 16.0  # MB that the second round may take more than the first
LONGEST = 500  # letters of a message


@dataclass(frozen=True)
class Outcome:
    """What became of a file: written, refused, or one of the bad ends: wrong, noisy, traceback, crashed, hung.

    ``memory``, ``peak``: MB of the process afterwards, and at most meanwhile. ``files``: that it has open.
    """

    end: str
    said: str = ""
    seconds: float = 0.0
    memory: float = 0.0
    peak: float = 0.0
    files: int = 0


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        return work(sys.argv[2], int(sys.argv[3]))
    chosen = options(OPTIONS)
    with tempfile.TemporaryDirectory() as place:
        folder, results = Path(place) / "in", Path(place) / "out"
        kinds = hostile_files.make(folder, chosen["seed"], chosen["kinds"])
        rounds = each(kinds, results, chosen)
        whole = together(folder, Path(place) / "whole", sum(map(taken_up, kinds)), chosen)
    bad = tell(kinds, rounds, whole, chosen)
    sys.exit(bad)


def tell(kinds: dict[Path, str], rounds: list[dict[Path, Outcome]], whole: dict[str, Any], chosen: dict) -> bool:
    """Print and write what was found; whether anything is not as it should be."""
    first, second = rounds
    table = {
        kind: dict(Counter(first[path].end for path in kinds if kinds[path] == kind)) for kind in {*kinds.values()}
    }
    last = [[*outcomes.values()][-1] for outcomes in rounds]
    growth = {"MB": round(last[1].memory - last[0].memory, 1), "open_files": last[1].files - last[0].files}
    bad = {
        path.relative_to(path.parents[2]).as_posix(): f"{found.end}: {found.said}"
        for outcomes in rounds
        for path, found in outcomes.items()
        if found.end not in GOOD
    }
    slowest = max((found.seconds, path.name) for outcomes in rounds for path, found in outcomes.items())
    figures = {
        "files": len(kinds),
        "ends": dict(Counter(found.end for found in first.values())),
        "by_kind": dict(sorted(table.items())),
        "slowest": {"file": slowest[1], "s": round(slowest[0], 2)},
        "peak_MB": round(max(found.peak for outcomes in rounds for found in outcomes.values()), 1),
        "growth_in_second_round": growth,
        "whole_folder": whole,
        "bad": {name.encode(errors="backslashreplace").decode(): said for name, said in bad.items()},
    }
    print(json.dumps(figures, indent=1))
    if chosen["output"]:
        told = {key: chosen[key] for key in ("ckpt", "size", "seconds", "seed")}
        machine = {"hardware": hardware(torch.device("cpu")), "versions": versions() | {"pillow": Image.__version__}}
        write_json(Path(chosen["output"]), told | machine | figures)
    grown = growth["MB"] > GROWTH or growth["open_files"] > 0
    return bool(bad) or grown or whole["end"] != "good"


# --- each file by itself


def each(paths: Iterable[Path], results: Path, chosen: dict[str, Any]) -> list[dict[Path, Outcome]]:
    """Every file twice, all through one process, or as many as it takes."""
    results.mkdir(parents=True)
    rounds: list[dict[Path, Outcome]] = [{}, {}]
    worker: Worker | None = None
    for found in rounds:
        for number, path in enumerate(paths):
            worker = worker or Worker(chosen["ckpt"], chosen["size"])
            name = f"{number}{'.gif' if planning.moves(path) else '.png'}"
            found[path] = worker.outcome(path, results / name, chosen["seconds"])
            if found[path].end in ("crashed", "hung"):
                worker = worker.close()
    if worker:
        worker.close()
    return rounds


class Worker:
    """A process that stylizes one file after another; what it says beside its answers is kept."""

    def __init__(self, ckpt: str, size: int):
        self.noise = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "benchmarks.stress.hostile", "work", ckpt, str(size)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.noise, text=True, bufsize=1)
        self._answer(120)  # when it is ready

    def outcome(self, path: Path, target: Path, seconds: float) -> Outcome:
        assert self.process.stdin
        begin, heard = time.monotonic(), os.fstat(self.noise.fileno()).st_size
        self.process.stdin.write(json.dumps([os.fsencode(path).hex(), str(target)]) + "\n")
        line = self._answer(seconds)
        taken = time.monotonic() - begin
        if not line:
            gone = self.process.poll() is not None
            return Outcome("crashed" if gone else "hung", f"code {self.process.returncode}", taken)
        found = Outcome(**(json.loads(line) | {"seconds": taken}))
        more = os.fstat(self.noise.fileno()).st_size - heard
        noise = os.pread(self.noise.fileno(), more, heard).decode(errors="replace")
        noise = "".join(part for part in noise.split("\r") if part.strip() and "frame/s]" not in part)  # a film's bar
        if noise and found.end in GOOD:
            return Outcome("noisy", noise[:LONGEST], taken, found.memory, found.peak, found.files)
        return found

    def _answer(self, seconds: float) -> str:
        """A line; nothing where the process ends or the time is over."""
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return ""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
        return line

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.noise.close()


def work(ckpt: str, size: int) -> None:
    """Stylize the files named on stdin; an Outcome for each as a line of stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that what a library prints is heard
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    options: dict[str, Any] = {"size": size, "device": "cpu", "backend": "torch"}
    answers.write("ready\n")
    for line in sys.stdin:
        source, target = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        end, said = stylized(ckpt, Path(os.fsdecode(bytes.fromhex(source))), Path(target), options)
        Path(target).unlink(missing_ok=True)
        answers.write(json.dumps(asdict(Outcome(end, said, 0, **taken()))) + "\n")


def stylized(ckpt: str, source: Path, target: Path, options: dict[str, Any]) -> tuple[str, str]:
    """How it ended, and what was said."""
    try:
        paths = list(stylize_files(ckpt, source, target, **options))
        return judged(source, target, options["size"]) if paths == [target] else ("wrong", f"gave {paths}")
    except UserError as error:
        plain = str(error).isprintable() and len(str(error)) <= LONGEST
        return ("refused" if plain else "wrong"), str(error)[: 2 * LONGEST]
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {error}"[:LONGEST]


def judged(source: Path, target: Path, size: int) -> tuple[str, str]:
    """Whether a picture has the size that Pillow sees in the source, no side longer than ``size``."""
    quiet = warnings.catch_warnings(action="ignore")
    with quiet, open(source, "rb") as file, Image.open(file) as image, Image.open(target) as result:
        try:
            upright = ImageOps.exif_transpose(image).size
        except Exception:  # broken EXIF turns nothing
            upright = image.size
        scale = min(1, size / max(upright))
        expected = tuple(max(1, round(side * scale)) for side in upright)
        result.load()
        film = target.suffix == ".gif"  # its sides are even, and its colours 256
        far = max(abs(side - other) for side, other in zip(result.size, expected, strict=True))
        right = far <= film and result.mode in (("P", "RGB", "RGBA") if film else ("RGB", "RGBA"))
        return ("written", "") if right else ("wrong", f"{result.mode} {result.size}, expected {expected}")


def taken() -> dict[str, Any]:
    """What this process takes: MB now and at most, open files."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    megabytes = {words[0]: round(int(words[1]) / 1024, 1) for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
    return {"memory": megabytes["VmRSS:"], "peak": megabytes["VmHWM:"], "files": len(os.listdir("/proc/self/fd"))}


# --- the folder as a whole


def taken_up(path: Path) -> bool:
    """Whether a folder's pictures include this one: hidden files and those of other suffixes are passed over."""
    return not path.name.startswith(".") and path.suffix.lower() in PICTURES


def together(folder: Path, results: Path, count: int, chosen: dict[str, Any]) -> dict[str, Any]:
    """scripts/stylize.py over the folder: what it wrote, refused and said."""
    words = [f"ckpt={chosen['ckpt']}", f"input={folder}", f"output={results}", f"size={chosen['size']}"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-W", "default", str(SCRIPT), *words, "device=cpu", "backend=torch"]
        begin = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        limit = begin + 60 + count * chosen["seconds"] / 4
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0 and time.monotonic() < limit:
            time.sleep(0.05)
        if ended[0] == 0:
            process.kill()
            process.wait()
            return {"end": "hung"}
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        seconds = time.monotonic() - begin
        errors.seek(0)
        # a bar is drawn over and over on its line
        lines = [line.rsplit(b"\r", 1)[-1].decode(errors="replace") for line in errors.read().split(b"\n") if line]
        paths = sum(path.is_file() for path in results.rglob("*"))
    refused = [line for line in lines if line.startswith("  ")]
    known = ("picture", "Left out: ", "only the first is used")
    others = [line for line in lines if not line.startswith("  ") and not any(one in line for one in known)]
    partly = [line for line in refused if "holds what can be" in line]  # of a cut GIF, which is written all the same
    good = process.returncode == 1 and paths + len(refused) - len(partly) == count and not others
    return {
        "end": "good" if good else "bad",
        "code": process.returncode,
        "written": paths,
        "refused": len(refused),
        "other_lines": others[:20],
        "seconds": round(seconds, 1),
        "peak_MB": round(ended[2].ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    answering(main)
