"""The counting conventions that apply to one model, with the elements that each adds or leaves out."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .._torch import BatchNormBase
from ..parameters.groups import Group, Name
from ..parameters.modules import get_original_name, is_convolution, is_keras
from .forward import ForwardPass
from .reconciliation import Convention, Resizable
from .rows import get_row_name, is_dead, iter_names
from .totals import Totals

_NORMALIZATIONS = (BatchNormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
#: Names of batch-norm statistics in Keras, which counts them as parameters.
_KERAS_STATISTICS = ("moving_mean", "moving_variance")
#: Maximum number of conventions about single ties, the largest ties first.
_MAX_TIES = 12
#: Number of layers with the same outputs above which these are not taken for heads.
_MAX_HEADS = 4


def list_conventions(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    groups: Sequence[Group],
    totals: Totals,
    forward: ForwardPass | None,
) -> tuple[tuple[Convention, ...], tuple[Resizable, ...]]:
    """Return the conventions that change this model's count, and the layers that may have another size."""
    owners = [_Owner(group, modules.get(get_row_name(group.owner.module_name))) for group in groups]
    head = _find_head([group for group in groups if not is_dead(group, forward)], modules)
    found = [
        *_list_buffers(model, groups),
        *_list_missing_biases(modules),
        *_list_ties(modules, groups, totals),
        *_list_batch_norms(owners),
        *_list_omissions(owners, forward),
        _leave_out_experts(groups, totals, forward),
        *_list_tops(owners, modules, head),
    ]
    distinct: dict[tuple[int, frozenset[str]], Convention] = {}
    for convention in found:
        if convention.amount:
            distinct.setdefault((convention.amount, convention.about), convention)
    return tuple(distinct.values()), tuple(_list_resizables(owners, head))


@dataclass(frozen=True)
class _Owner:
    """A group with the module in whose row it is counted."""

    group: Group
    module: nn.Module | None

    @property
    def name(self) -> str:
        return self.group.owner.name

    @property
    def attribute(self) -> str:
        """Name of the parameter before it was parametrized, such as "weight"."""
        return get_original_name(self.name).rpartition(".")[2]

    @property
    def path(self) -> str:
        return get_row_name(self.group.owner.module_name)

    @property
    def is_bias(self) -> bool:
        return "bias" in self.attribute


def _leave_out(
    label: str, owners: Iterable[_Owner], chosen: Callable[[_Owner], bool], rarity: int = 1
) -> Convention:
    """Leave the chosen parameters out."""
    omitted = [owner for owner in owners if chosen(owner)]
    return Convention(label, -sum(o.group.numel for o in omitted), frozenset(o.name for o in omitted), rarity)


def _list_buffers(model: nn.Module, groups: Sequence[Group]) -> Iterator[Convention]:
    """Count buffers as parameters, except those that hold packed weights."""
    weights = {id(name.parameter) for name in iter_names(groups)}
    buffers = {
        name: buffer
        for name, buffer in model.named_buffers()
        if not is_lazy(buffer) and id(buffer) not in weights
    }
    hidden = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        for name in module._non_persistent_buffers_set
    }

    def add(label: str, chosen: Callable[[str], bool], rarity: int) -> Convention:
        counted: dict[str, Tensor] = {name: buffer for name, buffer in buffers.items() if chosen(name)}
        return Convention(label, sum(b.numel() for b in counted.values()), frozenset(counted), rarity)

    yield add("batch-norm statistics", lambda n: n.rpartition(".")[2] in ("running_mean", "running_var"), 1)
    yield add("batch counters", lambda n: n.rpartition(".")[2] == "num_batches_tracked", 2)
    yield add("buffers", lambda n: True, 2)
    yield add("persistent buffers", lambda n: n not in hidden, 2)


def _list_missing_biases(modules: Mapping[str, nn.Module]) -> Iterator[Convention]:
    """Count the biases that layers lack: one per output, and a second one in recurrent layers of Keras."""
    convolutions = {name: m for name, m in modules.items() if is_convolution(m)}
    linears = {name: m for name, m in modules.items() if _is_linear(m)}
    for label, layers, rarity in (("convolution biases", convolutions, 1), ("linear biases", linears, 2)):
        bare = {id(m): (name, m) for name, m in layers.items() if getattr(m, "bias", m) is None}
        amount = sum(_count_outputs(module) for _, module in bare.values())
        yield Convention(label, amount, frozenset(f"{name}.bias" for name, _ in bare.values()), rarity)
    single = {
        name: module.bias.value.numel()
        for name, module in modules.items()
        if is_keras(module) and hasattr(module, "recurrent_kernel") and _has_one_bias(module)
    }
    about = frozenset(f"{name} second bias" for name in single)
    yield Convention("second recurrent biases", sum(single.values()), about)


