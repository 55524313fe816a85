"""The networks, by name: ``NETS`` is the closed table of what a checkpoint may hold."""

from typing import Any

from torch import nn

from stylenet.errors import UserError
from stylenet.nets.johnson import Johnson

NETS: dict[str, type[nn.Module]] = {"johnson": Johnson}


def build(name: str, **args: Any) -> nn.Module:
    """The network ``name`` with its constructor's arguments. Raises UserError for a name or argument it has not."""
    if name not in NETS:
        raise UserError(f"net={name}: no such network. Known: {', '.join(sorted(NETS))}.")
    try:
        return NETS[name](**args)
    except (TypeError, ValueError) as error:
        raise UserError(f"net={name} does not take these arguments: {error}") from error
