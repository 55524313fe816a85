"""The parts of benchmarks/speed/gpu.py, each run as a process of its own: ``python -m benchmarks.speed.gpu_parts``.

Each function of PARTS measures one thing and adds rows to its result as it goes. Packages are imported where they are
needed. Knows nothing about budgets and other parts.
"""

import itertools
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.gpu_result import ROOT, Result, need
from benchmarks.speed.gpu_training import plan_of, real_training, training
from benchmarks.speed.measuring import Clock, Profile, Switches, as_at_home, short
from stylenet.system.errors import UserError, one_line
from stylenet.system.memory import keep_freed_memory

LIGHT = "the_scream_lite"
GRACE = 15  # seconds after its limit at which a part ends itself, should nothing else end it


# --- tests


def tests(result: Result) -> None:
    """The tests that are skipped without a GPU. Without one they are skipped here, too."""
    need("pytest")
    from benchmarks.speed import gpu_tests

    told = gpu_tests.Told(lambda test: result.keep(at_work=test), lambda row: result.add(**row))
    gpu_tests.run(ROOT / "tests", told)
    result.keep(at_work=None)
    rows = result.data["rows"]
    if failed := [row["test"] for row in rows if row["outcome"] == "failed"]:
        raise UserError(f"{len(failed)} of {len(rows)} tests failed: {', '.join(failed)[:300]}")


# --- passes


def passes(result: Result) -> None:
    """Our passes against the common network in eager float32, in turns, by size; the light network at 3840x2160."""
    from benchmarks.speed import backends

    sides = (32,) if result.tiny else (256, 512, 1024, 2048, 4096)
    works = [(backends.STYLE, side, side) for side in sides]
    works += [(LIGHT, 64, 36) if result.tiny else (LIGHT, 3840, 2160)]
    common = backends.common_net().to(result.device)
    styles = {name: ways_of(name, result) for name in (backends.STYLE, LIGHT)}
    result.keep(switches={"cudnn_tf32": Switches().tf32, "matmul": Switches().matmul})
    each = 0.0  # seconds that a pixel took, all ways and turns together
    for style, width, height in sorted(works, key=lambda work: work[1] * work[2]):
        about = {"style": style, "width": width, "height": height}
        if not result.has(each * width * height):
            result.add(**about, error="left out for want of time")
            continue
        begin = time.monotonic()
        picture = photo(width, height).to(result.device)
        try:
            with torch.inference_mode():
                ways = that_work(styles[style], picture, about, result)
                found = backends.measured(picture, common, ways, 1 if result.tiny else 7, style)
        except torch.OutOfMemoryError as error:
            result.add(**about, error=one_line(error)[:200])
            torch.cuda.empty_cache()
            continue
        for way, figures in found.items():
            rate = {"frames_per_s": short(1 / figures["seconds"]["median"])}
            result.add(**about, way=way.removeprefix(f"{style}, "), **figures, **rate)
        each = (time.monotonic() - begin) / (width * height)


def ways_of(name: str, result: Result) -> dict[str, Any]:
    """``backends.start`` of a trained style in each precision that this device has, and the network itself."""
    from benchmarks.speed import backends
    from stylenet.nets import checkpoint

    net = checkpoint.load(name, result.device)[0]
    precisions = [one for backend, one in backends.OURS[result.device.type] if backend == "torch"]
    return backends.of_style(name, net, result.device, [("torch", precision) for precision in precisions])


def that_work(ways: dict[str, Any], picture: torch.Tensor, about: dict[str, Any], result: Result) -> dict[str, Any]:
    """The ways that do not fail on this picture; those that do are said in rows of their own."""
    good = {}
    for name, way in ways.items():
        try:
            way(picture)
            good[name] = way
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a kernel can fail in any way
            result.add(**about, way=name.partition(", ")[2], error=one_line(error)[:300])
    return good


def photo(width: int, height: int) -> torch.Tensor:
    """A bundled photo, (1, 3, height, width) in [0, 1]."""
    from stylenet.evaluation.metrics import PHOTOS
    from stylenet.images.image_io import open_rgb, to_tensor

    return to_tensor(open_rgb(PHOTOS / "castle.jpg").resize((width, height)))


# --- profiles


def profile(result: Result) -> None:
    """Kernels by time, and launches: a pass of ours and the common network's, a training step of ours and theirs."""
    from benchmarks.speed import backends

    half = ("torch", "bf16" if result.device.type == "cuda" else "fp32")
    big = (64, 36) if result.tiny else (3840, 2160)
    side = 48 if result.tiny else 1024
    for style, size in ((backends.STYLE, (side, side)), (LIGHT, big)):
        net = backends.checkpoint.load(style, result.device)[0]
        run, picture = backends.started(net, result.device, *half), photo(*size).to(result.device)
        where = f"{size[0]}x{size[1]}"
        profiled(result, f"pass of {style} at {where}, {half[1]}", lambda: run(picture))  # noqa: B023
    common, picture = backends.common_net().to(result.device), photo(side, side).to(result.device)
    with as_at_home(Switches()):
        profiled(result, f"pass of the common network at {side}x{side}, fp32", lambda: common(picture * 255))
    plan = plan_of(result)
    from benchmarks.speed.training_speed import trained

    mine, precision = trained(plan, plan.train, 1, lambda times: None, profiled=True, ready=True)
    assert mine.profile is not None
    add_profile(result, f"training step of ours, batch {plan.common_batch}, {precision}", mine.profile)
    recipe = plan.common()
    recipe.batches = itertools.repeat(next(recipe.batches).to(result.device))
    with as_at_home(Switches()):
        profiled(result, f"training step of the common recipe, batch {plan.common_batch}, fp32", recipe.step, False)


