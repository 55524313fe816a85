"""Files of Weights & Biases on this machine: the id of a run, and the last step on disk.

W&B writes rows in blocks of 32 KiB, and a kill loses those of the last block. Knows nothing about the meaning of the
rows.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEAD = 32768, 7  # bytes, of LevelDB's log format; a file begins with a head of W&B's own, as long as a record's
WHOLE, LAST_PART = 1, 4
STEP = "trainer/global_step"  # as Lightning calls it


def run_id(folder: Path) -> str | None:
    """The id of the latest run in ``folder``, W&B's folder for runs; None if there is none. For a run that continues
    within the second of its start, W&B adds a number: (offline-)run-<time>-<id>-1.
    """
    runs = [path for path in folder.glob("*run-*-*") if path.is_dir() and not path.is_symlink()]
    if not runs:
        return None
    latest = max(runs, key=_began)
    files = [file.stem.removeprefix("run-") for file in latest.glob("run-*.wandb")]
    return files[0] if files else _began(latest).partition("-")[2]


def _began(folder: Path) -> str:
    return folder.name.removeprefix("offline-").removeprefix("run-")


def last_step(folder: Path, run: str) -> int:
    """The last step of ``run`` in the files of ``folder``, -1 for none. Empty files are removed: W&B would upload
    neither these nor the files beside them.
    """
    last = -1
    for path in folder.glob(f"*run-*-{run}*/run-{run}.wandb"):
        if path.parent.is_symlink():  # latest-run
            continue
        kinds = set()
        for record in records(path.read_bytes()):
            kinds.add(record.WhichOneof("record_type"))
            last = max([last, *(json.loads(item.value_json) for item in record.history.item if _names(item) == STEP)])
        if "run" not in kinds and path.parent.name.startswith("offline"):
            shutil.rmtree(path.parent)
    return last


def _names(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def records(raw: bytes) -> Iterator[Any]:
    """The records of a .wandb file that are whole: blocks of (checksum, length, kind, data), a record in several parts
    where it does not fit.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    at, data = HEAD, b""
    while at + HEAD <= len(raw):
        left = BLOCK - at % BLOCK
        length, kind = (int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]) if left >= HEAD else (0, 0)
        if kind == 0:  # the rest of a block
            at += left
            continue
        data, at = data + raw[at + HEAD : at + HEAD + length], at + HEAD + length
        if at > len(raw):
            return
        if kind in (WHOLE, LAST_PART):
            record = Record()
            record.ParseFromString(data)
            data = b""
            yield record
