"""An evaluation's figures for people: tables in Markdown, plots, a sheet of pictures. Measures nothing itself.

What it reads is the JSON file that ``survey.py`` writes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylenet.images.image_io import to_pil
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError

GAP = 4  # pixels between the pictures of a sheet
LABEL = 20  # pixels, above each row
STARTS = {"content": "tab:blue", "noise": "tab:orange"}
ARTEFACTS = {  # of a summary, and their heads; "photos" are those of the measure before
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
    """All tables, with the machine, the versions and the command above them."""
    parts = [f"    {results['about']['command']}"] if "command" in results["about"] else []
    parts += [circumstances(results["about"])]
    for title, (heads, rows) in tables(results).items():
        if rows:
            parts += [f"**{title}**", table(heads, rows)]
    return "\n\n".join(parts) + "\n"


def circumstances(about: Mapping[str, Any]) -> str:
    """Where and with what the figures were made, in a line."""
    machine, versions = about["hardware"], about["versions"]
    cpu = f"{machine['threads']} threads on {machine['cores']} cores of {machine['cpu']}"
    where = f"{machine['gpu']} ({cpu})" if "gpu" in machine else cpu
    return (
        f"{where}; torch {versions['torch']}, Python {versions['python']}, stylenet {versions['stylenet']}, "
        f"commit {about['commit'] or 'unknown'}, seed {about['seed']}."
    )


def tables(results: Mapping[str, Any]) -> dict[str, tuple[list[str], Rows]]:
    """By title: the heads and the rows, one for each network and size."""
    found = [(name, size, measured) for name, size, measured in sizes(results)]
    layers = [*found[0][2]["summary"]["style_by_layer"]] if found else []
    starts = ["from the content", "from noise"]
    artefacts = [name for name in ARTEFACTS if any(name in measured["summary"] for *_, measured in found)]
    worth = ["its objective", *starts, "Gatys to the same, s", "a pass, s", "times faster"]
    return {
        "One pass in iterations of L-BFGS": (
            ["style", "size", *worth],
            [[name, size, *_worth(measured)] for name, size, measured in found if measured["summary"]["worth"]],
        ),
        "Style, content, likeness": (
            ["style", "size", "photos", "style", *layers, "content", "SSIM", "LPIPS", "CFSD", "ArtFID (VGG)"],
            [[name, size, *_quality(measured)] for name, size, measured in found],
        ),
        "Artefacts: mean (worst)": (
            ["style", "size", *(ARTEFACTS[name] for name in artefacts)],
            [[name, size, *_artefacts(measured["summary"], artefacts)] for name, size, measured in found],
        ),
        "Seconds, median (least to greatest)": (
            ["style", "size", "a pass", "with decoding and encoding"],
            [[name, size, *_seconds(measured["speed"])] for name, size, measured in found if "speed" in measured],
        ),
    }


def table(heads: Sequence[str], rows: Rows) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace("| --- ", "|---").replace("---|", "---|")


def sizes(results: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(network, size, what was measured), as far as there is something."""
    for name, net in results["nets"].items():
        for size, measured in sorted(net["sizes"].items(), key=lambda item: int(item[0])):
            if "summary" in measured:
                yield name, size, measured


def iterations(worth: Mapping[str, Any]) -> str:
    """A worth in words: the median, and in brackets the least and greatest."""
    if worth["median"] is None:
        return f"more than {worth['limit']}"
    most = f"over {worth['limit']}" if worth["max"] is None else f"{worth['max']:.0f}"
    return f"**{worth['median']:.0f}** ({worth['min']:.0f} to {most})"


def _worth(measured: Mapping[str, Any]) -> list[str]:
    summary = measured["summary"]
    worths = [iterations(summary["worth"][start]) if start in summary["worth"] else "" for start in STARTS]
    seconds = summary["worth"].get("content", {}).get("seconds")
    once = measured["speed"]["pass_s"]["median"] if "speed" in measured else None
    faster = f"{seconds / once:.0f}" if seconds and once else ""
    return [f"{summary['objective']:.3f}", *worths, _number(seconds), _number(once), faster]


