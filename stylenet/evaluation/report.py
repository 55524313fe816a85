"""Reports of an evaluation: tables in Markdown, plots, a sheet of pictures. Measures nothing itself.

Its input is the JSON file of ``survey.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from stylenet.images.contact_sheet import ContactSheet
from stylenet.images.image_io import to_pil
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

GAP = 4  # pixels between the pictures of a sheet
LABEL = 20  # pixels, above each row
STARTS = {"content": "tab:blue", "noise": "tab:orange"}
ARTEFACTS = {  # key of a summary: column title; "photos" refers to the preceding measure
    "grid": "grid",
    "grid_of_photos": "photos",
    "dots": "dots",
    "dots_of_photos": "photos",
    "weave": "weave",
    "weave_of_photos": "photos",
    "flat": "flat",
    "flat_of_photos": "photos",
    "border": "border",
    "bands": "bands",
    "out_of_range": "out of range",
    "saturated": "black or white",
    "saturated_of_photos": "photos",
}
Rows = list[list[str]]


# --- tables


def markdown(results: Mapping[str, Any]) -> str:
    """All tables, preceded by the command, the machine and the versions."""
    parts = [f"    {results['about']['command']}"] if "command" in results["about"] else []
    parts += [circumstances(results["about"])]
    for title, (heads, rows) in tables(results).items():
        if rows:
            parts += [f"**{title}**", table(heads, rows)]
    return "\n\n".join(parts) + "\n"


def circumstances(about: Mapping[str, Any]) -> str:
    """Machine, versions, commit and seed of the figures in one line."""
    machine, versions = about["hardware"], about["versions"]
    cpu = f"{machine['threads']} threads on {machine['cores']} cores of {machine['cpu']}"
    where = f"{machine['gpu']} ({cpu})" if "gpu" in machine else cpu
    return (
        f"{where}; torch {versions['torch']}, Python {versions['python']}, stylenet {versions['stylenet']}, "
        f"commit {about['commit'] or 'unknown'}, seed {about['seed']}."
    )


def tables(results: Mapping[str, Any]) -> dict[str, tuple[list[str], Rows]]:
    """Column titles and rows (one per network and size) by table title."""
    found = [*sizes(results)]
    layers = [*found[0][2]["summary"]["style_by_layer"]] if found else []
    starts = ["from the content", "from noise"]
    artefacts = [name for name in ARTEFACTS if any(name in figures["summary"] for *_, figures in found)]
    steps = ["its objective", *starts, "Gatys to the same, s", "a pass, s", "times faster"]
    return {
        "One pass in iterations of L-BFGS": (
            ["style", "size", *steps],
            [[name, size, *_equivalent_steps(figures)] for name, size, figures in found if figures["summary"]["worth"]],
        ),
        "Style, content, similarity": (
            ["style", "size", "photos", "style", *layers, "content", "SSIM", "LPIPS", "CFSD", "ArtFID (VGG)"],
            [[name, size, *_quality(figures)] for name, size, figures in found],
        ),
        "Artefacts: mean (worst)": (
            ["style", "size", *(ARTEFACTS[name] for name in artefacts)],
            [[name, size, *_artefacts(figures["summary"], artefacts)] for name, size, figures in found],
        ),
        "Seconds, median (least to greatest)": (
            ["style", "size", "a pass", "with decoding and encoding"],
            [[name, size, *_seconds(figures["speed"])] for name, size, figures in found if "speed" in figures],
        ),
    }


def table(heads: Sequence[str], rows: Rows) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace("| --- ", "|---").replace("---|", "---|")


def sizes(results: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(network, size, figures) of all that has a summary."""
    for name, net in results["nets"].items():
        for size, figures in sorted(net["sizes"].items(), key=lambda item: int(item[0])):
            if "summary" in figures:
                yield name, size, figures


def iterations(steps: Mapping[str, Any]) -> str:
    """Equivalent steps as text: the median, with minimum and maximum in brackets."""
    if steps["median"] is None:
        return f"more than {steps['limit']}"
    most = f"over {steps['limit']}" if steps["max"] is None else f"{steps['max']:.0f}"
    return f"**{steps['median']:.0f}** ({steps['min']:.0f} to {most})"


def _equivalent_steps(figures: Mapping[str, Any]) -> list[str]:
    summary = figures["summary"]
    steps = [iterations(summary["worth"][start]) if start in summary["worth"] else "" for start in STARTS]
    seconds = summary["worth"].get("content", {}).get("seconds")
    once = figures["speed"]["pass_s"]["median"] if "speed" in figures else None
    faster = f"{seconds / once:.0f}" if seconds and once else ""
    return [f"{summary['objective']:.3f}", *steps, _number(seconds), _number(once), faster]


