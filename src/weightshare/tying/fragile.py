"""Find ties that are fragile or undeclared, and ties that file formats do not keep."""

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule
from torch.nn import Linear, Module
from torch.nn.parameter import is_lazy

from ..parameters.modules import get_original_name
from ..parameters.references import find_module
from ..parameters.storage import get_storage_key, has_overlap
from .faults import is_zombie
from .find import TieGroup
from .linking import get_transformed_shape
from .names import Place, find_ends, get_place
from .report import TieWarning, make_warning
from .sharding import is_split
from .tie import Tie, apply_transform

#: Code of what each file format does to two names of one weight.
SAVING = {
    "export": "EXPORT_LOAD_UNTIES",
    "onnx": "ONNX_LEGACY_DOUBLES",
    "safetensors": "SAFETENSORS_REFUSES",
}


def list_undeclared(model: Module, ties: Mapping[str, Tie], found: Sequence[TieGroup]) -> list[TieGroup]:
    """Return the ties that no declaration explains.

    Args:
        ties: All declared and built-in ties.
        found: All names that share elements. A module under two names is not a tie.
    """
    sources = {get_place(model, alias): tie.source for alias, tie in ties.items()}

    def is_declared(tie: TieGroup) -> bool:
        return bool(_trace(model, tie.source, sources) & _trace(model, tie.alias, sources))

    return [tie for tie in found if tie.kind in ("same_parameter", "view") and not is_declared(tie)]


def warn_of_split_groups(model: Module, ties: Mapping[str, Tie]) -> Iterator[TieWarning]:
    """Yield the declared ties whose ends are in different FSDP2 groups."""
    for alias, tie in ties.items():
        if is_split(model, alias, tie.source):
            yield make_warning("SPLIT_FSDP_GROUP", (alias, tie.source))


def warn_of_adapters(model: Module, ties: Iterable[tuple[str, str]]) -> Iterator[TieWarning]:
    """Yield the ties of which a PEFT adapter changes only one end.

    Args:
        ties: Alias and source of each tie, declared or not.
    """
    for names in ties:
        first, second = (_list_adapters(model, name) for name in names)
        if first.isdisjoint(second) and (first or second):
            yield make_warning("LORA_ON_TIED", names)


def warn_of_undeclared(model: Module, undeclared: Sequence[TieGroup]) -> Iterator[TieWarning]:
    """Yield a warning for each undeclared tie."""
    for tie in undeclared:
        code = "UNDECLARED_TIE" if tie.kind == "same_parameter" else _classify_view(model, tie)
        yield make_warning(code, (tie.source, tie.alias))


def warn_of_parameters(model: Module) -> Iterator[TieWarning]:
    """Yield warnings about lazy and possibly unread parameters."""
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            yield make_warning("LAZY", [name])
        if parameter.requires_grad and parameter.grad is None and _has_gradients_beside(model, name):
            yield make_warning("DEAD_PARAM", [name])


def warn_of_saving(model: Module, found: Sequence[TieGroup], saving: str | None) -> Iterator[TieWarning]:
    """Yield the ties that a file format does not keep.

    Args:
        found: All names that share elements.
        saving: Key of `SAVING`; None for no format.
    """
    if saving is None:
        return
    kinds = {"same_parameter", "same_module", *(["view"] if saving == "safetensors" else [])}
    for tie in found:
        if tie.kind not in kinds:
            continue
        names = (tie.source, tie.alias)
        linear = {isinstance(find_module(model, name.rpartition(".")[0]), Linear) for name in names}
        if saving != "onnx" or len(linear) > 1:
            yield make_warning(SAVING[saving], names)
    if saving == "safetensors":
        yield from _warn_of_shared_buffers(model)


def iter_overlaps(
    entries: Mapping[str, Any], concerned: Container[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the names of each entry that shares elements with an earlier one.

    Args:
        entries: State dict; entries that are not tensors are ignored.
        concerned: Names of which each pair must contain one; None for all.
    """
    by_storage: dict[Hashable, list[tuple[str, Tensor]]] = {}
    for name, value in entries.items():
        if not isinstance(value, Tensor) or (storage := get_storage_key(value)) is None:
            continue
        others = by_storage.setdefault(storage, [])
        for other, other_value in others:
            counts = concerned is None or name in concerned or other in concerned
            if counts and has_overlap(value, other_value):
                yield other, name
                break
        others.append((name, value))


def _trace(model: Module, name: str, sources: Mapping[Place, str]) -> set[Place]:
    """Return the place of a name and the places that its ties lead to.

    Rearranged modules may form a cycle.
    """
    places: set[Place] = set()
    for place in (get_place(model, name), get_place(model, get_original_name(name))):
        while place not in places:
            places.add(place)
            place = get_place(model, sources[place]) if place in sources else place
    return places


def _classify_view(model: Module, tie: TieGroup) -> str:
    """Return the code of two Parameters that share storage."""
    if isinstance(model, GraphModule):
        return "EXPORT_LOAD_UNTIES"
    ends = find_ends(model, tie.alias, tie.source)
    if ends is None:  # a variable of a Keras layer
        return "VIEW_TIE"
    alias, source = (getattr(module, name).detach() for module, name in ends)
    if is_zombie(source, alias):
        return "ZOMBIE_TIE"
    for transform in ("t", "reshape"):
        shape = get_transformed_shape(transform, source, alias)
        if shape == alias.shape and is_zombie(apply_transform(transform, source, alias.shape), alias):
            return "VIEW_TIE"
    return "SLICE_TIE"


def _list_adapters(model: Module, name: str) -> set[Hashable]:
    """Return the storages of the PEFT adapters around the module of a parameter."""
    path, _, own = name.rpartition(".")[0].rpartition(".")
    wrapper = find_module(model, path)
    is_adapter = own in ("base_layer", "original_module") and type(wrapper).__module__.startswith("peft.")
    if wrapper is None or not is_adapter:
        return set()
    named = wrapper.named_parameters(remove_duplicate=False)
    return {get_storage_key(parameter) for name, parameter in named if not name.startswith(f"{own}.")}


def _has_gradients_beside(model: Module, name: str) -> bool:
    """Return whether a name is parametrized and another parameter of its module has a gradient."""
    path, _, attribute = get_original_name(name).rpartition(".")
    module = find_module(model, path)
    if module is None or attribute not in getattr(module, "parametrizations", ()):
        return False
    return any(p.grad is not None for p in module.parameters())


def _warn_of_shared_buffers(model: Module) -> Iterator[TieWarning]:
    """Yield pairs of state-dict entries that share elements, at least one of them a buffer."""
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    for pair in iter_overlaps(model.state_dict(), buffers):
        yield make_warning("SAFETENSORS_REFUSES", pair)
