"""scripts/train.py plus the networks of light_nets.py: the same command line, with ``net.name=lite`` for these."""

from benchmarks.experiments.light_nets import register
from stylenet.cli.train import main

if __name__ == "__main__":
    register()
    main()
