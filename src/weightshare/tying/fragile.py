"""Find ties that are fragile or undeclared, and parameters that optimizers or files handle wrongly."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence

from torch import Tensor
from torch.fx import GraphModule
from torch.nn import Linear, Module
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from ..parameters.modules import get_original_name
from ..parameters.storage import get_storage_key, has_overlap
from .find import TieGroup
from .names import Place, find_module, get_place
from .report import TieWarning, make_warning
from .sharding import is_split
from .tie import Tie

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


def warn_of_undeclared(model: Module, undeclared: Sequence[TieGroup]) -> Iterator[TieWarning]:
    """Yield a warning for each undeclared tie."""
    view = "EXPORT_LOAD_UNTIES" if isinstance(model, GraphModule) else "VIEW_TIE"
    for tie in undeclared:
        yield make_warning(view if tie.kind == "view" else "UNDECLARED_TIE", (tie.source, tie.alias))


def warn_of_parameters(model: Module, optimizer: Optimizer | None) -> Iterator[TieWarning]:
    """Yield warnings of lazy or possibly unread parameters, and of those listed twice in an optimizer."""
    groups = [] if optimizer is None else optimizer.param_groups
    listed = Counter(id(p) for group in groups for p in group["params"])
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            yield make_warning("LAZY", [name])
        if parameter.requires_grad and parameter.grad is None and _has_gradients_beside(model, name):
            yield make_warning("DEAD_PARAM", [name])
        if listed[id(parameter)] > 1:
            yield make_warning("DUP_IN_OPTIMIZER", [name])


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
    by_storage: dict[Hashable, list[tuple[str, Tensor]]] = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or (storage := get_storage_key(value)) is None:
            continue
        entries = by_storage.setdefault(storage, [])
        for other, other_value in entries:
            if {name, other} & buffers and has_overlap(value, other_value):
                yield make_warning("SAFETENSORS_REFUSES", (other, name))
                break
        entries.append((name, value))
