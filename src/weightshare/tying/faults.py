"""Find out why a declared tie does not hold."""

from collections.abc import Iterable, Iterator

from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy

from ..parameters.modules import join_names
from ..parameters.references import find_module, find_parameter, get_reference, get_references
from ..parameters.storage import get_storage_key, is_quantized
from .linking import get_transformed_shape, has_equal_values, is_replaced
from .model_ties import Link
from .names import find_ends, get_place
from .report import TieWarning, make_warning


def find_fault(model: Module, link: Link) -> str | None:
    """Return the code of the fault of a declared tie, or None if it holds."""
    alias, tie = link.alias, link.tie
    path, _, attribute = alias.rpartition(".")
    source_path, _, source_attribute = tie.source.rpartition(".")
    module, source = find_module(model, path), find_module(model, source_path)
    if module is None or source is None or (not link.is_known and _is_same_place(model, link)):
        return "REMOVED_END"
    reference = get_reference(module, attribute)
    if reference is not None:
        if reference.module is source and reference.name == source_attribute:
            if _is_offloaded(source, source_attribute):
                return "OFFLOADED"
            unreadable = tie.transform is not None and _is_quantized(source, source_attribute)
            return "QUANT_UNTIED" if unreadable else None
        return _find_replacement(source, source_attribute) or _compare(model, link)
    own, value = _get_parameter(module, attribute), _get_parameter(source, source_attribute)
    if own is value and own is not None and tie.transform is None:
        return _find_difference((module, attribute), (source, source_attribute))
    for end, name in ((module, attribute), (source, source_attribute)):
        if (code := _find_replacement(end, name)) is not None:
            return code
    if own is not None and value is not None and is_zombie(own, value):
        return "ZOMBIE_TIE"
    return _compare(model, link)


def find_lost_references(model: Module, aliases: Iterable[str]) -> Iterator[TieWarning]:
    """Yield references to modules outside of the model, except those that a declared tie makes."""
    inside = {id(module) for module in model.modules()}
    declared = {get_place(model, alias) for alias in aliases}
    for prefix, module in model.named_modules():
        for attribute, reference in get_references(module).items():
            if id(reference.module) not in inside and (id(module), attribute) not in declared:
                yield make_warning("LOST_SOURCE", [join_names(prefix, attribute)])


def is_zombie(first: Tensor, second: Tensor) -> bool:
    """Return whether two Parameters are the same elements in the same order."""
    storage = get_storage_key(first)
    if storage is None or storage != get_storage_key(second):
        return False
    layouts = [(t.dtype, t.shape, t.stride(), t.storage_offset()) for t in (first, second)]
    return first is not second and layouts[0] == layouts[1]


def _compare(model: Module, link: Link) -> str:
    """Return the code of a tie whose ends are separate parameters, or of which one is missing."""
    ends = find_ends(model, link.alias, link.tie.source)
    if ends is None:
        return "REMOVED_END"
    own, value = (getattr(module, name) for module, name in ends)
    has_shape = not is_lazy(own) and not is_lazy(value)
    if has_shape and get_transformed_shape(link.tie.transform, value, own) != own.shape:
        return "RESIZED_END"
    return "REPLACED_END" if not link.is_known or is_replaced(*ends) else "BROKEN_TIE"


def _is_same_place(model: Module, link: Link) -> bool:
    """Return whether rearranged modules gave both ends the same name."""
    return get_place(model, link.alias) == get_place(model, link.tie.source)


def _find_difference(*ends: tuple[Module, str]) -> str | None:
    """Return the code of the reason why two ends that are one Parameter differ in value, or None."""
    first, second = (getattr(module, f"{name}_mask", None) for module, name in ends)
    if first is not None or second is not None:
        equal = first is not None and second is not None and has_equal_values(first, second)
        return None if equal else "PRUNE_ON_TIED"
    first, second = (_get_parametrization_types(module, name) for module, name in ends)
    return None if first == second else "NORM_ON_TIED"


def _get_parametrization_types(module: Module, name: str) -> tuple[object, ...]:
    """Return whether a hook-based norm applies to a parameter, and the classes of its parametrizations."""
    lists = getattr(module, "parametrizations", {})
    has_old_norm = f"{name}_orig" in module._parameters
    return (has_old_norm, *map(type, lists[name])) if name in lists else (has_old_norm,)


def _get_parameter(module: Module, name: str) -> Tensor | None:
    """Return the Parameter of a name, even if it is parametrized, normalized by hooks, or pruned."""
    lists = getattr(module, "parametrizations", {})
    if name in lists:
        return lists[name]._parameters.get("original")
    own = find_parameter(module, name)
    return find_parameter(module, f"{name}_orig") if own is None else own


def _find_replacement(module: Module, name: str) -> str | None:
    """Return the code of the operation that gave a parameter its own values, or None."""
    if name in getattr(module, "parametrizations", ()) or f"{name}_v" in module._parameters:
        return "NORM_ON_TIED"
    if f"{name}_orig" in module._parameters:
        return "PRUNE_ON_TIED" if f"{name}_mask" in module._buffers else "NORM_ON_TIED"
    if _is_offloaded(module, name):
        return "OFFLOADED"
    is_quantized = type(module).__module__.startswith("torch.ao.nn.") or _is_quantized(module, name)
    return "QUANT_UNTIED" if is_quantized or f"q{name}" in module._buffers else None


def _is_offloaded(module: Module, name: str) -> bool:
    """Return whether a hook of accelerate loads the module's parameter only for each call."""
    return hasattr(module, "_hf_hook") and getattr(find_parameter(module, name), "is_meta", False)


def _is_quantized(module: Module, name: str) -> bool:
    """Return whether a parameter was replaced with a quantized tensor, as by torchao."""
    parameter = find_parameter(module, name)
    return parameter is not None and (
        type(parameter).__module__.startswith("torchao.") or is_quantized(parameter)
    )
