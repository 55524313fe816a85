"""Locations: the package's files, the cache, and the folders of finished styles and runs."""

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parents[1]
CLONE = None if (PACKAGE / "configs").is_dir() else PACKAGE.parent
"""The clone that this package is used from; None for an installed package, which holds its configs."""
CONFIGS = (CLONE or PACKAGE) / "configs"
ASSETS = PACKAGE / "assets"
"""Photographs, paintings and trained styles that come with the package."""


def home() -> Path:
    """The cache folder: STYLENET_HOME, else the platform's (``~/.cache/stylenet`` on Linux)."""
    return Path(os.environ.get("STYLENET_HOME") or platformdirs.user_cache_dir("stylenet")).expanduser()


def project(path: str) -> Path:
    """``path`` inside the clone; inside the current folder if the package is installed without a clone."""
    return (CLONE or Path.cwd()) / path
