"""Backends of a network's pass: torch, OpenVINO or ONNX Runtime, in float32 or half precision. Knows no picture files.

All return the network's own result: float32 up to rounding, bfloat16 up to a third of an 8-bit level on average.
Preparing a network for a runtime takes a second or more; the result is kept in the cache folder.
"""

import hashlib
import importlib.util
import io
import logging
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stylenet.nets import fuse
from stylenet.nets.base import StyleNet, as_style_net
from stylenet.nets.fuse import fast
from stylenet.nets.regions import Regions
from stylenet.runtime import graph
from stylenet.runtime.cuda_graphs import Replay, Run, cuda_graph
from stylenet.runtime.gpu_pass import has_kernels, kernel_pass
from stylenet.system import forked
from stylenet.system.atomic import replacing
from stylenet.system.errors import UserError, one_line
from stylenet.system.places import home

log = logging.getLogger(__name__)

KEPT = 20  # graphs in the cache, of 7 MB each: those used last
TRIAL = (1, 3, 49, 71)  # the picture on which a new graph is compared with its network
DIFFERENCES = {"fp32": (1e-3, 1e-3), "bf16": (0.3, 0.02)}  # allowed there: at most, and on average
SPAWN = "start it by spawn (multiprocessing.get_context('spawn')), or load styles after the fork only"
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def start(net: nn.Module, device: torch.device, backend: str = "auto", precision: str = "auto") -> Run:
    """``run(content, style) -> image``: the pass of ``net``, which is in eval mode on ``device``. For inference only.

    ``net``: a :class:`stylenet.nets.base.StyleNet`, or any module ``net(content, style)`` with one style.

    ``backend``: torch, openvino, onnx, or auto: the fastest that is installed. ``precision``: fp32, bf16, fp16 (torch
    on a GPU), or auto: on a GPU fp16 where our kernels compute the pass (:mod:`stylenet.runtime.gpu_pass`), else bf16
    where the GPU has it; fp32 on a CPU. On a GPU, passes of a size that comes again are replayed, see
    :mod:`stylenet.runtime.cuda_graphs`. In a forked copy of a process that had started one, torch in one thread is
    what works. Raises UserError for other values, for what is not installed, and for a GPU in such a copy.
    """
    style_net = as_style_net(net)
    kernels = has_kernels(style_net, device)
    name, precision = choose(device, backend, precision, kernels)
    forked.use()
    if name == "torch":
        run: Run = TorchBackend(style_net, device, precision)
        run = kernel_pass(style_net, device, precision, run) if kernels else run
        return Replay(run, cuda_graph) if device.type == "cuda" else run
    try:
        return GraphBackend(style_net, RUNTIMES[name], precision)
    except Exception as error:  # a runtime can fail in any way
        if backend == "auto":
            log.warning("backend=%s does not work here (%s): torch is used.", name, one_line(error)[:200])
            return TorchBackend(style_net, device, precision)
        raise UserError(f"backend={name}: {one_line(error)[:300]}") from error


def choose(
    device: torch.device, backend: str = "auto", precision: str = "auto", kernels: bool = False
) -> tuple[str, str]:
    """Resolve "auto" for this device. ``kernels``: whether ours compute the pass there; they round less in fp16 than
    in bf16, and as fast. Raises UserError for what is not available.
    """
    for option, given, known in (("backend", backend, BACKENDS), ("precision", precision, PRECISIONS)):
        if given not in ("auto", *known):
            raise UserError(f"{option}={given}: allowed are auto, {', '.join(known)}.")
    on_cpu = device.type == "cpu"
    if backend not in ("auto", "torch") and not on_cpu:
        raise UserError(f"backend={backend} computes on the CPU: give device=cpu with it, or backend=torch.")
    if precision == "fp16" and device.type != "cuda":
        raise UserError("precision=fp16 is for GPUs: give precision=bf16, or fp32.")
    if backend == "onnx" and precision == "bf16":
        raise UserError("backend=onnx has no bf16 on a CPU: give precision=fp32, or backend=openvino or torch.")
    copied = forked.copies() > 0
    if copied and backend in RUNTIMES:
        raise UserError(f"backend={backend} does not work in a forked process: {SPAWN}, or give backend=torch.")
    if copied and device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise UserError(f"device={device}: a forked process cannot use the GPU of the one that it comes from: {SPAWN}.")
    if backend == "auto":
        backend = "openvino" if on_cpu and not copied and importlib.util.find_spec("openvino") else "torch"
    if precision == "auto":
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(False)
        precision = "fp16" if kernels else "bf16" if has_bf16 else "fp32"
    return backend, precision


