"""scripts/train.py with the networks of light_nets.py too: the same command line, and ``net.name=lite`` for these."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "scripts" / "train.py"

if __name__ == "__main__":
    sys.path[:1] = [str(TRAIN.parent), str(ROOT)]  # scripts import each other; benchmarks/ is no part of the package

    from benchmarks.experiments.light_nets import register

    register()
    runpy.run_path(str(TRAIN), run_name="__main__")
