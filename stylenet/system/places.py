"""Where things lie: what comes with the package, the cache, and where finished styles and runs go."""

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = PACKAGE / "assets"
"""Photographs, paintings and trained styles that come with the package."""


def home() -> Path:
    """The cache folder: STYLENET_HOME, else the platform's (``~/.cache/stylenet`` on Linux)."""
    return Path(os.environ.get("STYLENET_HOME") or platformdirs.user_cache_dir("stylenet")).expanduser()
