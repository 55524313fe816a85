"""Measure styles: distance to painting and photo, and artefacts, next to third-party networks.

    python -m benchmarks.experiments.ruler nets=[gallery,theirs/udnie.model] photos=/path/to/photos \
        paintings=[/path/a,/path/b]

Measures each style of each file on the same photos with ``stylenet.evaluation.metrics``. A style's painting has its
name, in ``paintings`` or among the bundled ones; for a third-party file, the file name up to the first "_nc". The
figures are saved to ``out`` after each style; existing ones are kept.
"""

from pathlib import Path
from typing import Any

import torch

from benchmarks.experiments.base import painting
from benchmarks.experiments.trainings import answering, options, read_json, write_json
from stylenet.data.paintings import open_painting
from stylenet.evaluation.metrics import STYLE_SIZES, KnownPhotos, evaluate, squares
from stylenet.nets import checkpoint
from stylenet.system.errors import UserError

OPTIONS: dict[str, Any] = {
    "nets": ["gallery"],
    "styles": None,  # of the files with several: only these
    "photos": None,  # a folder
    "paintings": [],  # folders
    "count": 40,  # photos at most
    "size": 512,  # side of their squares, in pixels
    "out": "docs/results/gallery.json",
}


def main() -> None:
    chosen = options(OPTIONS)
    if not chosen["photos"]:
        raise UserError("photos= is missing: give a folder of photos that nothing was trained on.")
    photos = squares(chosen["photos"], chosen["size"], chosen["count"])
    known, out = KnownPhotos(), Path(chosen["out"])
    found: dict[str, Any] = read_json(out) if out.exists() else {}
    for given in chosen["nets"]:
        for name, title in styles(given):
            if chosen["styles"] and ":" in name and title not in chosen["styles"]:
                continue
            key = Path(name).name
            if key not in found:
                picture = open_painting(str(painting(title, chosen["paintings"])), max(STYLE_SIZES))
                with torch.inference_mode():
                    found[key] = evaluate(checkpoint.load(name)[0], photos, picture, known=known)
                write_json(out, found)
            told = found[key]
            artefacts = {kind: told[kind]["mean"] for kind in ("grid", "weave", "dots", "bands", "flat")}
            print(f"{key}: style {told['style']:.3f} content {told['content']:.3f} {artefacts}", flush=True)


def styles(given: str) -> list[tuple[str, str]]:
    """What ``ckpt=`` calls the styles of a file, and the names of their paintings."""
    known = [style.get("name") for style in checkpoint.load(given)[1].get("styles", [])]
    if len(known) > 1:
        return [(f"{given}:{style}", style) for style in known]
    return [(given, (known[0] if known and known[0] else Path(given).name).partition("_nc")[0].removesuffix("_lite"))]


if __name__ == "__main__":
    answering(main)
