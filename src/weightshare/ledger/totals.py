"""The totals of a model: each number that "number of parameters" may mean, with its meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ..counting.closed_form import ParameterCount, count_parameters
from ..counting.from_layer import read_layer
from ..parameters.groups import Group, Name
from ..parameters.modules import is_convolution, is_keras
from ..sharing import Local
from .forward import ForwardPass
from .rows import get_row_name, is_dead, iter_names

#: Meaning of each total, in the order in which they are printed.
MEANINGS = {
    "unique": "distinct elements, each counted once",
    "untied": "as if no weights were tied",
    "unrolled": "as if every call of a module had its own parameters",
    "unshared": "as if every convolution had its own kernel at each position; other layers unchanged",
    "trainable": "unique elements that require gradients",
    "frozen": "unique elements that do not require gradients",
    "dead": "unique elements that a forward pass in evaluation mode does not read",
    "lazy": "parameters without a shape yet, counted as 0",
    "buffers": "buffer elements, which are not parameters",
    "bytes": "size of the unique elements",
    "macs": "multiply-accumulates (MACs) in a forward pass",
}


@dataclass(frozen=True)
class Totals:
    """Counts of a whole model, with the meanings in `MEANINGS`; None if a count needs an input."""

    unique: int
    untied: int
    unrolled: int | None
    unshared: int | None
    trainable: int
    frozen: int
    dead: int | None
    lazy: int
    buffers: int
    bytes: int
    macs: int | None

    def to_dict(self) -> dict[str, int | None]:
        """Return the totals as a JSON object."""
        return asdict(self)


def count_totals(
    model: nn.Module, modules: Mapping[str, nn.Module], groups: Sequence[Group], forward: ForwardPass | None
) -> Totals:
    """Count all totals of a model.

    Args:
        modules: All modules of the model, by name.
        groups: All groups of its parameters.
        forward: A forward pass, for the totals that need one.
    """
    unique = sum(group.numel for group in groups)
    trainable = sum(group.numel for group in groups if group.trainable)
    unrolled = unshared = dead = macs = None
    if forward is not None and forward.completed:
        unrolled = _count_unrolled(modules, groups, forward)
        unshared = _count_unshared(modules, groups, forward)
        dead = sum(group.numel for group in groups if is_dead(group, forward))
        macs = sum(forward.macs.values())
    return Totals(
        unique=unique,
        untied=sum(name.numel for name in iter_names(groups)),
        unrolled=unrolled,
        unshared=unshared,
        trainable=trainable,
        frozen=unique - trainable,
        dead=dead,
        lazy=sum(name.kind == "lazy" for name in iter_names(groups)),
        buffers=_count_buffers(model, groups),
        bytes=sum(group.bytes for group in groups),
        macs=macs,
    )


def _count_buffers(model: nn.Module, groups: Sequence[Group]) -> int:
    """Count the elements of all buffers that have a shape and do not hold packed weights."""
    weights = {id(name.parameter) for name in iter_names(groups)}
    return sum(b.numel() for b in model.buffers() if not is_lazy(b) and id(b) not in weights)


def _count_unrolled(modules: Mapping[str, nn.Module], groups: Sequence[Group], forward: ForwardPass) -> int:
    """Count each parameter, references included, once per call of its module.

    If a module is not called itself (its parameters are read from outside), the calls of the nearest
    enclosing module that is called are used instead.
    """

    def count_calls(path: str) -> int:
        path = get_row_name(path)
        while path and not forward.calls[id(modules.get(path))]:
            path = path.rpartition(".")[0]
        return max(1, forward.calls[id(modules.get(path))])

    names = (name for name in iter_names(groups) if name.kind != "repeated")
    return sum(name.numel * count_calls(name.module_name) for name in names)


def _count_unshared(modules: Mapping[str, nn.Module], groups: Sequence[Group], forward: ForwardPass) -> int:
    """Count the unique elements as if each convolution were unshared."""
    by_module: dict[str, list[Name]] = {}
    for name in iter_names(groups):
        by_module.setdefault(get_row_name(name.module_name), []).append(name)
    total = 0
    for path, names in by_module.items():
        biases = sum(name.own for name in names if "bias" in name.name[len(path) :])
        own = sum(name.own for name in names) - biases, biases
        total += sum(own if path not in modules else _count_without_sharing(modules[path], own, forward))
    return total


def _count_without_sharing(module: Any, own: tuple[int, int], forward: ForwardPass) -> tuple[int, int]:
    """Return the weights and biases of an unshared convolution on the largest input that the module received.

    Args:
        own: Weights and biases that the module has; returned unchanged if it is not a convolution.
    """
    sizes = [shape for shape in forward.inputs.get(id(module), []) if shape]
    if not is_convolution(module) or not sizes:
        return own
    if is_keras(module):
        transposed = any(c.__name__.endswith("Transpose") for c in type(module).__mro__)
        last = module.data_format == "channels_last"
        inputs, outputs = (
            prod(shape[1:-1] if last else shape[2:])
            for shape in (max(sizes, key=prod), forward.outputs[id(module)])
        )
        return own[0] * (inputs if transposed else outputs), own[1] * outputs
    try:
        spec = read_layer(module)
        size = max((shape[-spec.ndim :] for shape in sizes), key=prod)
        shared, local = (_split(count_parameters(spec, sharing, size)) for sharing in (spec.sharing, Local()))
    except ValueError:  # a different class with the same name
        return own
    weights, biases = (
        n if n < counted else n - counted + unshared for n, counted, unshared in zip(own, shared, local)
    )
    return weights, biases


def _split(count: ParameterCount) -> tuple[int, int]:
    """Return the numbers of weights and biases in a count."""
    biases = sum(term.n for term in count.terms if term.label == "biases")
    return count.total - biases, biases