def _quality(figures: Mapping[str, Any]) -> list[str]:
    found = figures["summary"]
    by_layer = [f"{value:.3f}" for value in found["style_by_layer"].values()]
    similarities = [f"{found[name]:.3f}" if name in found else "" for name in ("ssim", "lpips", "cfsd")]
    artfid = _number(figures.get("artfid", {}).get("artfid_vgg"))
    return [str(found["photos"]), f"{found['style']:.3f}", *by_layer, f"{found['content']:.3f}", *similarities, artfid]


def _artefacts(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """One cell per name; empty if figures of an older version lack the measure."""
    return [f"{found[name]['mean']:.2f} ({found[name]['worst']:.2f})" if name in found else "" for name in names]


def _seconds(speed: Mapping[str, Any]) -> list[str]:
    return [f"{t['median']:.3g} ({t['min']:.3g} to {t['max']:.3g})" for t in (speed["pass_s"], speed["file_s"])]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


# --- plots


def plot_equivalent_steps(path: Path, results: Mapping[str, Any]) -> bool:
    """Johnson's figure 5: the objective of L-BFGS by iteration, and that of one pass. One row per network, one column
    per size; medians with quartiles. False if no run of L-BFGS was measured.
    """
    panels = [(name, size, figures) for name, size, figures in sizes(results) if any(figures["races"].values())]
    if not panels:
        return False
    names, columns = list(dict.fromkeys(p[0] for p in panels)), sorted({p[1] for p in panels}, key=int)
    pyplot = _pyplot()
    shape = {"figsize": (4.2 * len(columns), 3.2 * len(names)), "squeeze": False, "layout": "constrained"}
    figure, grid = pyplot.subplots(len(names), len(columns), **shape)
    for axes in grid.flat:
        axes.set_visible(False)
    for name, size, figures in panels:
        axes = grid[names.index(name), columns.index(size)]
        axes.set_visible(True)
        _panel(axes, figures)
        axes.set(title=f"{name}, {size} px", xlabel="iterations of L-BFGS", ylabel="objective", yscale="log")
    grid[names.index(panels[0][0]), columns.index(panels[0][1])].legend(frameon=False)
    _save(figure, path)
    return True


def _panel(axes: Any, figures: Mapping[str, Any]) -> None:
    import numpy

    goals = [run["goal"] for runs in figures["races"].values() for run in runs.values()]
    low, goal, high = numpy.quantile(goals, [0.25, 0.5, 0.75])
    axes.axhline(goal, color="black", label="one pass of the network")
    axes.axhspan(low, high, color="grey", alpha=0.2, linewidth=0)
    for start, runs in figures["races"].items():
        curves = [run["curve"] for run in runs.values()]
        if not curves:
            continue
        longest = max(map(len, curves))  # finished runs keep their last value, below the line
        filled = numpy.array([curve + curve[-1:] * (longest - len(curve)) for curve in curves])
        low, middle, high = numpy.quantile(filled, [0.25, 0.5, 0.75], axis=0)
        axes.plot(middle, color=STARTS[start], label=f"Gatys, from {'the content' if start == 'content' else start}")
        axes.fill_between(range(longest), low, high, color=STARTS[start], alpha=0.2, linewidth=0)
    axes.grid(alpha=0.3)


def plot_tradeoff(path: Path, results: Mapping[str, Any]) -> bool:
    """Style against content, one point per network and size. False for fewer than two networks."""
    if len(results["nets"]) < 2:
        return False
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(5.5, 4.5), layout="constrained")
    for name in results["nets"]:
        found = [(size, figures["summary"]) for net, size, figures in sizes(results) if net == name]
        axes.plot([x["content"] for _, x in found], [x["style"] for _, x in found], "o-", label=name)
        for size, x in found:
            axes.annotate(size, (x["content"], x["style"]), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.set(xlabel="content (0: the photo)", ylabel="style (0: the painting)", xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)
    return True


def _pyplot() -> Any:
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise UserError("The plots need matplotlib: pip install 'stylenet[evaluate]'.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temp:
        figure.savefig(temp, dpi=110, metadata={"Software": None})
    _pyplot().close(figure)


# --- pictures


def sheet(path: Path, rows: Mapping[str, Sequence[Tensor]]) -> None:
    """A contact sheet of pictures ``(1, 3, h, w)`` of equal size: each row below its name."""
    h, w = next(iter(rows.values()))[0].shape[-2:]
    page = ContactSheet([w] * max(map(len, rows.values())), [h] * len(rows), gap=GAP, above=LABEL)
    for row, (name, pictures) in enumerate(rows.items()):
        page.head(row, name)
        for column, picture in enumerate(pictures):
            page.place(row, column, to_pil(picture.float().cpu()))
    with replacing(path) as temp:
        page.page.save(temp, quality=92)
