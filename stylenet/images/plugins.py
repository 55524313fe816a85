"""Formats that Pillow reads with a plug-in: HEIC, the format of iPhones, and JPEG XL.

pip install 'stylenet[heif]' installs the plug-ins. Knows names and first bytes; nothing about pixels.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

EXTRA = "pip install 'stylenet[heif]'"
HEAD = 64  # bytes of a file that identify its kind
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_JXL = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"


@dataclass(frozen=True)
class Plugin:
    """``module``: the plug-in; ``start``: its function that registers it with Pillow, "" if importing does."""

    module: str
    start: str
    suffixes: frozenset[str]


PLUGINS = {
    "HEIC": Plugin("pillow_heif", "register_heif_opener", frozenset({".heic", ".heif", ".hif", ".heics", ".heifs"})),
    "JPEG XL": Plugin("pillow_jxl", "", frozenset({".jxl"})),
}
SUFFIXES = frozenset().union(*(one.suffixes for one in PLUGINS.values() if find_spec(one.module)))
"""Suffixes of the kinds whose plug-in is installed."""


@lru_cache(maxsize=1)
def register() -> None:
    """Register the installed plug-ins with Pillow. One that fails to load is ignored."""
    for plugin in PLUGINS.values():
        try:
            module = import_module(plugin.module)
            if plugin.start:
                getattr(module, plugin.start)()
        except Exception:  # absent or broken: the file is later reported by its kind
            continue


def installed(name: str) -> bool:
    """Whether the plug-in of this kind is installed. If so, a file that it cannot read is damaged."""
    return bool(PLUGINS[name].suffixes & SUFFIXES)


def kind(head: bytes) -> str | None:
    """The kind in PLUGINS of a file with these first HEAD bytes; None for others."""
    if head.startswith(_JXL):
        return "JPEG XL"
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, len(head) - 3, 4))}
    if head[4:8] == b"ftyp" and b"avif" not in brands and head[8:12] in _HEIC_BRANDS:
        return "HEIC"
    return None


def kind_named(suffix: str) -> str | None:
    """The kind in PLUGINS with this lower-case suffix; None for others."""
    return next((name for name, plugin in PLUGINS.items() if suffix in plugin.suffixes), None)
