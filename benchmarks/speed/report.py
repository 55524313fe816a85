"""The speed figures as a Markdown table, with the machine."""

from typing import Any


def markdown(figures: dict[str, Any]) -> str:
    """A line on the machine, and a table with one row for each thing that was measured."""
    train = figures["train"]
    rows = [_speeds(f"training{_batches(train)}, images/s", train)]
    rows.append(_speeds("the same, both with the common network and losses, images/s", train["same_work"]))
    rows.append(_kept(train))
    rows += _memory(train)
    rows += [_seconds(size, found) for size, found in figures["stylize"].items()]
    table = ["| | common recipe | ours | ours is faster by |", "|---|---|---|---|", *rows]
    return "\n".join([_machine(figures), "", *table, "", _footnote(train)]) + "\n"


def _machine(figures: dict[str, Any]) -> str:
    found, versions = figures["hardware"], figures["versions"]
    cpu = f"{found['cores']} cores of {found['cpu']} ({found['threads']} threads)"
    where = f"{found['gpu']}, {cpu}" if "gpu" in found else cpu
    return f"{where}; torch {versions['torch']}; ours in {figures['train']['precision']}, the common recipe in float32."


def _batches(train: dict[str, Any]) -> str:
    mine, theirs = train["batch"], train["common_batch"]
    other = "" if mine == theirs else f", the common recipe {theirs}"
    return f" ({train['size']} px, batch {mine}{other})"


def _speeds(name: str, found: dict[str, Any]) -> str:
    common, ours = (_median(found[who]["images_per_s"], found[who]["step_s"]) for who in ("common", "ours"))
    return f"| {name} | {common} | {ours} | {found['ratio']:.2f} |"


def _median(value: float, times: dict[str, Any]) -> str:
    """A speed with the least and the greatest of its measurements."""
    slow, fast = (value * times["median"] / times[end] for end in ("max", "min"))
    return f"{value:.3g} ({slow:.3g} to {fast:.3g})"


def _kept(train: dict[str, Any]) -> str:
    common, ratio = train["common_same_allocator"], train["ratio_same_allocator"]
    value = _median(common["images_per_s"], common["step_s"])
    return f"| the common recipe with our way of keeping freed memory, images/s | {value} | as above | {ratio:.2f} |"


def _memory(train: dict[str, Any]) -> list[str]:
    """A row for the process, and one for the device where that has memory of its own."""
    names = {"process_mb": "peak memory of the training process, MB", "device_mb": "peak memory on the GPU, MB"}
    common, ours = (train[who]["peak_memory"] for who in ("common", "ours"))
    return [f"| {name} | {common[key]:.0f} | {ours[key]:.0f} | |" for key, name in names.items() if key in ours]


def _seconds(size: str, found: dict[str, Any]) -> str:
    spans = [found[who]["picture_s"] for who in ("common", "ours")]
    common, ours = (f"{span['median']:.3g} ({span['min']:.3g} to {span['max']:.3g})" for span in spans)
    return f"| stylizing {size}x{size}, s | {common} | {ours} | {found['ratio']:.2f} |"


def _footnote(train: dict[str, Any]) -> str:
    first, found = train["ours"]["first_s"], train["arithmetic"]
    return (
        f"Medians (least to greatest). Our very first step took {first:.3g} s; it is in none of the figures. An image "
        f"of our training needs {found['operations_per_image_g']:.0f} Gflop: ours makes use of {found['share']:.0%} of "
        f"the {found['matrix_rate_g']:.3g} Gflop/s at which this machine multiplies large matrices."
    )
