"""``stylenet styles``: the styles that ckpt= accepts, one per line, or as JSON.

Reads the metadata of the files, not the weights.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stylenet.nets.catalog import list_styles
from stylenet.system import console

HELP = """List the styles that ckpt= accepts: those in ./checkpoints, in the clone's checkpoints, and the bundled ones.

  stylenet styles            one line per style: name, title, year, network, size and file
  stylenet styles --json     the same as JSON, with the file's path and training details

Of files with the same name, ./checkpoints has precedence; bundled ones come last.
gallery:udnie is one style of a file with several."""
HEAD = ("ckpt=", "title", "year", "network", "size", "file")


def main() -> None:
    """The command line. Exits with 2 if an option is unknown."""
    words = sys.argv[1:]
    if {"-h", "--help"} & {*words}:
        console.write_answer(HELP)
        return
    if unknown := [word for word in words if word != "--json"]:
        console.warn_line(f"stylenet styles {unknown[0]}: no such option. Give --json, or nothing.")
        sys.exit(2)
    found = list_styles()
    console.write_answer(json.dumps(found, indent=1, ensure_ascii=False) if "--json" in words else table(found))


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """One line per style, in columns; for a damaged file, its error instead."""
    rows = [HEAD, *(_row(one) for one in found if "error" not in one)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines + [f"{one['ckpt']}: {one['error']}" for one in found if "error" in one])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    size = f"{one['bytes'] / 1e6:.1f} MB" if one["bytes"] >= 1e6 else f"{one['bytes'] / 1e3:.0f} KB"
    hidden = f" (hides {', '.join(one['hides'])})" if one["hides"] else ""
    return one["ckpt"], one["title"], one["year"] or "", one["network"], size, f"{one['file']}{hidden}"
