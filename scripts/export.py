"""Write a trained style for other programs: ``stylenet export``."""

from stylenet.cli.export import main

if __name__ == "__main__":
    main()
