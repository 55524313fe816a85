"""Stylize pictures: ``stylenet stylize``."""

from stylenet.cli.stylize import main

if __name__ == "__main__":
    main()
