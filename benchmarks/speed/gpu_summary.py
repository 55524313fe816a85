"""The results of benchmarks/speed/gpu.py as Markdown tables. Knows their files' contents and nothing else."""

from collections.abc import Sequence
from typing import Any

SHOWN = 10  # kernels of a profile; its file has more


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The machine, then a section for each part: how it ended, and its table."""
    machine = next((result["machine"] for result in results if "machine" in result), None)
    texts = ["# Measured on a GPU" if machine and "gpu" in machine else "# Measured on a CPU, in miniature"]
    texts += [described(machine)] if machine else []
    for result in results:
        reason = f": {result['reason']}" if result.get("reason") else ""
        seconds = f", {result['seconds']:g} of {result['limit_s']:g} s" if "limit_s" in result else ""
        texts.append(f"## {result['part'].replace('_', ' ')}")
        texts.append(f"{result.get('status', 'running').capitalize()}{reason}{seconds}.")
        if result["rows"]:
            texts.append(TABLES[result["part"]](result))
    return "\n\n".join(texts) + "\n"


def described(machine: dict[str, Any]) -> str:
    of_cpu = f"{machine['cores']} cores of {machine['cpu']}"
    where = f"{machine['gpu']}, {of_cpu}" if "gpu" in machine else of_cpu
    names = {"torch": machine["versions"].get("torch"), "CUDA": machine["cuda"], "Triton": machine["triton"]}
    names |= {"cuDNN": machine.get("cudnn"), "commit": machine["commit"]}
    return f"{where}; {', '.join(f'{name} {value}' for name, value in names.items() if value)}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def spread(times: dict[str, Any], scale: float = 1000) -> str:
    """Milliseconds: the median, and from the least to the greatest."""
    median, least, most = (f"{times[name] * scale:.3g}" for name in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def tests(result: dict[str, Any]) -> str:
    said = [(row["test"], row["outcome"], f"{row['seconds']:g}", line(row)) for row in result["rows"]]
    return table(("test", "outcome", "s", ""), said)


def line(row: dict[str, Any]) -> str:
    lines = str(row.get("error", "")).strip().splitlines()
    return lines[-1][:150] if lines else ""


def passes(result: dict[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        what = (f"{row['style']}, {row['width']}x{row['height']}", row.get("way", "all"))
        if "error" in row:
            rows.append((*what, row["error"], "", "", ""))
            continue
        differs = f"{row['mean_difference_levels']:.3f}" if "mean_difference_levels" in row else ""
        times = f"{row['ratio']:.2f}" if "ratio" in row else "1"
        rows.append((*what, spread(row["seconds"]), times, differs, f"{row['frames_per_s']:.4g}"))
    return table(("picture", "way", "ms", "times", "mean difference, levels of 255", "frames/s"), rows)


def training(result: dict[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        if "error" in row:
            rows.append((row["what"], row["error"], "", "", ""))
            continue
        speeds = [f"{row[who]['images_per_s']:.4g}, {spread(row[who]['step_s'])} ms" for who in ("common", "ours")]
        share = f"{row['share']:.1%}" if "share" in row else ""
        rows.append((row["what"], *speeds, f"{row['ratio']:.2f}", share))
    head = ("images/s, and a step", "common recipe", "ours", "ours is faster by", "share of the matrix rate")
    size = f"Crops of {result['size'] + result['margin']} px ({result['size']} in the loss), batch {result['batch']}; "
    rate = f"{result['matrix_rate_t']:.4g} Tflop/s in large matrix products, {result['operations_per_image_g']:.4g} "
    return f"{size}{rate}Gflop an image.\n\n{table(head, rows)}"


def profile(result: dict[str, Any]) -> str:
    texts = []
    for row in result["rows"]:
        head = (f"{row['what']}: {row['kind']}", "calls", "ms", "share")
        most = [
            (f"`{one['name'][:90]}`", str(one["calls"]), f"{one['ms']:.3g}", f"{one['ms'] / (row['ms'] or 1):.0%}")
            for one in row["most"][:SHOWN]
        ]
        total = (f"all, {row['launches']} launches", str(row["calls"]), f"{row['ms']:.3g}", "")
        texts.append(table(head, [total, *most]))
    return "\n\n".join(texts)


def real_training(result: dict[str, Any]) -> str:
    names = ("minutes", "batch", "steps", "images_per_s", "least", "most", "first_loss", "last_loss", "seconds")
    rows = [tuple(f"{row[name]:g}" if name in row else "" for name in names) for row in result["rows"]]
    return table([name.replace("_per_s", "/s").replace("_", " ") for name in names], rows)


def film(result: dict[str, Any]) -> str:
    width, height = result["size"]
    rows = [
        (row["stage"], f"{1000 * row['seconds_per_frame']:.4g}", f"{1 / row['seconds_per_frame']:.4g}")
        for row in result["rows"]
    ]
    head = (f"{result['style']}, {result['frames']} frames of {width}x{height}", "ms a frame", "frames/s")
    return table(head, rows)


TABLES = {"tests": tests, "passes": passes, "training": training, "profile": profile}
TABLES |= {"real_training": real_training, "film": film}
