"""Files of a folder or a pattern that are not stylized: the kind of each, and the messages about them.

Knows names and the first bytes of a few files; nothing about pixels.
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

PICTURE, FILM = "picture", "film"  # what can be done
RAW, OTHER, RESULT, CLUSTER = "raw", "other", "result", "cluster"  # why it is left out
HIDDEN, FOLDER, CLOSED = "hidden", "folder", "closed"
MENDABLE = frozenset({RAW, *plugins.PLUGINS})
"""What holds a photo that can be had in another way."""
LITTER = frozenset(
    "thumbs.db ehthumbs.db desktop.ini .ds_store .localized .directory .nomedia icon\r"
    " .spotlight-v100 .fseventsd .temporaryitems .documentrevisions-v100 .thumbnails".split(" ")
)
"""Names, in small letters, of what systems leave in every folder: not worth a word."""
_STREAMS = {".ts": 0, ".m2ts": 4, ".mts": 4}  # where a packet begins, with b"G": TypeScript has these suffixes too
_NAMED = 4  # suffixes told one by one

_SAID = {  # one, several, and what can be done
    **{name: (f"{name} picture", f"{name} pictures", f"needs {plugins.EXTRA}") for name in plugins.PLUGINS},
    RAW: ("camera raw file", "camera raw files", "to be developed to JPEG or TIFF first"),
    FILM: ("film", "films", "needs pip install 'stylenet[video]'"),
    CLUSTER: ("film", "films", "engine=ray takes pictures only"),
    OTHER: ("file that is not a picture", "files that are not pictures", ""),
    RESULT: ("result of an earlier run", "results of earlier runs", ""),
    HIDDEN: ("hidden file or folder", "hidden files or folders", ""),
    FOLDER: ("folder", "folders", "to be named as input= for what is in it"),
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
        one, _, advice = _SAID[self.kind]
        return f"{one}: {advice}" if advice else one


def kind(path: Path, here: bool = True) -> str | None:
    """What a file is by its name: PICTURE, FILM, or why it is left out; None for the litter of systems.

    ``here``: it is a file of this machine, so that one may look into it where the name is not enough.
    """
    suffix = path.suffix.lower()
    if is_litter(path):
        return None
    if path.name.startswith("."):
        return HIDDEN
    if suffix in PICTURES:
        return PICTURE
    if suffix in FILMS and (not here or _is_stream(path, suffix)):
        return FILM
    return plugins.kind_named(suffix) or (RAW if suffix in raw.SUFFIXES else OTHER)


def is_litter(path: Path) -> bool:
    """Whether this is what a system puts into every folder."""
    return path.name.lower() in LITTER or path.name.startswith(("._", ".Trash"))


def films_can_be_read() -> bool:
    """Whether what reads films is installed."""
    return find_spec("av") is not None


def told(left: Sequence[Left]) -> str:
    """How many of each kind: ``2 films (pip install ...), 3 files that are not pictures (2 .txt, 1 .xmp)``."""
    parts, counts = [], Counter(one.kind for one in left)
    for which, (one, several, advice) in _SAID.items():
        count = counts[which]
        if which == OTHER:
            advice = _suffixes(each.path for each in left if each.kind == OTHER)
        if count:
            parts.append(f"{count} {one if count == 1 else several}{f' ({advice})' if advice else ''}")
    return ", ".join(parts)


def say(left: Sequence[Left]) -> None:
    """One line on stderr, where there is anything."""
    if left:
        console.tell(f"Left out: {told(left)}.")


def remark(name: object, note: str) -> None:
    """One line on stderr about a file that is done, where there is anything to say."""
    if note:
        console.tell(f"{shown(name)}: {note}.")


def _suffixes(paths: Iterable[Path]) -> str:
    counts = Counter(shown(path.suffix.lower()) or "without a suffix" for path in paths)
    named = [f"{count} {suffix}" for suffix, count in counts.most_common(_NAMED)]
    more = sum(counts.values()) - sum(count for _, count in counts.most_common(_NAMED))
    return ", ".join([*named, f"{more} more"] if more else named)


def _is_stream(path: Path, suffix: str) -> bool:
    if suffix not in _STREAMS:
        return True
    try:
        with open(path, "rb") as file:
            return b"G" in {file.read(1), file.read(_STREAMS[suffix] or 1)[-1:]}
    except OSError:
        return os.path.lexists(path)  # reading it says what is wrong
