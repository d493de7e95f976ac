"""Link the two ends of a tie: one Parameter under two names, or a reference from the alias to the source."""

from torch import Size, Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .._torch import get_local, shard_like
from ..parameters.references import DeclaredTie, Reference, get_chain, get_reference
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
    module._parameters[attribute] = source._parameters[source_attribute]


def get_transformed_shape(transform: str | None, source: Tensor, alias: Tensor) -> Size | None:
    """Return the shape that an alias would read, or None if the transform does not apply to the source."""
    try:
        return apply_transform(transform, source.detach().to("meta"), alias.shape).shape
    except (RuntimeError, IndexError):
        return None


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
    return bool(((first == second) | ((first != first) & (second != second))).all())
