"""What tests of films share."""

from typing import Any

from stylenet.files.film_engine import FilmSettings
from stylenet.files.options import Writing
from stylenet.system.options import grouped
from stylenet.video.options import FilmOptions


def settings(**options: Any) -> FilmSettings:
    """A run's settings from plain keywords: those of FilmOptions and Writing."""
    film, writing = grouped(options, {FilmOptions: None, Writing: None})
    return FilmSettings(film, writing)
