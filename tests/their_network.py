"""The network of pytorch/examples, restated from its description: random weights under its names, and its pass."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def their_weights(seed: int = 0, widths: tuple[int, int, int] = (32, 64, 128), blocks: int = 5) -> dict[str, Tensor]:
    """Random weights of a trained network's scale: output around 127, give or take 60."""
    random = torch.Generator().manual_seed(seed)
    a, b, c = widths
    state: dict[str, Tensor] = {}

    def conv(key: str, into: int, out: int, size: int, scale: float) -> None:
        spread = scale / (into * size * size) ** 0.5
        state[f"{key}.conv2d.weight"] = torch.randn(out, into, size, size, generator=random) * spread
        state[f"{key}.conv2d.bias"] = torch.randn(out, generator=random)

    def norm(key: str, channels: int) -> None:
        state[f"{key}.weight"] = 1 + 0.2 * torch.randn(channels, generator=random)
        state[f"{key}.bias"] = 0.2 * torch.randn(channels, generator=random)

    for n, (into, out, size) in enumerate([(3, a, 9), (a, b, 3), (b, c, 3)], 1):
        conv(f"conv{n}", into, out, size, 1)
        norm(f"in{n}", out)
    for n in range(1, blocks + 1):
        for i in (1, 2):
            conv(f"res{n}.conv{i}", c, c, 3, 1)
            norm(f"res{n}.in{i}", c)
    for n, (into, out) in enumerate([(c, b), (b, a)], 1):
        conv(f"deconv{n}", into, out, 3, 1)
        norm(f"in{n + 3}", out)
    conv("deconv3", a, 3, 9, 60)
    state["deconv3.conv2d.bias"] += 127
    return state


def their_output(state: dict[str, Tensor], x: Tensor) -> Tensor:
    def conv(key: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = state[f"{key}.conv2d.weight"], state[f"{key}.conv2d.bias"]
        margin = weight.shape[-1] // 2
        return F.conv2d(nn.ReflectionPad2d(margin)(x), weight, bias, stride)

    def norm(key: str, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=state[f"{key}.weight"], bias=state[f"{key}.bias"], eps=1e-5)

    for n, stride in [(1, 1), (2, 2), (3, 2)]:
        x = F.relu(norm(f"in{n}", conv(f"conv{n}", x, stride)))
    for n in range(1, 1 + len({key.split(".")[0] for key in state if key.startswith("res")})):
        y = F.relu(norm(f"res{n}.in1", conv(f"res{n}.conv1", x)))
        x = x + norm(f"res{n}.in2", conv(f"res{n}.conv2", y))
    for n in (1, 2):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.relu(norm(f"in{n + 3}", conv(f"deconv{n}", x)))
    return conv("deconv3", x)
