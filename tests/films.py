"""What tests of films share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylenet import stylize_files
from stylenet.files.film_engine import FilmSettings
from stylenet.files.options import Writing
from stylenet.system.errors import UserError
from stylenet.system.options import grouped
from stylenet.video.options import FilmOptions


def settings(**options: Any) -> FilmSettings:
    """A run's settings from plain keywords: those of FilmOptions and Writing."""
    film, writing = grouped(options, {FilmOptions: None, Writing: None})
    return FilmSettings(film, writing)


def usable(require: Callable[[], None]) -> bool:
    """Whether the GPU that ``require`` asks for is here."""
    try:
        require()
    except UserError:
        return False
    return True


def assert_refused(folder: Path, said: str, **options: Any) -> None:
    """stylize_files says it before it writes anything into ``folder``."""
    before = sorted(folder.iterdir())
    given: dict[str, Any] = {"ckpt": "the_scream_lite", "device": "cpu"} | options
    with pytest.raises(UserError, match=said):
        list(stylize_files(**given))
    assert sorted(folder.iterdir()) == before