def profiled(result: Result, what: str, work: Callable[[], Any], inference: bool = True) -> None:
    """Profile ``work`` once it has settled."""
    clock, seen = Clock(result.device), Profile(result.device)
    keep_freed_memory()
    with torch.inference_mode(inference):
        for _ in range(4):
            work()
        clock.now()
        seen.start()
        work()
        clock.now()
        seen.stop()
    add_profile(result, what, seen)


def add_profile(result: Result, what: str, seen: Profile) -> None:
    total, rows = sum(row["ms"] for row in seen.kernels), seen.kernels[:30]
    calls = sum(row["calls"] for row in seen.kernels)
    kind = "kernels" if seen.on_gpu else "operators"
    result.add(what=what, kind=kind, launches=seen.launches, calls=calls, ms=short(total), most=rows)


# --- a film


def film(result: Result) -> None:
    """A film in 4K through the light network with temporal=0.6, stage by stage and from file to file."""
    need("av", "cv2")
    import stylenet
    from benchmarks.speed import video
    from stylenet.images.image_io import Picture
    from stylenet.video import temporal

    count, width = (4, 96) if result.tiny else (20, 3840)
    stylizer: Any = stylenet.load(LIGHT, result.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        if result.clip:
            video.enlarged(Path(result.clip), clip, width, count)
        else:
            made_film(clip, width, count)
        begin = time.perf_counter()
        source, photos = video.first_frames(clip, count)
        result.keep(size=list(source.size), frames=len(photos), style=LIGHT, temporal=video.STEADY)
        result.add(stage="decode", seconds_per_frame=short((time.perf_counter() - begin) / len(photos)))
        if result.device.type == "cuda":
            decoded_on_gpu(clip, count, result)
        stylizer.picture(Picture(photos[0].rgb))
        spent, made = video.timed(lambda frame: stylizer.picture(Picture(frame.rgb)).rgb, photos)
        result.add(stage="network, from and to the CPU's memory", seconds_per_frame=short(spent))
        on_gpu = str(result.device) if result.device.type == "cuda" else None
        steady = temporal.Steady(video.STEADY, temporal.dis(), on_gpu)
        spent, moved = video.timed(lambda frame: steady.movement(frame.rgb), photos)
        result.add(stage="what moved (flow by DIS)", seconds_per_frame=short(spent))
        pairs = [*zip(moved, made, strict=True)]
        spent, _ = video.timed(lambda pair: steady.blended(*pair), pairs)
        result.add(stage=f"blend, temporal={video.STEADY:g}", seconds_per_frame=short(spent))
        result.add(stage="encode", seconds_per_frame=short(video.written(photos, made, source.look)))
        for how, seconds in video.from_file_to_file(clip, stylizer, count, flow="dis").items():
            result.add(stage=f"from file to file, {how}", seconds_per_frame=seconds)


def decoded_on_gpu(clip: Path, count: int, result: Result) -> None:
    """The row of decoder=nvdec; or why there is none."""
    from stylenet.video import container, protocol

    try:
        container.require_nvdec()
    except UserError as error:
        result.keep(nvdec=str(error))
        return
    reader = container.Reader(clip, "nvdec")  # it decodes the first frame
    begin = time.perf_counter()
    rest = sum(isinstance(item, protocol.Frame) for item in itertools.islice(reader, 1, count))
    spent = short((time.perf_counter() - begin) / max(1, rest))
    result.add(stage="decode, decoder=nvdec", seconds_per_frame=spent, notes=reader.notes)


def made_film(path: Path, width: int, count: int) -> None:
    """A film of ``count`` frames, 16:9: a bundled photo under a moving camera."""
    import numpy as np

    from stylenet.images.image_io import to_pil
    from stylenet.video import container, protocol

    height, step = width * 9 // 32 * 2, max(1, width // 480)
    wide = torch.as_tensor(photo(width + step * count, height))
    look = protocol.Look(Fraction(25))
    sink = container.Writer(path, look)
    for number in range(count):
        rgb = np.asarray(to_pil(wide[..., step * number : step * number + width]))
        sink.add(protocol.Frame(rgb, number / look.rate, 1 / look.rate))
    sink.close()


PARTS = {"tests": tests, "passes": passes, "training": training, "profile": profile}
PARTS |= {"real_training": real_training, "film": film}


def main() -> int:
    """``gpu_parts PART OPTIONS``, the options as JSON. Returns 2 after a mistake that one line explains."""
    part, order = sys.argv[1], json.loads(sys.argv[2])
    if hasattr(signal, "alarm"):
        signal.alarm(int(order["limit"]) + GRACE)
    try:
        result = Result(part, order)
        PARTS[part](result)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("stylenet", "benchmarks", ""):
            raise
        result.keep(status="skipped", reason=f"this needs {error.name}, which is not installed")
        return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    result.keep(status="finished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
