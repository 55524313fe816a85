"""The file of one part of benchmarks/speed/gpu.py, written anew after each row. Knows nothing about the rows."""

import importlib
import json
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from stylenet.runtime.options import choose_device
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError
from stylenet.system.timing import commit, hardware, versions

ROOT = Path(__file__).resolve().parents[2]


class Result:
    """A part's file: what was measured so far, with the machine. ``add()`` writes it anew, whole.

    ``order``: the options of gpu.py, with the part's ``file``, and ``until``: the time at which it must have ended.
    Raises UserError for a device that is not there.
    """

    def __init__(self, part: str, order: dict[str, Any]):
        self.file, self.until = Path(order["file"]), float(order["until"])
        there = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = choose_device(there if order["device"] == "auto" else order["device"])
        if self.device.type not in ("cpu", "cuda"):
            raise UserError(f"device={self.device}: give auto, cpu or cuda.")
        self.tiny = order["miniature"] or self.device.type == "cpu"
        self.photos, self.clip = order["photos"] or None, order["clip"] or None
        self.data: dict[str, Any] = {"part": part, "status": "running", "machine": machine(self.device)}
        self.data |= {"miniature": self.tiny, "rows": []}
        self.keep()

    def add(self, **row: Any) -> None:
        """One more row."""
        self.data["rows"].append(row)
        self.keep()

    def keep(self, **more: Any) -> None:
        """Write the file, with ``more`` about the part as a whole."""
        self.data |= more
        with replacing(self.file) as temp:
            temp.write_text(json.dumps(self.data, indent=1).replace(str(ROOT), ".") + "\n")

    def has(self, seconds: float) -> bool:
        """Whether so much time is left."""
        return self.left > seconds

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.until - time.time()


def machine(device: torch.device) -> dict[str, Any]:
    """The GPU, the processor, and the versions of what matters for speed."""
    try:
        triton: str | None = version("triton")
    except PackageNotFoundError:
        triton = None
    found = hardware(device) | {"versions": versions()} | {"cuda": torch.version.cuda, "triton": triton}
    if device.type == "cuda":
        found["cudnn"] = torch.backends.cudnn.version()
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return found | {"commit": commit()}


def need(*names: str) -> None:
    """Raise ModuleNotFoundError for the first package that is not installed, before any work is done."""
    for name in names:
        importlib.import_module(name)
