"""Weights without a description, as stylenet's networks: stylenet's own, and pytorch/examples' fast_neural_style.

That network works in 0..255 and has a bias in every convolution. A bias before an instance norm has no effect, so it is
dropped; the 255 goes into the first and the last convolution. Reads no files.
"""

import re
from typing import Any, NamedTuple

from torch import Tensor

# Older versions of torch kept running statistics in instance norms; that project never uses them.
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")

# Parts of names that come from what a network was wrapped in while it was trained: DataParallel and DDP, torch.compile,
# FSDP, activation checkpoints.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTERS = {"n_averaged"}  # of torch's AveragedModel, beside the network's own names
DEEP = 4  # dicts in dicts that are looked into
MOST = 8  # networks that are looked for: one is wanted


class Project(NamedTuple):
    """Whose network this is: by two of its names, one of the first layer and one of the last."""

    origin: str
    first: str
    last: str


PROJECTS = (
    Project("pytorch/examples", "conv1.conv2d.weight", "deconv3.conv2d.weight"),
    Project("stylenet", "down.0.conv.weight", "last.weight"),
)


def networks_in(saved: Any) -> dict[str, tuple[str, dict[str, Tensor]]]:
    """The networks in what somebody saved, by where in it they are ("model", "" for the whole): their project's
    ``origin`` and their weights under the project's names, whatever they were wrapped in.
    """
    found: dict[str, tuple[str, dict[str, Tensor]]] = {}
    todo, seen = [("", saved)] if isinstance(saved, dict) else [], {id(saved)}
    for where, data in todo:
        weights = {unwrapped(str(key)): value for key, value in data.items() if isinstance(value, Tensor)}
        for prefix, origin in _prefixes(weights):
            inside = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
            found[(where + prefix).rstrip(".")] = origin, {k: v for k, v in inside.items() if k not in _COUNTERS}
        if where.count(".") < DEEP and len(found) < MOST:
            inner = {id(value): (f"{where}{key}.", value) for key, value in data.items() if isinstance(value, dict)}
            todo += [named for key, named in inner.items() if key not in seen]
            seen |= inner.keys()
    return found


def unwrapped(name: str) -> str:
    """A weight's name without what wrappers have added to it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(weights: dict[str, Tensor]) -> list[tuple[str, str]]:
    """What stands before the names of each network among these, and its ``origin``."""
    found = []
    for project in PROJECTS:
        for key in weights:
            prefix = key[: -len(project.last)]
            fits = key.endswith(project.last) and (not prefix or prefix.endswith("."))
            if fits and prefix + project.first in weights and len(found) < MOST:
                found.append((prefix, project.origin))
    return found


def as_ours(origin: str, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``{"name", "args"}`` of the network that a ``state`` of :func:`networks_in` is of, and its weights under our
    names. Raises ValueError naming what is missing or left over.
    """
    return from_pytorch_examples(state) if origin == "pytorch/examples" else (_of_stylenet(state), state)


def _of_stylenet(state: dict[str, Tensor]) -> dict[str, Any]:
    """What the shapes tell of one of our networks. They do not tell how it doubles and ends: the defaults are taken."""
    convs = [f"down.{n}.conv.weight" for n in range(3)]
    if missing := [name for name in (*convs, "down.0.norm.weight") if name not in state]:
        raise ValueError(f"{missing[0]} is missing")
    args: dict[str, Any] = {"widths": [int(state[name].shape[0]) for name in convs]}
    args["blocks"] = len({key.split(".")[1] for key in state if re.match(r"trunk\.\d+\.", key)})
    args["n_styles"] = int(state["down.0.norm.weight"].shape[0])
    return {"name": "johnson", "args": args | ({"noise": 1} if "noise.weight" in state else {})}


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
