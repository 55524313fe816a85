"""Locations: the package's files, the cache, and the folders of finished styles and runs."""

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parents[1]
CLONE = PACKAGE.parent if (PACKAGE.parent / "configs" / "train.yaml").is_file() else None
"""The clone that contains this package; None if it is installed without one."""
CONFIGS = CLONE / "configs" if CLONE else PACKAGE / "configs"
ASSETS = PACKAGE / "assets"
"""Photographs, paintings and trained styles that come with the package."""


def home() -> Path:
    """The cache folder: STYLENET_HOME, else the platform's (``~/.cache/stylenet`` on Linux)."""
    return Path(os.environ.get("STYLENET_HOME") or platformdirs.user_cache_dir("stylenet")).expanduser()


def project(path: str) -> Path:
    """``path`` inside the clone; inside the current folder if the package is installed without a clone."""
    return (CLONE or Path.cwd()) / path
