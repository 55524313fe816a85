"""The figures of an evaluation on disk: one JSON file, replaced atomically. Knows nothing about their meaning."""

import json
from pathlib import Path
from typing import Any

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

KIND = "evaluation"


def opened(file: Path) -> dict[str, Any]:
    """The existing figures. Raises UserError for any other file."""
    if not file.exists():
        return {"kind": KIND, "about": {}, "nets": {}}
    try:
        results = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not a JSON file: use another output=.") from error
    if not isinstance(results, dict) or results.get("kind") != KIND:
        raise UserError(f"{file} is not an evaluation: use another output=.")
    return results


def write(file: Path, results: dict[str, Any]) -> None:
    with replacing(file) as temp:
        temp.write_text(json_text(results))


def json_text(data: Any, depth: int = 0) -> str:
    """Readable JSON: one line per entry; lists and innermost objects stay on one line."""
    if isinstance(data, dict) and any(isinstance(value, dict | list) for value in data.values()):
        inner = " " * (depth + 1)
        rows = [f"{inner}{json.dumps(key)}: {json_text(value, depth + 1)}" for key, value in data.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}" + "\n" * (depth == 0)
    return json.dumps(data) + "\n" * (depth == 0)
