"""A user's own configs, which take precedence over those of the package: --config-dir=FOLDER, or ./configs.

Knows Hydra's search path and its folders.
"""

from collections.abc import Iterator
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from stylenet.system import places
from stylenet.system.console import warn_line
from stylenet.system.errors import UserError
from stylenet.training import distributed

OPTIONS = ("--config-dir", "-cd")
_found: list[Path] = []


class OwnConfigs(SearchPathPlugin):
    """Makes Hydra search a user's folder first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in _found:
            search_path.prepend("stylenet", f"file://{folder}", SearchPathQuery("main"))


def find(argv: list[str]) -> list[str]:
    """Use the folder given on the command line, else ./configs; return the command line without that option.

    A ./configs with a main config, such as train.yaml, belongs to another program and is ignored. Raises UserError if
    --config-dir= names no folder.
    """
    given, rest = _given(argv)
    _found[:] = []
    here = Path("configs")
    if given is not None:
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise UserError(f"--config-dir={given}: there is no such folder.")
        _found.append(folder.resolve())
    elif here.is_dir() and here.resolve() != places.CONFIGS.resolve():
        programs = sorted(file.name for file in places.CONFIGS.glob("*.yaml") if (here / file.name).exists())
        if programs:
            reason = f"configs/{programs[0]} here is another program's"
            if distributed.number() == 0:
                warn_line(f"{reason}: the folder is ignored. To use it: --config-dir=configs.")
        else:
            _found.append(here.resolve())
    if OwnConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(OwnConfigs)
    return rest


def option() -> list[str]:
    """The option with which other processes of this run find the same folder; none if there is no such folder."""
    return [f"--config-dir={folder}" for folder in _found]


def of_group(group: str) -> Iterator[Path]:
    """All configs of a group, the user's own and the package's."""
    for folder in [*_found, places.CONFIGS]:
        yield from (folder / group).glob("*.yaml")


def _given(argv: list[str]) -> tuple[str | None, list[str]]:
    rest, given = [], None
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name in OPTIONS:
            given = value if equals else next(words, "")
        else:
            rest.append(word)
    return given, rest
