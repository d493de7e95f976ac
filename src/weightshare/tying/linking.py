"""Link the two ends of a tie: one Parameter under two names, or a reference from the alias to the source."""

import torch
from torch import Size, Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .._torch import get_local, shard_like
from ..parameters.references import (
    DeclaredTie,
    Reference,
    find_parameter,
    get_chain,
    get_reference,
    is_marked,
    mark_tied,
)
from .derived import read_from, stop_reading
from .names import find_ends
from .tie import Tie, apply_transform


def link_ends(holder: Module, alias: str, tie: Tie | DeclaredTie) -> None:
    """Make a tie hold, if both ends exist and fit; otherwise change nothing.

    Args:
        holder: Module that contains both ends.
        alias: Name of the alias, relative to `holder` like the tie's source.
    """
    ends = find_ends(holder, alias, tie.source)
    if ends is None:
        return
    (module, attribute), (source, source_attribute) = ends
    own, value = getattr(module, attribute), getattr(source, source_attribute)
    if is_lazy(own) or is_lazy(value) or get_transformed_shape(tie.transform, value, own) != own.shape:
        return
    chain = get_chain(Reference(source, source_attribute))
    if any(step.module is module and step.name == attribute for step in chain):
        return  # rearranged modules would make the alias its own source
    if tie.transform is not None or len(chain) > 1:
        read_from(module, attribute, source, source_attribute, tie.transform)
        return
    if get_reference(module, attribute) is not None:
        stop_reading(module, attribute)
    share_parameter((source, source_attribute), (module, attribute))


def share_parameter(end: tuple[Module, str], other: tuple[Module, str]) -> None:
    """Make the Parameter at one end of a tie the one at both ends."""
    (module, name), (other_module, other_name) = end, other
    if (own := module._parameters[name]) is not None:
        mark_tied(own)
    other_module._parameters[other_name] = own


def is_replaced(alias: tuple[Module, str], source: tuple[Module, str]) -> bool:
    """Return whether linking two ends would overwrite values that are not known to be those of the tie.

    This is so if their Parameters differ, and a new one was assigned to one end only. If both are new, they
    come from `to_empty()` and the like. A real alias of a meta source counts, too.
    """
    own, value = find_parameter(*alias), find_parameter(*source)
    if own is None or value is None or own is value or is_lazy(own) or is_lazy(value):
        return False
    if value.is_meta:
        return not own.is_meta
    return (is_marked(own) or is_marked(value)) and not has_equal_values(own, value)


def get_transformed_shape(transform: str | None, source: Tensor, alias: Tensor) -> Size | None:
    """Return the shape that an alias would read, or None if the transform does not apply to the source."""
    try:
        return apply_transform(transform, source.detach().to("meta"), alias.shape).shape
    except (RuntimeError, IndexError):
        return None


def _make_comparable(tensor: Tensor) -> Tensor:
    """Return a dense tensor of a dtype that torch compares to any other dtype."""
    tensor = tensor if tensor.layout == torch.strided else tensor.to_dense()
    is_short = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.float() if is_short else tensor


def has_equal_values(first: Tensor, second: Tensor) -> bool:
    """Return whether two ends of a tie have equal values.

    NaN counts as equal to NaN, and the unknown values of a meta tensor count as equal to any values. Of
    sharded tensors, only the parts that this process has are compared.
    """
    if first is second:
        return True
    if first.shape != second.shape:
        return False
    if first.is_meta or second.is_meta:
        return True
    first, second = get_local(shard_like(first, second)), get_local(shard_like(second, first))
    first, second = _make_comparable(first), _make_comparable(second).to(first.device)
    return bool(((first == second) | ((first != first) & (second != second))).all())
