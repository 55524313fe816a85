"""AdaIN in strips, by every backend and in exported files: the picture of the whole pass, with its statistics."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from test_tiling import half_dark, in_strips, whole
from torch import Tensor, nn
from torch.nn import functional as F

from stylenet.losses.vgg_weights import vgg_weights
from stylenet.nets import checkpoint, registry
from stylenet.nets.adain import AdaIN
from stylenet.nets.fuse import fast
from stylenet.runtime import backends
from stylenet.runtime.export import export
from stylenet.system.errors import UserError

CPU = torch.device("cpu")
SIZES = [(1, 1), (3, 40), (16, 16), (97, 61), (50, 64)]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def made(upsample: str = "blur", output: str = "sigmoid") -> AdaIN:
    torch.manual_seed(0)
    net = registry.build("adain", widths=(6, 8, 10), upsample=upsample, output=output).eval()
    assert isinstance(net, AdaIN)
    net.encoder.take(vgg_weights("vgg16").state)
    for part in (net.decoder, net.last):
        for weight in part.parameters():
            weight.data += 0.05 * torch.randn_like(weight)
    net.last.weight.data *= 3
    return net


@pytest.fixture(scope="module")
def net() -> AdaIN:
    return made()


@pytest.fixture(scope="module")
def style(net: AdaIN) -> Tensor:
    return net.style_of(torch.rand(1, 3, 50, 60, generator=torch.Generator().manual_seed(3)))


# --- strips


@pytest.mark.parametrize("rows", [1, 8, 21, None])
@pytest.mark.parametrize("upsample", ["blur", "nearest"])
def test_every_tiling_gives_the_picture_of_the_whole_pass(style: Tensor, upsample: str, rows: int | None):
    network, picture = made(upsample), half_dark(67, 41)
    expected = whole(network, picture, style)
    assert expected.std() > 0.03
    assert (in_strips(network, picture, rows, style) - expected).abs().max() < 3e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1), (2, 3), (15, 17), (16, 16), (17, 33), (53, 19), (31, 127)])
def test_every_size(net: AdaIN, style: Tensor, size: tuple[int, int]):
    picture = half_dark(*size)
    for rows in (1, 8):
        for given in (style, None):
            assert (in_strips(net, picture, rows, given) - whole(net, picture, given)).abs().max() < 3e-5


def test_statistics_of_strips_would_show(net: AdaIN, style: Tensor):
    picture = half_dark(64, 40)
    apart = torch.cat([whole(net, half, style) for half in picture.split(32, 2)], 2)
    assert (apart - whole(net, picture, style)).abs().max() > 0.05


def test_progress_goes_from_0_to_1(net: AdaIN, style: Tensor):
    told: list[float] = []
    in_strips(net, half_dark(64, 40), 8, style, progress=told.append)
    assert told == sorted(told) and told[-1] == pytest.approx(1) and told[0] < 0.2


class Pools(nn.Module):
    def __init__(self, *arguments: int, **options: bool):
        super().__init__()
        self.arguments, self.options = arguments, options

    def forward(self, x: Tensor, style: None = None) -> Tensor:
        pooled: Tensor = F.max_pool2d(x, *self.arguments, **self.options)  # type: ignore[call-overload,arg-type]
        return F.interpolate(pooled, scale_factor=2.0)[..., : x.shape[2], :]


@pytest.mark.parametrize("height", [8, 9, 10, 11])
@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_pooling(height: int, rows: int):
    picture = torch.rand(1, 3, height, 6)
    network = Pools(2, ceil_mode=True)
    assert torch.equal(in_strips(network, picture, rows), network(picture))


@pytest.mark.parametrize("arguments", [(3, 2), (2, 1), (2, 2, 1), (2, 2, 0, 2)])
def test_pooling_of_places_that_overlap_or_lie_outside_is_refused(arguments: tuple[int, ...]):
    with pytest.raises(UserError, match=r"cannot work in strips \(it pools"):
        in_strips(Pools(*arguments), torch.rand(1, 3, 8, 8), 2)


def test_pooling_rounds_as_asked():
    for ceil_mode in (False, True):
        seen: list[torch.Size] = []

        class Sees(nn.Module):
            def forward(self, x: Tensor, style: None = None) -> Tensor:
                seen.append(F.max_pool2d(x, (2, 3), ceil_mode=ceil_mode).shape)  # noqa: B023
                return x

        picture = torch.rand(1, 3, 9, 11)
        in_strips(Sees(), picture, 4)
        assert seen == [F.max_pool2d(picture, (2, 3), ceil_mode=ceil_mode).shape]


# --- backends


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STYLENET_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@torch.inference_mode()
def far(run: backends.Run, net: AdaIN, style: Tensor, size: tuple[int, int]) -> float:
    content = half_dark(*size)
    return float((run(content, style) - net(content, style)).abs().max())


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_backends_give_the_networks_picture(net: AdaIN, style: Tensor, backend: str, caplog: pytest.LogCaptureFixture):
    if backend != "torch":
        pytest.importorskip(backend)
    with caplog.at_level(logging.WARNING):
        run = backends.start(net, CPU, backend, "fp32")
    assert not caplog.records
    assert max(far(run, net, style, size) for size in SIZES) < 1e-3


def test_in_bf16_the_encoder_keeps_float32(net: AdaIN, style: Tensor):
    run, content = backends.TorchBackend(net, CPU, "bf16"), half_dark(50, 40)
    with torch.inference_mode():
        assert (run(content, style) - net(content, style)).abs().max() < 0.02
        given = run.net.encode(content)
    assert run.apart and given.dtype == torch.float32


def test_rearranged_it_is_the_same(net: AdaIN, style: Tensor):
    for one in (net, made("nearest", "linear")):
        assert max(far(fast(one), one, style, size) for size in SIZES) < 1e-4


def test_a_graph_asks_for_a_style(net: AdaIN):
    pytest.importorskip("openvino")
    with pytest.raises(ValueError, match="needs a style"):
        backends.start(net, CPU, "openvino", "fp32")(torch.rand(1, 3, 20, 20), None)


# --- exported files


@pytest.fixture(scope="module")
def file(net: AdaIN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(tmp_path_factory.mktemp("adain") / "any.safetensors", net, {"styles": []})


def test_onnx_gives_its_pictures_and_is_a_checkpoint_again(net: AdaIN, style: Tensor, file: Path, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = export(file, "onnx", tmp_path / "any.onnx")
    session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    for size in SIZES:
        content = half_dark(*size)
        (image,) = session.run(["image"], {"content": content.numpy(), "style": style.numpy()})
        assert np.abs(image - whole(net, content, style).numpy()).max() < 1e-3
    again, _ = checkpoint.load(made)
    for name, weight in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_fixed_style_is_an_onnx_file_that_is_a_checkpoint_again(net: AdaIN, style: Tensor, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    one = net.fixed(style[0])
    file = checkpoint.save(tmp_path / "one.safetensors", one, {"styles": [{"name": "one"}]})
    again, _ = checkpoint.load(export(file, "onnx", tmp_path / "one.onnx", size="24x16"))
    content = half_dark(33, 20)
    assert (whole(again, content) - whole(net, content, style)).abs().max() < 1e-5


def test_torchscript_gives_its_pictures(net: AdaIN, style: Tensor, file: Path, tmp_path: Path):
    run = torch.jit.load(export(file, "torchscript", tmp_path / "any.pt"))
    assert max(far(run, net, style, size) for size in SIZES) < 1e-3


def test_the_graph_has_one_operator_for_the_norm(net: AdaIN, style: Tensor):
    from stylenet.runtime import graph

    traced = graph.script(net, graph.inputs(net))
    kinds = [node.kind() for node in traced.inlined_graph.nodes()]
    assert kinds.count("aten::instance_norm") == 1 and "aten::var_mean" not in kinds
