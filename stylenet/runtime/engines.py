"""ONNX files of one size for engines: Unreal, Unity, OpenCV. Their lists of operators are data: ``assets/engines``.

A file for an engine has the engine's opset, and only operators of its list. What changes nothing is left out, and what
the engine lacks is replaced where other operators compute the same. Knows no networks.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from stylenet.system.errors import UserError

NAMES = ("unreal", "unity", "opencv")
# Attributes of newer versions of an operator that older ones lack. With these values they say what the older ones do.
NEWER = {"Resize": {"antialias": 0, "keep_aspect_ratio_policy": b"stretch"}, "Reshape": {"allowzero": 0}}
OF_CUBIC = ("cubic_coeff_a", "exclude_outside", "extrapolation_value")  # of Resize: other modes do not look at them
# What a doubling makes of a place and its two neighbours, for each of its two halves: [before, itself, after].
DOUBLED = {b"linear": ([0.25, 0.75, 0.0], [0.0, 0.75, 0.25]), b"nearest": ([0.0, 1.0, 0.0], [0.0, 1.0, 0.0])}


@dataclass(frozen=True)
class Engine:
    """``operators``: the versions of each operator that the engine has; none for any up to the opset. ``without``: the
    attributes of an operator that it lacks. ``source``, ``read``: where the list is from, and the date. ``opset``,
    ``ir_version``: what its files are written in.
    """

    name: str
    runtime: str
    versions: str
    source: str
    read: str
    note: str
    opset: int
    ir_version: int
    without: dict[str, list[str]]
    operators: dict[str, list[int]]


@cache
def engine(name: str) -> Engine:
    """The engine of this name, one of ``NAMES``."""
    text = (resources.files("stylenet") / "assets" / "engines" / f"{name}.json").read_text(encoding="utf-8")
    return Engine(**json.loads(text))


def fit(model: Any, name: str) -> None:
    """Rewrite an ``onnx.ModelProto`` of fixed size for the engine ``name``. Raises UserError for an operator that the
    engine has not, named, and for a size that is still open.
    """
    target = engine(name)
    _leave_out_what_changes_nothing(model)
    if "Resize" not in target.operators:
        _replace_doubling(model)
    _lower(model, target)
    if lacking := [*_lacking(model, target)]:
        raise UserError(
            f"{target.name} has no {'; no '.join(dict.fromkeys(lacking))}: this network is not for target={name}."
        )
    _require_fixed(model)


def _lacking(model: Any, target: Engine) -> Iterable[str]:
    """The operators of the graph that are not in the list, and the attributes."""
    from onnx import defs, helper

    for node in model.graph.node:
        schema = defs.get_schema(node.op_type, target.opset)
        versions = target.operators.get(node.op_type)
        if node.domain or versions is None:
            yield node.op_type
        elif versions and schema.since_version not in versions:
            yield f"{node.op_type} of version {schema.since_version}"
        for attribute in node.attribute:
            known = schema.attributes[attribute.name].default_value
            usual = helper.get_attribute_value(known) if known.name else None
            given = helper.get_attribute_value(attribute)
            ones = isinstance(given, list) and {*given} == {1}  # dilations
            if attribute.name in target.without.get(node.op_type, ()) and given != usual and not ones:
                yield f"{attribute.name} of {node.op_type}"


def _lower(model: Any, target: Engine) -> None:
    """Write the graph in the engine's opset. Raises UserError for an operator that said something else there."""
    from onnx import defs, helper

    (opset,) = model.opset_import
    for node in model.graph.node:
        if not defs.has(node.op_type, target.opset, node.domain):
            raise UserError(f"Opset {target.opset} of {target.name} has no {node.op_type}.")
        new, old = (defs.get_schema(node.op_type, version) for version in (opset.version, target.opset))
        usual = NEWER.get(node.op_type, {}) | (dict.fromkeys(OF_CUBIC) if node.op_type == "Resize" else {})
        kept = []
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            same = attribute.name in usual and usual[attribute.name] in (None, value)
            if attribute.name not in old.attributes and not same:
                raise UserError(
                    f"{target.name} takes opset {target.opset}, whose {node.op_type} has no {attribute.name}."
                )
            if not same:
                kept.append(attribute)
        if new.since_version != old.since_version and len(node.input) > len(old.inputs):
            raise UserError(f"Opset {target.opset} of {target.name}: its {node.op_type} has fewer inputs.")
        del node.attribute[:]
        node.attribute.extend(kept)
    opset.version, model.ir_version = target.opset, target.ir_version


