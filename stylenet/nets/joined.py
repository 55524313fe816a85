"""Join a network of several styles with styles that were trained on its shared weights (Dumoulin et al. 2017, section
3.1: a new style is a new set of norm parameters).
"""

from typing import Any

import torch

from stylenet.nets import checkpoint
from stylenet.nets.base import StyleNet
from stylenet.nets.registry import build, of_styles


def joined(
    base: StyleNet, base_info: dict[str, Any], added: StyleNet, added_info: dict[str, Any]
) -> tuple[StyleNet, dict[str, Any]]:
    """A network with the styles of ``base``, then those of ``added``, and what its file says. The pictures of the
    styles of ``base`` stay what they are, to the last bit.

    Raises ValueError if the networks differ in kind or size, or in a weight that their styles share.
    """
    spec, other = checkpoint.describe(base), checkpoint.describe(added)
    if {**spec["args"], "n_styles": 1} != {**other["args"], "n_styles": 1} or spec["name"] != other["name"]:
        raise ValueError(f"networks of two kinds: {spec} and {other}.")
    rows, first = of_styles(base), base.state_dict()
    second = {name: value.to(first[name]) for name, value in added.state_dict().items()}
    shared = [name for name in first if name not in rows]
    if changed := [name for name in shared if not torch.allclose(first[name], second[name], rtol=1e-4, atol=1e-6)]:
        raise ValueError(f"{changed[0]} is not the same in both networks.")
    net = build(spec["name"], **{**spec["args"], "n_styles": base.n_styles + added.n_styles})
    net.load_state_dict({name: torch.cat([x, second[name]]) if name in rows else x for name, x in first.items()})
    return net.eval(), _info(base_info, added_info) | {"net": checkpoint.describe(net)}


def _info(base: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Of the base what concerns all, and the training of the new styles by itself. Measured references stay if both
    files were measured with the same loss.
    """
    names = [style["name"] for style in added["styles"]]
    record = {"styles": names, **added.get("training", {})}
    before = base.get("training") or {}
    training = {**before, "added": [*before.get("added", []), record]}
    info = {**base, "styles": [*base.get("styles", []), *added["styles"]], "training": training}
    ours, theirs = base.get("calibration") or {}, added.get("calibration") or {}
    losses = [
        {name: value for name, value in (one.get("loss") or {}).items() if name != "vgg_path"} for one in (base, added)
    ]
    if losses[0] != losses[1] or ours.keys() != theirs.keys():
        return {**info, "calibration": {}}
    lists = {name for name, value in ours.items() if isinstance(value, list)}
    return info | {"calibration": {name: x + theirs[name] if name in lists else x for name, x in ours.items()}}
