"""Stylization speed: our backends against the common network in eager float32, and the effect of bf16.

    python -m benchmarks.speed.backends [repeats=7] [sizes=512,1024] [photo=castle.jpg] [output=backends.json] \
        [sheet=a.jpg]
    python -m benchmarks.speed.backends sizes=256,512,1024,2048,4096 batch=1 output=backends_gpu.json    # with a GPU

The networks have the same weights and process the same picture, in turns in one process. A time is a median, a ratio
the common network's time divided by ours. The common network runs with glibc's default handling of freed memory, ours
with that of scripts/stylize.py. ``start_up`` is a separate process: from the command to the picture, for a photo of
512 px. ``batch``: copies of the picture per pass; seconds are for all of them. ``sheet``: a picture of bf16's effect.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.experiments.trainings import answering, options, write_results
from benchmarks.speed.common_recipe import CommonNet
from benchmarks.speed.measuring import Clock, Switches, Work, as_at_home, enough, without_tf32
from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import open_rgb, to_pil, to_tensor
from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.pytorch_examples import from_pytorch_examples
from stylenet.nets.registry import build
from stylenet.runtime import backends
from stylenet.runtime.options import choose_device
from stylenet.system.atomic import replacing
from stylenet.system.memory import keep_freed_memory
from stylenet.system.timing import versions

OPTIONS: dict[str, Any] = {
    "repeats": 7,
    "sizes": "512,1024",
    "batch": 1,
    "device": "auto",
    "photo": str(PHOTOS / "castle.jpg"),
    "output": "",
    "sheet": "",
}
OURS = {
    "cpu": [("torch", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"), ("torch", "bf16"), ("openvino", "bf16")],
    "cuda": [("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16")],
}
STYLE = "starry_night"
ITSELF = "the network itself"
WARM_UPS = 4  # passes of each before the clock runs: on a GPU the third is recorded
IN_A_ROW = {"cpu": 1, "cuda": 10}  # passes to a measurement, or fewer that last for LONG_ENOUGH
LONG_ENOUGH = 0.25  # seconds
BRIGHTER = 32  # how much the sheet enlarges differences
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stylize.py"


Way = Callable[[Tensor], Tensor]


def common_net() -> CommonNet:
    """The common network with a trained style's weights, without its noise; in place of a sigmoid its tangent, in the
    last layer.
    """
    net, _ = checkpoint.load(STYLE)
    config: Any = net.config
    common = CommonNet(config["widths"], config["blocks"]).eval().requires_grad_(False)
    last = "deconv3.conv2d"
    trained = [p for name, p in common.named_parameters() if name.startswith(last) or not name.endswith("conv2d.bias")]
    for parameter in common.parameters():
        parameter.zero_()
    mine = [parameter for name, parameter in net.named_parameters() if not name.startswith("noise.")]
    for theirs, ours in zip(trained, mine, strict=True):
        theirs.copy_(ours.detach().reshape(theirs.shape))
    common.get_parameter("conv1.conv2d.weight").div_(255)
    common.get_parameter(f"{last}.weight").mul_(255 / 4)
    common.get_parameter(f"{last}.bias").mul_(255 / 4).add_(255 / 2)
    return common


def passes(common: CommonNet, device: torch.device) -> dict[str, Way]:
    """Each way to compute the same picture in [0, 1]."""
    spec, state = from_pytorch_examples(common.state_dict())
    net = build(spec["name"], **spec["args"]).eval()
    net.load_state_dict(state)
    net, style, kinds = net.to(device), checkpoint.load(STYLE, device)[0], OURS[device.type]

    ours = {f"{name} {precision}": started(net, device, name, precision) for name, precision in kinds}
    return ours | of_style(STYLE, style, device, kinds)


def of_style(called: str, net: StyleNet, device: torch.device, kinds: list[tuple[str, str]]) -> dict[str, Way]:
    """The ways of a trained style: by the backends and precisions ``kinds``, and as the network itself."""
    ways = {f"{called}, {name} {precision}": started(net, device, name, precision) for name, precision in kinds}
    return ways | {f"{called}, {ITSELF}": lambda picture: net(picture)}


def started(net: StyleNet, device: torch.device, name: str, precision: str) -> Way:
    run = backends.start(net, device, name, precision)
    return lambda picture: run(picture, None)


def measured(picture: Tensor, common: CommonNet, ways: dict[str, Way], repeats: int, style: str = STYLE) -> Any:
    """Seconds, ratios and differences on one picture. ``ways`` of the style ``style`` are compared with its network
    itself, the others with the common network; both in float32 without TF32.
    """
    home, clock = Switches(), Clock(picture.device)
    theirs = Work(lambda: common(picture * 255), clock, 1)
    works = {name: Work(lambda way=way: way(picture), clock, 1) for name, way in ways.items()}
    with as_at_home(home):
        with without_tf32():
            expected = (common(picture * 255) / 255).clamp(0, 1)
        theirs.work()
        theirs.times.count = in_a_row(theirs)
    keep_freed_memory()
    with without_tf32():
        itself = ways[f"{style}, {ITSELF}"](picture)
    outputs = {name: [way(picture) for _ in range(WARM_UPS)][-1] for name, way in ways.items()}
    for work in works.values():
        work.times.count = in_a_row(work)
    for turn in range(repeats):
        with as_at_home(home):
            theirs.measure()
        for work in works.values():
            work.measure()
        print(f"  {turn + 1} of {repeats}", file=sys.stderr, flush=True)
    figures: dict[str, Any] = {"common, eager fp32": {"seconds": theirs.times.figures()}}
    for name, work in works.items():
        difference = (outputs[name] - (itself if name.startswith(style) else expected)).abs()
        figures[name] = {
            "seconds": work.times.figures(),
            "ratio": round(theirs.times.median / work.times.median, 3),
            "largest_difference": float(f"{float(difference.max()):.3g}"),
            "mean_difference_levels": round(float(difference.mean()) * 255, 4),
        }
    return figures


def in_a_row(work: Work) -> int:
    """How many passes make a measurement of this work."""
    most = IN_A_ROW[work.clock.device.type]
    return most if most == 1 else min(most, enough(LONG_ENOUGH, work.clock.time(work.work)))


def new_size(side: int) -> dict[str, Any]:
    """OpenVINO with open sizes: the first pass of a size it has not seen, and the ones after it."""
    cpu = torch.device("cpu")
    run = backends.start(checkpoint.load(STYLE)[0], cpu, "openvino", "fp32")
    clock, firsts, laters = Clock(cpu), [], []
    for more in range(5):
        picture = torch.rand(1, 3, side + 8 * more, side)
        firsts.append(clock.time(lambda: run(picture, None)))  # noqa: B023
        laters.append(min(clock.time(lambda: run(picture, None)) for _ in range(3)))  # noqa: B023
    return {"first_s": round(statistics.median(firsts), 4), "later_s": round(statistics.median(laters), 4)}


def start_up(photo: Tensor, repeats: int) -> dict[str, float]:
    """Seconds from the command to the picture, medians; the runtimes' graphs are in the cache."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photo.png"
        to_pil(photo).save(source)
        script = [sys.executable, str(SCRIPT), f"ckpt={STYLE}", f"input={source}"]
        commands = {"import torch": [sys.executable, "-c", "import torch"]}
        commands |= {name: [*script, f"backend={name}", f"output={folder}/{name}.png"] for name in backends.BACKENDS}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats + 1):
            for name, command in commands.items():
                begin = time.perf_counter()
                subprocess.run([*command, *(["overwrite=true"] if name in backends.BACKENDS else [])], check=True)
                times[name].append(time.perf_counter() - begin)
    return {name: round(statistics.median(seen[1:]), 3) for name, seen in times.items()}  # the first turn warms up


