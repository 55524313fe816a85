"""The figures of an evaluation on disk: one JSON file, whole at any moment. Knows nothing of what the figures mean."""

import json
from pathlib import Path
from typing import Any

from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

KIND = "evaluation"


def opened(file: Path) -> dict[str, Any]:
    """The figures that are there already. Raises UserError for a file that is something else."""
    if not file.exists():
        return {"kind": KIND, "about": {}, "nets": {}}
    try:
        results = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is no JSON file: give another output=.") from error
    if not isinstance(results, dict) or results.get("kind") != KIND:
        raise UserError(f"{file} holds no evaluation: give another output=.")
    return results


def write(file: Path, results: dict[str, Any]) -> None:
    with replacing(file) as temp:
        temp.write_text(json_text(results))


def json_text(data: Any, depth: int = 0) -> str:
    """JSON for people: a line for each entry, but lists and the smallest groups of numbers in one."""
    if isinstance(data, dict) and any(isinstance(value, dict | list) for value in data.values()):
        inner = " " * (depth + 1)
        rows = [f"{inner}{json.dumps(key)}: {json_text(value, depth + 1)}" for key, value in data.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}" + "\n" * (depth == 0)
    return json.dumps(data) + "\n" * (depth == 0)
