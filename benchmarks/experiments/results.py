"""Make docs/results.md and its plot from docs/results/*.json: shipped styles, each figure with its command.

    python -m benchmarks.experiments.results

To add the results.json of an evaluation (scripts/evaluate.py output=...), copy it to docs/results/<style>.json.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.experiments.trainings import answering, read_json
from stylenet.evaluation import report
from stylenet.evaluation.ledger import KIND
from stylenet.system.atomic import replacing

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURE = "worth.png"
EXPLAINED = {
    "One pass in iterations of L-BFGS": (
        "The objective is that of the network's training, on held-out photos. L-BFGS optimises the pixels from the "
        "content image and, as in the paper, from noise. An iteration is one evaluation of the objective and its "
        "gradient. Median over the photos (minimum to maximum). After figure 5 of Johnson et al. 2016."
    ),
    "Style, content, similarity": (
        "style: 1.0 is an untouched photo, 0 the painting's own statistics; content: 1.0 is an unrelated photo, 0 the "
        "photo itself. SSIM: 1 is the photo; LPIPS and CFSD: 0 is the photo."
    ),
    "Artefacts: mean (worst)": (
        'The columns "photos" show the photos\' own values. grid: visible from 10; weave: visible from 0.3; border: 1 '
        "is no ring; bands: 1 is no band along any edge, visible from 1.5; flat: share of windows of 32 px with less "
        "than a tenth of the painting's contrast; out of range, black or white: shares of the pixels."
    ),
    "Seconds, median (least to greatest)": "After warm-up, one picture at a time; decoding and encoding: JPEG.",
}
OTHERS = {  # file: (content, page that describes it, command)
    "styles.json": (
        "style, content, grid and border of styles before gallery",
        "notes.md",
        "python scripts/evaluate.py ckpt=... data=... sizes=[384,768] photos=[40,10] worth.photos=0",
    ),
    "speed_2_cores.json": ("ours against the common recipe", "speed.md", "python scripts/benchmark.py quick=true"),
    "gains_2_cores.json": ("gain of each speed change", "speed.md", "python -m benchmarks.speed.gains"),
    "light_designs.json": ("light networks", "notes.md", "python -m benchmarks.experiments.designs"),
    "hostile.json": (
        "hundreds of hostile files: outcome by type",
        "notes.md",
        "python -m benchmarks.stress.hostile",
    ),
    "warm_start.json": (
        "time to learn a new painting",
        "notes.md",
        "python -m benchmarks.experiments.warm_start",
    ),
    "quality.json": ("the recipe, one change at a time", "notes.md", "python -m benchmarks.experiments.quality"),
    "kill_resume.json": (
        "killed and resumed runs",
        "../README.md",
        "python -m benchmarks.stress.kill_resume",
    ),
    "leaks.json": ("memory over 2,000 steps", "../README.md", "python -m benchmarks.stress.leaks"),
    "folders_2_cores.json": (
        "10,000 photos in one run, its memory",
        "../README.md",
        "python -m benchmarks.speed.folders",
    ),
    "backends_2_cores.json": ("speed of each backend", "speed.md", "python -m benchmarks.speed.backends"),
    "engines_2_cores.json": (
        "exports for engines in OpenCV and ONNX Runtime",
        "engines.md",
        "python -m benchmarks.speed.engines",
    ),
    "huge_2_cores.json": ("pictures up to 100 megapixels", "speed.md", "python -m benchmarks.speed.huge"),
    "any_style.json": (
        "`any` on paintings that it has never seen",
        "training.md",
        "python -m benchmarks.experiments.any_style count=8",
    ),
    "many_styles.json": (
        "styles that share a network, beside each alone",
        "training.md",
        "python -m benchmarks.experiments.many_styles styles=[...]",
    ),
    "styleid.json": (
        "`any` on StyleID's public test set",
        "training.md",
        "python -m benchmarks.experiments.styleid photos=... paintings=...",
    ),
    "one_measure.json": (
        "networks for one style, many and any, on the same paintings",
        "training.md",
        "python -m benchmarks.experiments.any_style ckpts=[any,gallery,starry_night] count=8",
    ),
    "photorealism.json": (
        "`stylenet photo` beside plain colour transfer, on six pairs",
        "photorealism.md",
        "python -m benchmarks.experiments.photorealism",
    ),
    "noise.json": (
        "noise in a network trained without it",
        "notes.md",
        "python -m benchmarks.experiments.noise",
    ),
    "noise_films.json": (
        "flicker of films without noise, with standing noise and with carried noise",
        "notes.md",
        "python -m benchmarks.experiments.noise_films clip=...",
    ),
    "gallery.json": (
        "style, content and artefacts of the styles of gallery",
        "gallery.md",
        "python -m benchmarks.experiments.ruler count=40",
    ),
    "video_2_cores.json": (
        "flicker of films, seconds a frame",
        "notes.md",
        "python -m benchmarks.speed.video clip=...",
    ),
    "../gatys/gatys_effects.json": (
        "effect of each choice in Gatys' method",
        "gatys.md",
        "python -m benchmarks.experiments.gatys_effects",
    ),
}


def main() -> None:
    with replacing(DOCS / "results.md") as temp:
        temp.write_text(page(DOCS))
    report.plot_equivalent_steps(DOCS / "results" / FIGURE, merged(evaluations(DOCS)))
    print(DOCS / "results.md")


def evaluations(docs: Path) -> dict[str, dict[str, Any]]:
    """The evaluations among the result files, by file name."""
    found = {file.name: read_json(file) for file in sorted((docs / "results").glob("*.json"))}
    return {name: data for name, data in found.items() if isinstance(data, dict) and data.get("kind") == KIND}


def merged(found: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """All networks of several evaluations in one. A network that was measured at other sizes gets these; another of the
    same name has the file name added.
    """
    nets: dict[str, Any] = {}
    for file, results in found.items():
        for name, net in results["nets"].items():
            before = nets.get(name)
            if (
                before
                and file_of(net)
                and file_of(net) == file_of(before)
                and not net["sizes"].keys() & before["sizes"]
            ):
                nets[name] = {**before, "sizes": {**before["sizes"], **net["sizes"]}}
            else:
                nets[f"{name} ({Path(file).stem})" if before else name] = net
    return {"nets": nets}


def file_of(net: Mapping[str, Any]) -> str | None:
    """What tells the file of a network from all others; None for one that was measured without it."""
    return net.get("identity", {}).get("file")


def page(docs: Path) -> str:
    """docs/results.md."""
    found = evaluations(docs)
    parts = ["# Results", "Made by `python -m benchmarks.experiments.results` from the files in `docs/results`."]
    if (docs / "gallery.md").exists():
        parts += ["Pictures: [the gallery](gallery.md)."]
    for title, (heads, rows) in report.tables(merged(found)).items():
        if rows:
            parts += [f"## {title}", EXPLAINED[title], report.table(heads, rows)]
            parts += [f"![Objective against iterations](results/{FIGURE})"] if title in [*EXPLAINED][:1] else []
    if found:
        parts += ["## Source of these figures", *(origin(file, found[file]) for file in found)]
    others = [name for name in OTHERS if (docs / "results" / name).exists()]
    parts += ["## Other figures", report.table(["file", "content", "described in", "command"], [*map(other, others)])]
    return "\n\n".join(parts) + "\n"


def origin(file: str, results: Mapping[str, Any]) -> str:
    """Networks, machine and command of one evaluation."""
    nets = [f"{name} ({net['notes']}; painting {net['painting']})" for name, net in results["nets"].items()]
    about = results["about"]
    return f"`results/{file}`: {', '.join(nets)}. {report.circumstances(about)}\n\n    {about['command']}"


def other(name: str) -> list[str]:
    what, where, command = OTHERS[name]
    return [
        f"[{Path(name).name}]({posixpath.normpath(f'results/{name}')})",
        what,
        f"[{Path(where).name}]({where})",
        f"`{command}`",
    ]


if __name__ == "__main__":
    answering(main)