@torch.inference_mode()
def save_sheet(path: Path, photo: Image.Image, side: int = 420) -> None:
    """The middle of a picture in float32 and in bf16, each pixel one, and what is between them, enlarged."""
    net, cpu, picture = checkpoint.load(STYLE)[0], torch.device("cpu"), to_tensor(photo.resize((1024, 1024)))
    plain, half = (backends.start(net, cpu, "openvino", precision)(picture, None) for precision in ("fp32", "bf16"))
    between = ((half - plain).abs() * BRIGHTER).clamp(0, 1)
    parts = [one[..., 300 : 300 + side, 300 : 300 + side] for one in (plain, half, between)]
    with replacing(path) as temp:
        to_pil(torch.cat(parts, 3)).save(temp, "JPEG", quality=90)


@torch.inference_mode()
def main() -> None:
    chosen = options(OPTIONS)
    device = choose_device(chosen["device"])
    sizes = [int(size) for size in str(chosen["sizes"]).split(",")]
    if chosen["sheet"]:
        save_sheet(Path(chosen["sheet"]), open_rgb(chosen["photo"]))
    common = common_net().to(device)
    ways = passes(common, device)
    figures: dict[str, Any] = {"style": STYLE, "sizes": {}}
    for size in sizes:
        print(f"{size} px", file=sys.stderr, flush=True)
        picture = to_tensor(open_rgb(chosen["photo"]).resize((size, size))).to(device).repeat(chosen["batch"], 1, 1, 1)
        figures["sizes"][str(size)] = found = measured(picture, common, ways, chosen["repeats"])
        for name, row in found.items():
            ratio = f"x {row['ratio']:.2f}  mean {row['mean_difference_levels']:.3f} levels" if "ratio" in row else ""
            print(f"{name:32} {row['seconds']['median']:7.3f} s  {ratio}")
    made_by = versions()
    if device.type == "cpu":
        figures["openvino_new_size_512"] = new_size(512)
        figures["start_up_512_s"] = start_up(to_tensor(open_rgb(chosen["photo"]).resize((512, 512))), chosen["repeats"])
        print(figures["openvino_new_size_512"], figures["start_up_512_s"])
        made_by |= {name: version(name) for name in ("openvino", "onnxruntime")}
    if chosen["output"]:
        write_results(Path(chosen["output"]), chosen, **figures, versions=made_by)


if __name__ == "__main__":
    answering(main)