def _list_ties(
    modules: Mapping[str, nn.Module], groups: Sequence[Group], totals: Totals
) -> Iterator[Convention]:
    """Count tied weights again: all of them, or one or more of several; and count a module at each call."""
    ties = _measure_ties(modules, groups)
    names = frozenset(f"{tie} again" for tie in ties)
    yield Convention("tied weights counted again", totals.untied - totals.unique, names)
    unrolled = totals.unique if totals.unrolled is None else totals.unrolled
    yield Convention("parameters of repeated calls", unrolled - totals.unique, names | {"calls"})
    by_size: dict[int, list[str]] = {}
    for tie, size in sorted(ties.items(), key=lambda item: -item[1]):
        by_size.setdefault(size, []).append(tie)
    listed = [
        (size * count, same, count) for size, same in by_size.items() for count in range(1, len(same) + 1)
    ]
    for amount, same, count in listed[:_MAX_TIES]:
        shown = ", ".join(map(repr, same[:3])) + (", ..." if len(same) > 3 else "")
        which = f"{count} of {shown}" if count < len(same) else shown
        rarity = 1 if len(listed) <= 4 else 2
        yield Convention(f"{which} counted again", amount, frozenset(f"{tie} again" for tie in same), rarity)


def _measure_ties(modules: Mapping[str, nn.Module], groups: Sequence[Group]) -> dict[str, int]:
    """Return the elements that each tie saves, by the name of its alias or of its repeated module."""
    seen: set[int] = set()
    repeated: list[str] = []
    for path, module in modules.items():
        inside = repeated and path.startswith(f"{repeated[-1]}.")
        if id(module) in seen and not inside:
            repeated.append(path)
        seen.add(id(module))

    def find_tie(name: Name) -> str:
        if name.kind != "repeated":
            return name.name
        return next((path for path in repeated if name.name.startswith(f"{path}.")), name.name)

    ties: dict[str, int] = {}
    for name in iter_names(groups):
        if name.numel > name.own:
            tie = find_tie(name)
            ties[tie] = ties.get(tie, 0) + name.numel - name.own
    return ties


def _list_batch_norms(owners: Sequence[_Owner]) -> Iterator[Convention]:
    """Leave out what batch norms have: their weights, their biases, both, or the statistics in Keras."""

    def is_norm(owner: _Owner) -> bool:
        return isinstance(owner.module, BatchNormBase) or _is_keras(owner.module, "BatchNormalization")

    norms = [owner for owner in owners if is_norm(owner)]
    learned = [owner for owner in norms if owner.attribute not in _KERAS_STATISTICS]
    yield _leave_out("batch-norm statistics", norms, lambda o: o.attribute in _KERAS_STATISTICS)
    yield _leave_out("batch-norm parameters", learned, lambda o: True)
    yield _leave_out("batch-norm parameters and statistics", norms, lambda o: True)
    yield _leave_out("batch-norm weights", learned, lambda o: o.attribute in ("weight", "gamma"), 2)
    yield _leave_out("batch-norm biases", learned, lambda o: o.attribute in ("bias", "beta"), 2)


def _list_omissions(owners: Sequence[_Owner], forward: ForwardPass | None) -> Iterator[Convention]:
    """Leave out parameters of one kind."""
    yield _leave_out("frozen parameters", owners, lambda o: not o.group.trainable)
    if not all(owner.group.trainable for owner in owners):
        yield _leave_out("trainable parameters", owners, lambda o: o.group.trainable, 2)
    yield _leave_out("dead parameters", owners, lambda o: is_dead(o.group, forward))
    yield _leave_out("second recurrent biases", owners, lambda o: o.attribute.startswith("bias_hh"))
    yield _leave_out("biases", owners, lambda o: o.is_bias, 2)
    yield _leave_out("convolution biases", owners, lambda o: o.is_bias and _is_convolution(o.module))
    yield _leave_out("normalization parameters", owners, lambda o: isinstance(o.module, _NORMALIZATIONS), 2)
    yield _leave_out("embeddings", owners, lambda o: isinstance(o.module, nn.Embedding | nn.EmbeddingBag))
    yield _leave_out("position embeddings", owners, _is_position_embedding, 2)
    vocabulary = _find_vocabulary(owners)
    yield _leave_out("the largest embedding", owners, lambda o: o.path == vocabulary)


def _leave_out_experts(groups: Sequence[Group], totals: Totals, forward: ForwardPass | None) -> Convention:
    """Leave out the experts that a token does not use."""
    places = {place for experts in forward.experts for place in experts.places} if forward else set()
    names = frozenset(n.name for n in iter_names(groups) if (id(n.module), n.attribute) in places)
    amount = 0 if totals.active is None else totals.active - totals.unique
    return Convention("experts that a token does not use", amount, names)


