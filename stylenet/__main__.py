"""``python -m stylenet`` is the command ``stylenet``."""

from stylenet.cli.command import main

if __name__ == "__main__":
    main()