def _quality(measured: Mapping[str, Any]) -> list[str]:
    found = measured["summary"]
    by_layer = [f"{value:.3f}" for value in found["style_by_layer"].values()]
    likeness = [f"{found[name]:.3f}" if name in found else "" for name in ("ssim", "lpips", "cfsd")]
    artfid = _number(measured.get("artfid", {}).get("artfid_vgg"))
    return [str(found["photos"]), f"{found['style']:.3f}", *by_layer, f"{found['content']:.3f}", *likeness, artfid]


def _artefacts(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """A cell for each name, empty for a measure that figures of an older version lack."""
    return [f"{found[name]['mean']:.2f} ({found[name]['worst']:.2f})" if name in found else "" for name in names]


def _seconds(speed: Mapping[str, Any]) -> list[str]:
    return [f"{t['median']:.3g} ({t['min']:.3g} to {t['max']:.3g})" for t in (speed["pass_s"], speed["file_s"])]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


# --- plots


def plot_worth(path: Path, results: Mapping[str, Any]) -> bool:
    """Johnson's figure 5: the objective of L-BFGS, iteration by iteration, and that of one pass; a row for each network
    and a column for each size, medians with their quartiles. False where no worth was measured.
    """
    panels = [(name, size, measured) for name, size, measured in sizes(results) if any(measured["races"].values())]
    if not panels:
        return False
    names, columns = list(dict.fromkeys(p[0] for p in panels)), sorted({p[1] for p in panels}, key=int)
    pyplot = _pyplot()
    shape = {"figsize": (4.2 * len(columns), 3.2 * len(names)), "squeeze": False, "layout": "constrained"}
    figure, grid = pyplot.subplots(len(names), len(columns), **shape)
    for axes in grid.flat:
        axes.set_visible(False)
    for name, size, measured in panels:
        axes = grid[names.index(name), columns.index(size)]
        axes.set_visible(True)
        _panel(axes, measured)
        axes.set(title=f"{name}, {size} px", xlabel="iterations of L-BFGS", ylabel="objective", yscale="log")
    grid[names.index(panels[0][0]), columns.index(panels[0][1])].legend(frameon=False)
    _save(figure, path)
    return True


def _panel(axes: Any, measured: Mapping[str, Any]) -> None:
    import numpy

    goals = [race["goal"] for runs in measured["races"].values() for race in runs.values()]
    low, goal, high = numpy.quantile(goals, [0.25, 0.5, 0.75])
    axes.axhline(goal, color="black", label="one pass of the network")
    axes.axhspan(low, high, color="grey", alpha=0.2, linewidth=0)
    for start, runs in measured["races"].items():
        curves = [race["curve"] for race in runs.values()]
        if not curves:
            continue
        longest = max(map(len, curves))  # those that are there stay there: below the line they count the same
        filled = numpy.array([curve + curve[-1:] * (longest - len(curve)) for curve in curves])
        low, middle, high = numpy.quantile(filled, [0.25, 0.5, 0.75], axis=0)
        axes.plot(middle, color=STARTS[start], label=f"Gatys, from {'the content' if start == 'content' else start}")
        axes.fill_between(range(longest), low, high, color=STARTS[start], alpha=0.2, linewidth=0)
    axes.grid(alpha=0.3)


def plot_tradeoff(path: Path, results: Mapping[str, Any]) -> bool:
    """Style against content, a point for each network and size. False for fewer than two networks."""
    if len(results["nets"]) < 2:
        return False
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(5.5, 4.5), layout="constrained")
    for name in results["nets"]:
        found = [(size, measured["summary"]) for net, size, measured in sizes(results) if net == name]
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
    """A picture of pictures ``(1, 3, h, w)``, all of one size: each row under its name."""
    font = ImageFont.load_default(LABEL - 6)
    h, w = next(iter(rows.values()))[0].shape[-2:]
    columns = max(map(len, rows.values()))
    canvas = Image.new("RGB", (columns * (w + GAP) - GAP, len(rows) * (h + LABEL)), "white")
    for k, (name, pictures) in enumerate(rows.items()):
        top = k * (h + LABEL)
        ImageDraw.Draw(canvas).text((2, top + 2), name, fill="black", font=font)
        for column, picture in enumerate(pictures):
            canvas.paste(to_pil(picture.float().cpu()), (column * (w + GAP), top + LABEL))
    with replacing(path) as temp:
        canvas.save(temp, quality=92)
