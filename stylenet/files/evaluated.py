"""The figures of a style in the folder of an evaluation, as ``stylenet evaluate`` writes it. Knows nothing about how
they were measured.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stylenet.nets.model_card import Evaluated
from stylenet.system.errors import UserError

RESULTS = "results.json"


def figures_of(folder: str | Path, file: Path, style: str | None = None) -> list[Evaluated]:
    """What ``folder``/results.json says of the style file ``file``, by style and size. ``style``: of that one alone.

    A file is recognised by its content, so figures of an earlier version of it are not taken. Raises UserError for a
    folder without an evaluation, and for one without figures of the file.
    """
    results = Path(os.path.expanduser(folder)) / RESULTS
    try:
        nets = json.loads(results.read_text(encoding="utf-8"))["nets"]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        found = [one for name, net in nets.items() for one in _sizes(name, net, digest)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"evaluation={folder}: {results} is not an evaluation. Give the folder of output= of stylenet evaluate."
        ) from error
    if style is not None:
        found = [one for one in found if one.name.endswith(f":{style}")]
    if not found:
        names = ", ".join(nets) or "nothing"
        raise UserError(
            f"evaluation={folder} has no figures of this very file, but of: {names}. Evaluate it first: "
            f"stylenet evaluate ckpt=... output={folder}"
        )
    return found


def _sizes(name: str, net: Mapping[str, Any], digest: str) -> Iterator[Evaluated]:
    if net["identity"]["file"] != digest:
        return
    for size, figures in sorted(net["sizes"].items(), key=lambda item: int(item[0])):
        if "summary" in figures:
            yield Evaluated(name, int(size), figures["summary"])