def _list_tops(
    owners: Sequence[_Owner], modules: Mapping[str, nn.Module], head: str | None
) -> Iterator[Convention]:
    """Leave out the last linear layer, or more of what follows the features."""
    if head is None:
        return
    kind = "linear layer" if _is_linear(modules[head]) else "convolution"
    yield _leave_out(f"the last {kind}", owners, lambda o: o.path == head)
    order = {path: place for place, path in enumerate(modules)}
    last = max((order[path] for path, module in modules.items() if is_convolution(module)), default=None)
    if last is not None:
        label = "the linear layers after the last convolution"
        yield _leave_out(
            label,
            owners,
            lambda o: order.get(o.path, 0) > last and o.module is not None and _is_linear(o.module),
        )
    part = head
    for end in (place for place, letter in enumerate(f"{head}.") if letter == "."):
        part = head[:end]
        if not all(_is_inside(owner.path, part) for owner in owners):
            break
    yield _leave_out(f"everything in {part!r}", owners, lambda o: _is_inside(o.path, part), 2)


def _list_resizables(owners: Sequence[_Owner], head: str | None) -> Iterator[Resizable]:
    """Yield the head, all heads of the same size, and the layers that have a row per embedding."""

    def measure(noun: str, size: int, chosen: Sequence[_Owner]) -> Iterator[Resizable]:
        counts = [owner.group.numel for owner in chosen]
        if counts and all(count % size == 0 for count in counts):
            paths = tuple(dict.fromkeys(owner.path for owner in chosen))
            about = {n.name for owner in chosen for n in owner.group.names} | {
                f"{path}.bias" for path in paths
            }
            names = ", ".join(repr(path) if path else "the model itself" for path in paths)
            yield Resizable(names, noun, size, sum(counts) // size, frozenset(about))

    path = _find_vocabulary(owners)
    largest = next((o.module for o in owners if o.path == path), None)
    vocabulary: int | None = getattr(largest, "num_embeddings", None)
    heads = [o for o in owners if o.path == head and o.group.numel]
    classes = _count_outputs(heads[0].module) if heads else 0
    if classes and classes != vocabulary:
        yield from measure("classes", classes, heads)
        alike = [
            o
            for o in owners
            if o.module is not None and _is_linear(o.module) and _count_outputs(o.module) == classes
        ]
        if 1 < len({o.path for o in alike}) <= _MAX_HEADS:
            yield from measure("classes", classes, alike)
    if vocabulary:
        rows = [o for o in owners if _has_row_per_embedding(o, vocabulary)]
        yield from measure("embeddings", vocabulary, rows)


def _find_vocabulary(owners: Sequence[_Owner]) -> str | None:
    """Return the path of the largest embedding."""
    tables = [o for o in owners if isinstance(o.module, nn.Embedding | nn.EmbeddingBag) and o.group.numel]
    return max(tables, key=lambda o: o.group.numel).path if tables else None


def _has_row_per_embedding(owner: _Owner, vocabulary: int) -> bool:
    stored = owner.group.owner.stored
    shape = stored.shape if stored is not None else None
    return bool(shape) and shape[0] == vocabulary and owner.group.numel > 0


def _find_head(groups: Sequence[Group], modules: Mapping[str, nn.Module]) -> str | None:
    """Return the path of the last linear layer, or pointwise convolution after all other layers."""
    order = {path: place for place, path in enumerate(modules)}
    paths = {get_row_name(name.module_name) for name in iter_names(groups)}
    ordered = sorted((path for path in paths if path in order), key=order.__getitem__)
    if ordered and _is_pointwise(modules[ordered[-1]]):
        return ordered[-1]
    return next((path for path in reversed(ordered) if _is_linear(modules[path])), None)


def _is_inside(path: str, part: str) -> bool:
    return path == part or path.startswith(f"{part}.")


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or _is_keras(module, "Dense")


def _is_convolution(module: nn.Module | None) -> bool:
    return module is not None and is_convolution(module)


def _is_pointwise(module: Any) -> bool:
    return is_convolution(module) and {*getattr(module, "kernel_size", (0,))} == {1} and module.groups == 1


def _is_keras(module: nn.Module | None, layer: str) -> bool:
    return (
        module is not None
        and is_keras(module)
        and isinstance(module, getattr(sys.modules["keras"].layers, layer))
    )


def _has_one_bias(module: Any) -> bool:
    return getattr(module, "bias", None) is not None and module.bias.ndim == 1


def _count_outputs(module: Any) -> int:
    """Return the number of output features or channels of a linear layer or convolution; 0 if unknown."""
    for name in ("out_features", "out_channels", "units", "filters"):
        if isinstance(number := getattr(module, name, None), int):
            return number
    return prod(module.kernel.shape[-2:]) if is_keras(module) else 0  # depthwise in Keras


def _is_position_embedding(owner: _Owner) -> bool:
    return any(part in owner.name.lower() for part in ("position", "pos_embed", "wpe"))
