"""Style files of other projects, as our networks: so far pytorch/examples' fast_neural_style. It reads no files.

That project's network takes and gives 0..255 and has a bias in every convolution. A bias just before an instance norm
is taken off again by the norm, so it is dropped; the 255 goes into the first and the last convolution.
"""

import re
from typing import Any

from torch import Tensor

# Older versions of torch kept running statistics in instance norms; that project never uses them.
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def is_pytorch_examples(state: Any) -> bool:
    """Whether this is a state dict of pytorch/examples' TransformerNet."""
    return isinstance(state, dict) and {"conv1.conv2d.weight", "deconv3.conv2d.weight"} <= state.keys()


def from_pytorch_examples(state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Its ``{"name", "args"}`` as one of our networks, and the weights under our names: the same output, in [0, 1].

    Raises ValueError naming the first key that is missing or left over.
    """
    blocks = len({key.split(".")[0] for key in state if re.match(r"res\d+\.", key)})
    names = _names(blocks)
    if missing := [theirs for theirs in names if theirs not in state]:
        raise ValueError(f"{missing[0]} is missing")
    dropped = {theirs.replace("weight", "bias") for theirs in names if ".conv2d." in theirs}
    if extra := [key for key in state if key not in names and key not in dropped and not key.endswith(_STATISTICS)]:
        raise ValueError(f"{extra[0]} is no part of that network")
    ours = {name: _ours(name, state[theirs]) for theirs, name in names.items()}
    widths = [int(ours[f"down.{n}.conv.weight"].shape[0]) for n in range(3)]
    args = {"widths": widths, "blocks": blocks, "n_styles": 1, "upsample": "nearest", "output": "linear"}
    return {"name": "johnson", "args": args}, ours


def _ours(name: str, tensor: Tensor) -> Tensor:
    if ".norm" in name:
        return tensor.reshape(1, -1)  # the first and only style
    if name == "down.0.conv.weight":
        return tensor.float() * 255
    return tensor.float() / 255 if name.startswith("last.") else tensor


def _names(blocks: int) -> dict[str, str]:
    """Their names to ours."""
    layers = [(f"conv{n + 1}", f"in{n + 1}", f"down.{n}", "") for n in range(3)]
    layers += [(f"res{n + 1}.conv{i}", f"res{n + 1}.in{i}", f"trunk.{n}", i) for n in range(blocks) for i in (1, 2)]
    layers += [(f"deconv{n + 1}", f"in{n + 4}", f"up.{n}", "") for n in range(2)]
    names = {}
    for conv, norm, block, i in layers:
        names[f"{conv}.conv2d.weight"] = f"{block}.conv{i}.weight"
        names[f"{norm}.weight"], names[f"{norm}.bias"] = f"{block}.norm{i}.weight", f"{block}.norm{i}.bias"
    return names | {f"deconv3.conv2d.{part}": f"last.{part}" for part in ("weight", "bias")}
