"""Checks a built site: links, anchors and pictures lead somewhere, no page needs the network, no markup is left over.

Knows HTML; nothing about how it was made.
"""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"img", "script", "iframe", "source", "video", "audio", "embed", "object"}  # what a browser fetches by itself
LEFT_OVER = re.compile(r":(?:class|func|meth|mod|data|attr|ref):|^:::|\]\(|```|^\|.*\|$", re.MULTILINE)
OUTSIDE = re.compile(r"""@import|url\(\s*["']?(?:https?:)?//""")


class Page(HTMLParser):
    """The links, anchors and words of a page; ``loads`` are those that a browser fetches by itself."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self._code = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self._code += tag in ("pre", "code", "script", "style")
        loads = tag in LOADED or (tag == "link" and given.get("rel") not in ("prev", "next", "canonical", "alternate"))
        found = [given[key] for key in ("href", "src", "data", "poster") if given.get(key)]
        found += [one.split()[0] for one in given.get("srcset", "").split(",") if one.strip()]
        self.links += found
        self.loads += found if loads else []

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.words.append(data)


def problems(site: Path, apart: str = "try/") -> Iterator[str]:
    """A line for each fault of the site in ``site``. ``apart``: a folder that is linked to but not looked at itself."""

    @cache
    def page(file: Path) -> Page:
        return Page(file.read_text(encoding="utf-8"))

    files = [file for file in sorted(site.rglob("*")) if not file.relative_to(site).as_posix().startswith(apart)]
    for file in files:
        name = file.relative_to(site).as_posix()
        if file.suffix == ".css" and OUTSIDE.search(file.read_text(encoding="utf-8")):
            yield f"{name} loads from the network"
        if file.suffix != ".html":
            continue
        for link in page(file).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page(file).loads and parts.scheme != "data":
                    yield f"{name} loads {link} from the network"
                continue
            base = site if parts.path.startswith("/") or name == "404.html" else file.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
            if not target.is_file():
                yield f"{name}: there is no {link}"
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in page(target).anchors:
                yield f"{name}: there is no place {link}"
        for found in LEFT_OVER.finditer("".join(page(file).words)):
            yield f"{name}: {found[0]!r} is left over from the source"
