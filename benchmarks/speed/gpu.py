"""One command for a machine with a GPU: tests, passes, training, profiles, a real training and a film.

    python -m benchmarks.speed.gpu [budget=300] [out=build/gpu] [parts=[passes,profile]] [photos=/path/to/photos]
    python -m benchmarks.speed.gpu miniature=true device=cpu budget=600    # all of it at tiny sizes: does it work?

``budget``: seconds for everything. A part gets its share of what is left, so time that one leaves over goes to those
after it; a part that overruns its share is killed. Each part is a process of its own and writes ``out``/PART.json after
each row, so what is cut short leaves what it had. ``out``/summary.md has the tables of all. ``photos``: a folder for
the trainings; without it they use the bundled photos. ``clip``: the film; without it one is made. On a CPU all is
miniature.

This module imports neither torch nor any other package: each part imports what it needs, and says what is missing.
Exits with 1 if a part failed or overran.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.speed.gpu_summary import markdown
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"tests": 0.1, "passes": 0.24, "training": 0.2, "profile": 0.1, "real_training": 0.26, "film": 0.1}
OPTIONS: dict[str, Any] = {
    "budget": 300.0,
    "out": "build/gpu",
    "parts": [*SHARES],
    "device": "auto",
    "photos": "",
    "clip": "",
    "miniature": False,
}
PATIENCE = 3.0  # seconds between asking a part to end and ending it
LAST_LINES = 12  # of what a failed part wrote
RUNNING, FINISHED, SKIPPED, FAILED, OVERRAN = "running", "finished", "skipped", "failed", "overran"


def main() -> int:
    """The command line. Returns the exit code."""
    chosen = options(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a part ends with this process
    out, end_time, statuses = Path(chosen["out"]), time.monotonic() + chosen["budget"], []
    for part in SHARES:
        (out / f"{part}.json").unlink(missing_ok=True)  # of an earlier run
    parts = [part for part in SHARES if part in chosen["parts"]]
    with tempfile.TemporaryDirectory(prefix="gpu") as scratch:
        for number, part in enumerate(parts):
            share = SHARES[part] / sum(SHARES[later] for later in parts[number:])
            limit = max(0.0, share * (end_time - time.monotonic()))
            tell(f"{part}: at most {limit:.0f} s")
            try:
                result = run_part(part, limit, chosen, Path(scratch))
            finally:
                write(out / "summary.md", markdown(results(out)))
            statuses.append(result["status"])
            tiny = " in miniature" if result.get("miniature") else ""
            tell(f"{part}: {result['status']}{tiny}{': ' + said if (said := result.get('reason')) else ''}")
    return int(any(status in (FAILED, OVERRAN) for status in statuses))


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- options


def options(words: Sequence[str]) -> dict[str, Any]:
    """OPTIONS with what ``words`` say as key=value. Raises UserError for what is not there or makes no sense."""
    chosen = dict(OPTIONS)
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in chosen:
            raise UserError(f"{word}: there is no such option. There are: {', '.join(f'{key}=' for key in chosen)}")
        chosen[key] = read(key, value)
    if unknown := [part for part in chosen["parts"] if part not in SHARES]:
        raise UserError(f"parts={','.join(unknown)}: there is no such part. There are: {', '.join(SHARES)}.")
    if not 0 < chosen["budget"] < float("inf"):
        raise UserError(f"budget={chosen['budget']:g}: give seconds, more than 0.")
    for name, exists in (("photos", Path.is_dir), ("clip", Path.is_file)):
        if chosen[name] and not exists(Path(chosen[name]).expanduser()):
            raise UserError(f"{name}={chosen[name]}: it is not there. Give another place, or leave {name}= out.")
        chosen[name] = chosen[name] and str(Path(chosen[name]).expanduser().resolve())
    chosen["out"] = str(Path(chosen["out"]).expanduser().resolve())
    return chosen


def read(key: str, value: str) -> Any:
    """A value of the type that the default has."""
    kind = type(OPTIONS[key])
    if kind is list:
        return [one.strip(" '\"") for one in value.strip("[]").split(",") if one.strip()]
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"{key}={value}: give true or false.")
        return value.lower() == "true"
    try:
        return kind(value)
    except ValueError:
        raise UserError(f"{key}={value}: give a number.") from None


# --- parts


def run_part(part: str, limit: float, chosen: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Run one part for ``limit`` seconds at most; its result, which is in its file too.

    ``status`` is one of finished, skipped, failed and overran; of the last three ``reason`` says more.
    """
    file, log, begin = Path(chosen["out"]) / f"{part}.json", scratch / f"{part}.log", time.monotonic()
    folder = scratch / part
    folder.mkdir()
    order = {**chosen, "limit": round(limit, 1), "until": time.time() + limit, "file": str(file)}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}
    begun = {"cwd": ROOT, "env": variables, "stdin": subprocess.DEVNULL, "start_new_session": True}
    stopped = None
    with log.open("wb") as said:
        process = subprocess.Popen(command(part, order), stdout=said, stderr=said, **begun)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            stopped = f"stopped after {limit:.0f} s; what was measured until then is here"
        except KeyboardInterrupt:
            stopped = "stopped from outside; what was measured until then is here"
            raise
        finally:
            end(process)
            result = {"part": part, "rows": []} | kept(file)
            result |= {"seconds": round(time.monotonic() - begin, 1), "limit_s": round(limit, 1)}
            result |= {"status": OVERRAN, "reason": stopped} if stopped else failure(result, process.returncode, log)
            write(file, json.dumps(result, indent=1) + "\n")
    return result


def failure(result: Mapping[str, Any], code: int, log: Path) -> dict[str, Any]:
    """What to say of a part that did not end well; nothing for one that did."""
    if code == 0 and result.get("status", RUNNING) != RUNNING:
        return {}
    lines = log.read_text(errors="replace").replace(str(ROOT), ".").strip().splitlines()
    last = lines[-1].strip() if lines else f"it ended with code {code} and said nothing"
    return {"status": FAILED, "reason": last, "exit_code": code, "last_lines": lines[-LAST_LINES:]}


def command(part: str, order: Mapping[str, Any]) -> list[str]:
    """What runs a part: ``order`` are the options, the limit in seconds and the part's file."""
    return [sys.executable, "-m", "benchmarks.speed.gpu_parts", part, json.dumps(order)]


def end(process: subprocess.Popen) -> None:
    """End a part and all that it started, by a request and then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


def kept(file: Path) -> dict[str, Any]:
    """What a part has written so far; nothing where it has not begun."""
    return json.loads(file.read_text()) if file.exists() else {}


def results(out: Path) -> list[dict[str, Any]]:
    """Those of all parts that were run."""
    return [found for part in SHARES if (found := kept(out / f"{part}.json"))]


def write(path: Path, text: str) -> None:
    with replacing(path) as temp:
        temp.write_text(text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        tell(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