class TorchBackend:
    """The rearranged network in channels-last layout. Norms take their statistics in float32, whatever the precision.

    In bf16 the encoder runs in float32: bf16 does most of its harm there, and float32 takes little time.
    """

    def __init__(self, net: StyleNet, device: torch.device, precision: str):
        self.device, self.half = device, HALVES.get(precision)
        self.apart = precision == "bf16" and net.in_parts
        self.net = fast(net).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, content: Tensor, style: Tensor | Regions | None = None) -> Tensor:
        content = content.contiguous(memory_format=torch.channels_last)
        features = self.net.encode(content, style) if self.apart else None
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            image = self.net(content, style) if features is None else self.net.decode(features, style)
        return image[..., : content.shape[2], : content.shape[3]].float().contiguous()


class GraphBackend:
    """The network as a graph in another program: pictures go there and come back as arrays.

    In bf16 there are two graphs: the encoder's in float32, and the decoder's, as in :class:`TorchBackend`.
    """

    def __init__(self, net: StyleNet, runtime: "Runtime", precision: str):
        self.n_styles, self.own_style = net.n_styles, net.own_style
        self.lock = threading.Lock()  # a runtime does one thing at a time
        forked.keep(self)
        self.precisions = ["fp32", "bf16"] if precision == "bf16" and net.in_parts else [precision]
        kept = home() / "graphs" / _key(net, runtime, precision)
        self.files = [
            kept.with_name(f"{kept.name}_{number}.{runtime.suffix}") for number in range(len(self.precisions))
        ]
        self.steps = self._kept(runtime) or self._made(net, runtime, precision)

    @torch.inference_mode()
    def __call__(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        """Raises ValueError for no style where that is the picture's own: a graph takes weights alone."""
        if style is None and self.own_style:
            raise ValueError("This network's graph needs a style: give what style_of makes of a picture.")
        weights = []
        if self.n_styles > 1:
            first = torch.eye(self.n_styles)[:1].expand(len(content), -1)
            weights = [(first if style is None else style).float().contiguous().numpy()]
        array = content.float().contiguous().numpy()
        with self.lock:
            for step in self.steps:
                array = step([array, *weights])
            return torch.from_numpy(array[..., : content.shape[2], : content.shape[3]].copy())  # else a runtime's own

    def _kept(self, runtime: "Runtime") -> list["Infer"]:
        """What runs the graphs of the cache; nothing where there are none, or none that can be used."""
        if not all(file.is_file() for file in self.files):
            return []
        try:
            steps = [
                runtime.opened(file.read_bytes(), precision)
                for file, precision in zip(self.files, self.precisions, strict=True)
            ]
            for file in self.files:
                file.touch()
            return steps
        except Exception as error:  # a damaged file can make a runtime fail in any way
            log.info("%s is made anew: %s", self.files[0], one_line(error)[:200])
            return []

    def _made(self, net: StyleNet, runtime: "Runtime", precision: str) -> list["Infer"]:
        """What runs the graphs, made now, compared with the network and put into the cache."""
        quick = fast(net)
        parts = graph.parts(quick) if len(self.precisions) > 1 else [quick]
        content, *weights = graph.inputs(net)
        made: list[bytes] = []
        for part, its in zip(parts, self.precisions, strict=True):
            made.append(runtime.made(part, (content, *weights), its))
            if len(made) < len(parts):
                with torch.no_grad():
                    content = part(content, *weights)
        self.steps = [runtime.opened(*one) for one in zip(made, self.precisions, strict=True)]
        self._compare(net, precision)
        for file, data in zip(self.files, made, strict=True):
            _keep(file, data)
        return self.steps

    def _compare(self, net: StyleNet, precision: str) -> None:
        content = torch.rand(TRIAL, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            style = net.style_of(1 - content) if net.own_style else None
            difference = (self(content, style) - net(content, style)).abs()
        most, mean = DIFFERENCES[precision]
        if not (difference.max() <= most and difference.mean() <= mean):  # so that NaN fails it
            raise UserError(f"its result differs from the network's by {difference.max():.3g}: give backend=torch.")


Infer = Callable[[list[Any]], Any]


class Runtime(NamedTuple):
    """A program that runs graphs: how one is made, as the bytes of a file, and how it is opened."""

    made: Callable[[StyleNet | graph.Part, tuple[Tensor, ...], str], bytes]
    opened: Callable[[bytes, str], Infer]
    packages: tuple[str, ...]  # on whose versions the bytes depend
    suffix: str


def _openvino_made(net: StyleNet | graph.Part, example: tuple[Tensor, ...], precision: str) -> bytes:
    core = graph.openvino_core()
    model = graph.openvino(net, example)
    return bytes(core.compile_model(model, "CPU", _openvino_options(precision)).export_model().getvalue())


def _openvino_opened(data: bytes, precision: str) -> Infer:
    core = graph.openvino_core()
    request = core.import_model(io.BytesIO(data), "CPU", _openvino_options(precision)).create_infer_request()
    return lambda arrays: request.infer(arrays, share_inputs=True, share_outputs=True)[0]


def _openvino_options(precision: str) -> dict[str, Any]:
    hint = {"fp32": "f32", "bf16": "bf16"}[precision]
    return {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}


def _onnx_made(net: StyleNet | graph.Part, example: tuple[Tensor, ...], precision: str) -> bytes:
    assert isinstance(net, StyleNet)  # only bf16 makes a graph for each part, and backend=onnx refuses it
    graph.require("onnxruntime", "onnx")  # told before the graph is made, which takes long
    return graph.onnx(net, example).model_proto.SerializeToString()


def _onnx_opened(data: bytes, precision: str) -> Infer:
    onnxruntime = graph.require("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(None, dict(zip(graph.NAMES, arrays, strict=False)))[0]


RUNTIMES = {
    "openvino": Runtime(_openvino_made, _openvino_opened, ("openvino", "torch"), "blob"),
    "onnx": Runtime(_onnx_made, _onnx_opened, ("onnxscript", "torch"), "onnx"),
}
BACKENDS = ("torch", *RUNTIMES)
PRECISIONS = ("fp32", *HALVES)


# --- the cache


def _key(net: StyleNet, runtime: Runtime, precision: str) -> str:
    """A digest of everything that a graph depends on: the network, and the code and programs that make graphs."""
    versions = [f"{name} {version(name)}" for name in runtime.packages if importlib.util.find_spec(name)]
    sha256 = hashlib.sha256(repr([precision, versions, repr(net), net.config]).encode())
    for file in sorted([Path(graph.__file__), *Path(fuse.__file__).parent.glob("*.py")]):
        sha256.update(file.read_bytes())
    for name, tensor in net.state_dict().items():
        sha256.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()[:32]


def _keep(path: Path, data: bytes) -> None:
    """Put a graph into the cache and the oldest out of it; a cache that cannot be written does without."""
    try:
        with replacing(path) as temp:
            temp.write_bytes(data)
        graphs_kept = sorted(path.parent.glob("[!.]*"), key=lambda file: file.stat().st_mtime)
        for old in graphs_kept[:-KEPT]:
            old.unlink(missing_ok=True)
    except (OSError, UserError) as error:
        log.info("The graph is not kept: %s", one_line(error))
