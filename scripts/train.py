"""Train a style: ``stylenet train``."""

from stylenet.cli.train import main

if __name__ == "__main__":
    main()
