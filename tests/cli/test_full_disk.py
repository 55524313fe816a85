"""No room, or a place nobody may write to: said in a line, before hours are lost, and no broken file is left.

The room is taken away by the limit that a process can set for its files: that needs no rights, and what has an answer
for it has the same for a full disk.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint
from stylenet.nets.registry import build
from stylenet.system.atomic import writable
from stylenet.system.errors import UserError
from stylenet.system.places import home
from stylenet.training.callbacks import SampleGrid
from stylenet.training.checkpointing import LAST, AtomicFiles


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes in here."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_without_room_leaves_the_one_before(tmp_path: Path):
    files, old = AtomicFiles(), {"weights": torch.arange(10.0)}
    files.save_checkpoint(old, tmp_path / LAST)
    with room(100_000), pytest.raises(UserError, match=rf"Cannot write {tmp_path / LAST}: File too large.* make room"):
        files.save_checkpoint({"weights": torch.randn(100_000)}, tmp_path / LAST)
    assert names(tmp_path) == [LAST]
    assert torch.equal(files.load_checkpoint(tmp_path / LAST)["weights"], old["weights"])


def test_a_sheet_without_room_is_not_begun(tmp_path: Path):
    noise = [torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)]
    module: Any = SimpleNamespace(
        eval=lambda: None,
        train=lambda: None,
        samples=lambda content: [content],
        prepare=lambda photo: photo / 255,
    )
    data = SimpleNamespace(val_photos=noise)
    trainer: Any = SimpleNamespace(datamodule=data, is_global_zero=True, global_step=5, max_steps=9, loggers=[])
    with room(4_000), pytest.raises(UserError, match=r"Cannot write .*000005\.jpg: File too large"):
        SampleGrid(tmp_path, every=5).draw(trainer, module)
    assert names(tmp_path / "sheets") == []


def test_a_style_without_room_leaves_the_one_before(tmp_path: Path):
    path = checkpoint.save(tmp_path / "a.safetensors", build("johnson", widths=[4, 4, 4], blocks=1), {})
    before = path.read_bytes()
    with room(20_000), pytest.raises(UserError, match=r"Cannot write .*a\.safetensors: File too large"):
        checkpoint.save(path, build("johnson", widths=[16, 16, 16], blocks=1), {})
    assert path.read_bytes() == before and names(tmp_path) == ["a.safetensors"]


def test_a_place_for_the_style_is_looked_for_before_the_training(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is not a folder"):
        writable(tmp_path / "file" / "out" / "a.safetensors")
    (tmp_path / "old.safetensors").write_text("old")
    writable(tmp_path / "old.safetensors")
    writable(tmp_path / "new.safetensors")
    assert names(tmp_path) == ["file", "old.safetensors"] and (tmp_path / "old.safetensors").read_text() == "old"


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_training_that_cannot_save_ends_with_one_line_and_leaves_whole_files(tmp_path: Path):
    vgg_weights()
    words = [
        *("style=starry_night", "++style.starry_night.size=64", "net.widths=[8,8,8]", "net.blocks=1", "data.size=32"),
        *(
            "data.batch_size=2",
            "data.val=1",
            "data.val_size=32",
            "data.workers=2",
            "steps=9",
            "trainer.accelerator=cpu",
        ),
        *("logger=csv", "trainer.log_every_n_steps=1", "trainer.checkpoint_every=4", f"out={tmp_path}"),
    ]
    command = [
        sys.executable,
        "-c",
        LIMITED,
        "60000",
        ROOT / "scripts/train.py",
        *words,
        f"hydra.run.dir={tmp_path}/run",
    ]
    ours = os.environ | {"OMP_NUM_THREADS": "1", "STYLENET_HOME": str(home())}
    done = subprocess.run(command, env=ours, capture_output=True, text=True, timeout=300, start_new_session=True)
    assert done.returncode == 2 and done.stdout == ""
    last = f"Cannot write {tmp_path}/run/{LAST}: File too large. Choose another place or make room."
    assert done.stderr.splitlines()[-1] == last and "Traceback" not in done.stderr
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == [".hydra", "csv", "train.log"]
    steps = [line.split(",")[0] for line in (tmp_path / "run/csv/metrics.csv").read_text().splitlines()]
    assert steps == ["step", "1", "2", "3", "4"]
