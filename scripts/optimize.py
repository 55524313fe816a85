"""Paint a picture by optimising its pixels: ``stylenet optimize``."""

from stylenet.cli.optimize import main

if __name__ == "__main__":
    main()
