"""Measure trained styles: ``stylenet evaluate``."""

from stylenet.cli.evaluate import main

if __name__ == "__main__":
    main()
