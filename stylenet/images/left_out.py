"""Files of a folder or a pattern that are not stylized: their kinds, and the messages about them.

Reads names and the first bytes of a few files; knows nothing about pixels.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stylenet.images import plugins, raw
from stylenet.images.suffixes import FILMS, PICTURES
from stylenet.system import console
from stylenet.system.errors import shown

PICTURE, FILM = "picture", "film"  # stylized
RAW, OTHER, RESULT, CLUSTER = "raw", "other", "result", "cluster"  # left out, and why
HIDDEN, FOLDER, CLOSED = "hidden", "folder", "closed"
CONVERTIBLE = frozenset({RAW, *plugins.PLUGINS})
"""Kinds that hold a photo which can be converted."""
SYSTEM_FILES = frozenset(
    "thumbs.db ehthumbs.db desktop.ini .ds_store .localized .directory .nomedia icon\r"
    " .spotlight-v100 .fseventsd .temporaryitems .documentrevisions-v100 .thumbnails".split(" ")
)
"""Lower-case names of files that operating systems create in folders; never reported."""
_STREAMS = {".ts": 0, ".m2ts": 4, ".mts": 4}  # offset of a packet's first byte, b"G": TypeScript has these suffixes too
_LISTED = 4  # suffixes listed one by one

_PHRASES = {  # singular, plural, advice
    **{name: (f"{name} picture", f"{name} pictures", f"needs {plugins.EXTRA}") for name in plugins.PLUGINS},
    RAW: ("camera raw file", "camera raw files", "develop to JPEG or TIFF first"),
    FILM: ("film", "films", "needs pip install 'stylenet[video]'"),
    CLUSTER: ("film", "films", "engine=ray takes pictures only"),
    OTHER: ("file that is not a picture", "files that are not pictures", ""),
    RESULT: ("result of an earlier run", "results of earlier runs", ""),
    HIDDEN: ("hidden file or folder", "hidden files or folders", ""),
    FOLDER: ("folder", "folders", "name it as input= to include its files"),
    CLOSED: ("folder that cannot be read", "folders that cannot be read", ""),
}


@dataclass(frozen=True)
class Left:
    """A file or folder that is not stylized. ``kind``: one of the constants above, or of plugins.PLUGINS."""

    path: Path
    kind: str

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        one, _, advice = _PHRASES[self.kind]
        return f"{one}: {advice}" if advice else one


def kind(path: Path, here: bool = True) -> str | None:
    """The kind of a file by its name: PICTURE, FILM, or the reason it is left out; None for system files.

    ``here``: the file is on this machine, so it may be opened if its name is ambiguous.
    """
    suffix = path.suffix.lower()
    if is_system_file(path):
        return None
    if path.name.startswith("."):
        return HIDDEN
    if suffix in PICTURES:
        return PICTURE
    if suffix in FILMS and (not here or _is_stream(path, suffix)):
        return FILM
    return plugins.kind_named(suffix) or (RAW if suffix in raw.SUFFIXES else OTHER)


def is_system_file(path: Path) -> bool:
    """Whether an operating system created this file or folder."""
    return path.name.lower() in SYSTEM_FILES or path.name.startswith(("._", ".Trash"))


def films_can_be_read() -> bool:
    """Whether the package that reads films is installed."""
    return find_spec("av") is not None


def summary(left: Sequence[Left]) -> str:
    """Counts by kind: ``2 films (pip install ...), 3 files that are not pictures (2 .txt, 1 .xmp)``."""
    parts, counts = [], Counter(one.kind for one in left)
    for which, (one, several, advice) in _PHRASES.items():
        count = counts[which]
        if which == OTHER:
            advice = _suffixes(each.path for each in left if each.kind == OTHER)
        if count:
            parts.append(f"{count} {one if count == 1 else several}{f' ({advice})' if advice else ''}")
    return ", ".join(parts)


def warn(left: Sequence[Left]) -> None:
    """Write :func:`summary` to stderr, unless nothing is left out."""
    if left:
        console.warn_line(f"Left out: {summary(left)}.")


def warn_note(name: object, note: str) -> None:
    """Write the note about a finished file to stderr, unless it is empty."""
    if note:
        console.warn_line(f"{shown(name)}: {note}.")


def _suffixes(paths: Iterable[Path]) -> str:
    counts = Counter(shown(path.suffix.lower()) or "without a suffix" for path in paths)
    named = [f"{count} {suffix}" for suffix, count in counts.most_common(_LISTED)]
    more = sum(counts.values()) - sum(count for _, count in counts.most_common(_LISTED))
    return ", ".join([*named, f"{more} more"] if more else named)


def _is_stream(path: Path, suffix: str) -> bool:
    if suffix not in _STREAMS:
        return True
    try:
        with open(path, "rb") as file:
            return b"G" in {file.read(1), file.read(_STREAMS[suffix] or 1)[-1:]}
    except OSError:
        return os.path.lexists(path)  # reading it later reports the error
