"""scripts/train.py with the networks of light_nets.py too: the same command line, and ``net.name=lite`` for these."""

from benchmarks.experiments.light_nets import register
from stylenet.cli.train import main

if __name__ == "__main__":
    register()
    main()
