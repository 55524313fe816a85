"""Exports for engines: size of the file, operators, seconds a picture, and the difference from PyTorch's picture.

    python -m benchmarks.speed.engines [ckpts=the_scream_lite,starry_night] [size=512] [repeats=5] [output=engines.json]

Each file is run by OpenCV and by ONNX Runtime with as many threads as PyTorch has here, on the CPU, in turns; seconds
are those of the fastest. The difference is the largest of all pixels, in levels of 255, for the bundled photo of a
castle.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.experiments.trainings import answering, options, write_results
from stylenet.evaluation.metrics import PHOTOS
from stylenet.images.image_io import open_rgb, to_tensor
from stylenet.nets import checkpoint
from stylenet.runtime import engines, graph
from stylenet.runtime.export import export
from stylenet.system.timing import versions

OPTIONS: dict[str, Any] = {"ckpts": "the_scream_lite,starry_night", "size": 512, "repeats": 5, "output": ""}


def measured(ckpt: str, target: str, size: int, repeats: int, folder: Path) -> dict[str, Any]:
    """The figures of one file."""
    file = export(ckpt, "onnx", folder / f"{ckpt}_{target}.onnx", target=target, size=size)
    photo = open_rgb(PHOTOS / "castle.jpg").resize((size, size), Image.Resampling.LANCZOS)
    content = to_tensor(photo)
    with torch.inference_mode():
        wanted = checkpoint.load(ckpt)[0](content).numpy()
    runs = {"opencv": _opencv(file, content.numpy()), "onnxruntime": _onnxruntime(file, content.numpy())}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    apart = {}
    for turn in range(repeats + 1):  # the first is not timed
        for name, run in runs.items():
            begun = time.perf_counter()
            made = run()
            seconds[name] += [time.perf_counter() - begun] if turn else []
            apart[name] = round(float(np.abs(made - wanted).max() * 255), 4)
    counted = engines.counted(graph.require("onnx", "onnx").load(file))
    return {
        "ckpt": ckpt,
        "target": target,
        "megabytes": round(file.stat().st_size / 1e6, 2),
        "operators": counted.total(),
        "kinds": len(counted),
        "seconds": {name: round(min(times), 3) for name, times in seconds.items()},
        "levels apart": apart,
    }


def _opencv(file: Path, content: np.ndarray) -> Callable[[], Any]:
    import cv2

    cv2.setNumThreads(torch.get_num_threads())
    net = cv2.dnn.readNetFromONNX(str(file))

    def run() -> Any:
        net.setInput(content, "content")
        return net.forward()

    return run


def _onnxruntime(file: Path, content: np.ndarray) -> Callable[[], Any]:
    import onnxruntime

    asked = onnxruntime.SessionOptions()
    asked.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), asked, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"content": content})[0]


def main() -> None:
    given = options(OPTIONS)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measured(ckpt, target, int(given["size"]), int(given["repeats"]), Path(folder))
            for ckpt in str(given["ckpts"]).split(",")
            for target in engines.NAMES
        ]
    for row in rows:
        print(row)
    if given["output"]:
        write_results(given["output"], given, threads=torch.get_num_threads(), versions=versions(), rows=rows)


if __name__ == "__main__":
    answering(main)
