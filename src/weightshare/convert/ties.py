"""Ties between the convolutions that a plan selects: find them, and keep them between the new layers.

A layer can share its parameters in many ways: the same Parameter or a view of it, a tied decoder, a declared
tie, a parametrization. Layers that share a whole kernel under one name are converted together, if the plan
gives them the same sharing. All other ties of a selected layer are refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .._args import format_size
from ..errors import ConversionError
from ..nn.base import SharedLayer
from ..nn.tied import _TiedConvTransposeNd
from ..parameters.groups import Group, group_parameters
from ..parameters.modules import iter_modules
from ..parameters.references import (
    DeclaredTie,
    get_declared_ties,
    get_records,
    get_reference,
    get_references,
)
from ..sharing import Full, Sharing
from ..tying.derived import get_plain_class, read_from
from ..tying.model_ties import make_record, set_records
from ..tying.names import find_ends, find_owner
from .convolutions import CONVOLUTIONS
from .kernels import find_inputs

LEAVE_OUT = "use a plan {name: sharing} without this layer"
_OWN = "the layer must not share parameters with other modules"


@dataclass(frozen=True)
class LayerTie:
    """Two selected layers with the same kernel, the same bias or both.

    Args:
        source: Name of the layer that owns the parameters.
        alias: Name of the layer that uses them too.
        kernel: Whether the kernels are tied.
        bias: Whether the biases are tied.
    """

    source: str
    alias: str
    kernel: bool
    bias: bool


def check_reads_nothing(where: str, layer: nn.Module) -> None:
    """Raise `ConversionError` if a single layer reads a parameter of another module.

    The new layer would have its own copy of it.
    """
    for name, reference in get_references(layer).items():
        raise ConversionError(
            f"{where}: {type(layer).__name__}",
            f"{name} must be a parameter of the layer",
            f"one that is read from the {reference.name} of another module "
            f"({type(reference.module).__name__})",
            "call untie_weights first, or relax or restrict the model that contains both",
        )


def find_layer_ties(model: nn.Module, sharings: Mapping[str, Sharing]) -> list[LayerTie]:
    """Return the ties between the selected layers; raise `ConversionError` if one cannot be kept.

    Args:
        model: Model that contains the layers.
        sharings: New sharing of each selected layer by name.
    """
    _check_sources(model)
    selected = {id(model.get_submodule(name)): name for name in sharings}
    found: dict[tuple[str, str], set[str]] = {}
    for group in group_parameters(iter_modules(model)):
        for alias in _list_tied(group, selected):
            names = found.setdefault((selected[id(group.owner.module)], alias), set())
            names.add(group.owner.attribute)
    ties = [
        LayerTie(source, alias, bool(names - {"bias"}), "bias" in names)
        for (source, alias), names in found.items()
    ]
    for tie, names in zip(ties, found.values()):
        _check_tie(model, tie, names - {"bias"}, sharings)
    return ties


def _check_sources(model: nn.Module) -> None:
    """Raise `ConversionError` if a module reads a parameter of a module outside the model."""
    inside = set(map(id, model.modules()))
    for name, module in model.named_modules():
        for attribute, reference in get_references(module).items():
            if id(reference.module) not in inside:
                raise ConversionError(
                    f"{name!r}: {type(module).__name__}",
                    f"{attribute} must be read from a module of the model",
                    f"one that is read from a {type(reference.module).__name__} outside of it",
                    "convert a model that contains both, or call untie_weights first",
                )


def _list_tied(group: Group, selected: Mapping[int, str]) -> list[str]:
    """Return the selected layers that use the parameter of a selected layer under the same attribute."""
    places = {(id(name.module), name.attribute): name for name in reversed(group.names)}
    used = [name for name in group.names if id(name.module) in selected]
    if not used or len(places) == 1:
        return []
    first, owner = used[0], group.owner
    others = [name for name in group.names if name.module is not first.module] or [owner]
    can_keep = all(
        isinstance(name.module, CONVOLUTIONS)
        and name.attribute == owner.attribute
        and name.kind in ("owned", "alias", "repeated", "reference")
        and name.transform is None
        for name in group.names
    )
    left_out = {name.module_name: name for name in others if id(name.module) not in selected}
    if left_out or not can_keep:
        include = f"include {', '.join(map(repr, left_out))} with the same sharing"
        hint = f"{include}, or {LEAVE_OUT}" if left_out and can_keep else LEAVE_OUT
        raise _make_error(selected[id(first.module)], first.module, [name.name for name in others], hint)
    return [selected[key] for key, _ in reversed(places) if key != id(owner.module)]


def _make_error(
    name: str, module: nn.Module, others: Iterable[str], hint: str = LEAVE_OUT
) -> ConversionError:
    got = f"one shared with {', '.join(map(repr, others))}"
    return ConversionError(f"{name!r}: {type(module).__name__}", _OWN, got, hint)


def _check_tie(
    model: nn.Module, tie: LayerTie, kernel_names: set[str], sharings: Mapping[str, Sharing]
) -> None:
    """Raise `ConversionError` if the kernels are tied in part, or have different sharings, old or new."""
    layers: list[Any] = [model.get_submodule(name) for name in (tie.source, tie.alias)]
    if tie.kernel and any({"weight", *_list_coefficients(layer)} != kernel_names for layer in layers):
        raise _make_error(tie.alias, layers[1], [f"{tie.source}.{name}" for name in sorted(kernel_names)])
    if tie.kernel and len({getattr(layer, "sharing", Full()) for layer in layers}) > 1:
        raise _make_error(tie.alias, layers[1], [f"{tie.source}.weight"])  # other kernels at each position
    if sharings[tie.source] != sharings[tie.alias]:
        others = [f"{tie.source}.{'weight' if tie.kernel else 'bias'}"]
        hint = f"give {tie.source!r} and {tie.alias!r} the same sharing, or call untie_weights first"
        raise _make_error(tie.alias, layers[1], others, hint)


def _list_coefficients(layer: nn.Module) -> tuple[str, ...]:
    return layer._coefficient_names if isinstance(layer, SharedLayer) else ()


def link_layers(model: nn.Module, new: Mapping[str, Any], tie: LayerTie, same_taps: bool) -> None:
    """Make a tie of the model hold between the new layers.

    Args:
        model: Model whose layers were converted.
        new: New layers by name; the alias is changed.
        tie: Tie to keep.
        same_taps: Whether the tied kernels must have the same taps on padding, because only the others
            are fitted.

    Raises:
        ConversionError: If the layers no longer match.
    """
    old, source, alias = model.get_submodule(tie.alias), new[tie.source], new[tie.alias]
    names: list[str] = []
    if tie.kernel:
        is_fit = same_taps and getattr(old, "sharing", Full()) != Full()
        _check_positions(tie, source, alias, is_fit)
        names += ["weight", *_list_coefficients(source)]
    if tie.bias:
        _check_biases(tie, source, alias)
        names.append("bias")
    if isinstance(old, _TiedConvTransposeNd) and get_reference(old, "weight") is not None:
        alias.__class__ = get_plain_class(old)
    new_of = {id(model.get_submodule(name)): layer for name, layer in new.items()}
    for name in names:
        reference = get_reference(old, "bias" if name == "bias" else "weight")
        if reference is None:
            alias._parameters[name] = source._parameters[name]
        else:
            read_from(alias, name, new_of[id(reference.module)], name, None)


def _check_positions(tie: LayerTie, source: SharedLayer, alias: SharedLayer, is_fit: bool) -> None:
    hint = "call untie_weights first, or use a plan {name: sharing} without these layers"
    where = f"{tie.alias!r}: {type(alias).__name__}"
    if source.position_size != alias.position_size and (is_fit or not source._takes_any_size):
        sizes = [format_size(layer.position_size or ()) for layer in (alias, source)]
        expected = f"the layer must have as many positions as {tie.source!r}, whose kernel it uses"
        raise ConversionError(where, expected, " and ".join(sizes), hint)
    if is_fit and not torch.equal(find_inputs(source) >= 0, find_inputs(alias) >= 0):
        expected = f"the layer must have the same taps on padding as {tie.source!r}, whose kernel it uses"
        raise ConversionError(where, expected, "different taps", hint)


def _check_biases(tie: LayerTie, source: SharedLayer, alias: SharedLayer) -> None:
    same_size = source.bias_sharing.one_hot and source.output_size == alias.output_size
    plain = source.bias is not None and source.bias.dim() == 1
    if source.bias_sharing != alias.bias_sharing or not (plain or same_size):
        raise ConversionError(
            f"{tie.alias!r}: {type(alias).__name__}",
            f"the layer must have the bias sharing and output size of {tie.source!r}, whose bias it uses",
            f"{alias.bias_sharing!r} on {format_size(alias.output_size or ())}",
            "call untie_weights first, or use bias_sharing=Full()",
        )


def update_declared(model: nn.Module, ties: Iterable[LayerTie]) -> None:
    """Declare the ties of new coefficients like those of their weight; remove ties that no longer exist."""
    weights = {find_owner(model, f"{tie.alias}.weight") for tie in ties}
    for holder in model.modules():
        records: dict[str, DeclaredTie] = {}
        for alias, tie in get_declared_ties(holder).items():
            ends = find_ends(holder, alias, tie.source)
            if ends is None:
                continue
            records[alias] = make_record(holder, alias, tie.source, tie.transform)
            if ends[0] in weights:
                first, second = (name.rpartition(".")[0] for name in (alias, tie.source))
                for name in _list_coefficients(ends[0][0]):
                    own = make_record(holder, f"{first}.{name}", f"{second}.{name}", None)
                    records[own.alias] = own
        if get_records(holder):
            set_records(holder, records.values())