def _shapes(model: Any) -> dict[str, list[int]]:
    """The sides of all features; 0 for one that is open."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {one.name: [dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in values}


def _require_fixed(model: Any) -> None:
    shapes = _shapes(model)
    unknown = [node.op_type for node in model.graph.node for name in node.output if not all(shapes.get(name, [0]))]
    if unknown:
        raise UserError(f"The size of what {unknown[0]} makes is not fixed: this network is not for engines.")


def _leave_out_what_changes_nothing(model: Any) -> None:
    """Pads of no width and slices of everything, which are for other sizes than this one."""
    shapes, renamed, kept = _shapes(model), {}, []
    ends = {one.name for one in model.graph.output}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        source, result = node.input[0] if node.input else "", node.output[0]
        alike = node.op_type in ("Pad", "Slice") and shapes.get(source) == shapes.get(result) and all(shapes[result])
        if alike and result not in ends and _steps_forward(model, node):
            renamed[result] = source
        else:
            kept.append(node)
    _set_nodes(model, kept)


def _set_nodes(model: Any, nodes: list[Any]) -> None:
    """Have these nodes, and of the constants those that they use."""
    used = {name for node in nodes for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    for field, values in ((model.graph.node, nodes), (model.graph.initializer, kept)):
        del field[:]
        field.extend(values)


def _steps_forward(model: Any, node: Any) -> bool:
    """Whether a slice of everything keeps its order, and a pad moves nothing."""
    from onnx import numpy_helper

    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer if one.name in node.input[1:]}
    if node.op_type == "Pad":
        return node.input[1] in held and not held[node.input[1]].any()
    return len(node.input) < 5 or (node.input[4] in held and bool((held[node.input[4]] == 1).all()))


def _replace_doubling(model: Any) -> None:
    """A Resize that doubles height and width as Pad, Conv and DepthToSpace: a kernel of 3x3 for each quarter."""
    from onnx import helper, numpy_helper

    held = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    shapes, nodes = _shapes(model), []
    for node in model.graph.node:
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        scales = held.get(node.input[2]) if len(node.input) == 3 else None
        half_pixel = told.get("coordinate_transformation_mode", b"half_pixel") in (b"half_pixel", b"asymmetric")
        mode = told.get("mode", b"nearest")
        doubles = node.op_type == "Resize" and scales is not None and [*scales] == [1, 1, 2, 2] and mode in DOUBLED
        if not doubles or not half_pixel or (mode == b"linear" and b"asymmetric" in told.values()):
            nodes.append(node)
            continue
        channels, name = shapes[node.input[0]][1], node.output[0]
        halves = np.array(DOUBLED[mode], np.float32)
        quarters = np.stack([np.outer(down, across) for down in halves for across in halves])[:, None]
        initializers = {
            f"{name}_pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
            f"{name}_kernel": np.tile(quarters, (channels, 1, 1, 1)),
        }
        model.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in initializers.items())
        padded, quartered, (pads, kernel) = f"{name}_padded", f"{name}_quarters", initializers
        nodes += [
            helper.make_node("Pad", [node.input[0], pads], [padded], mode="edge"),
            helper.make_node("Conv", [padded, kernel], [quartered], group=channels, kernel_shape=[3, 3]),
            helper.make_node("DepthToSpace", [quartered], [name], blocksize=2, mode="CRD"),
        ]
    _set_nodes(model, nodes)


def counted(model: Any) -> Counter[str]:
    """How many of each operator a graph has."""
    return Counter(node.op_type for node in model.graph.node)
