"""The totals that people mean by "the number of parameters", each with its meaning."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from torch.nn import Module

from ..counting.closed_form import Scheme, scheme
from ..counting.from_layer import spec_of
from ..parameters.groups import Group, Name
from ..parameters.modules import is_convolution, is_keras, modules_of
from ..sharing import Local
from .forward import Watched
from .rows import all_names, is_dead, row_name

MEANINGS = {
    "unique": "distinct elements, each counted once",
    "untied": "every name with parameters of its own",
    "unrolled": "every call of a module with parameters of its own",
    "unshared": "every convolution with a kernel of its own at each position, other layers as they are",
    "trainable": "unique elements that require gradients",
    "frozen": "unique elements that do not",
    "dead": "unique elements that nothing reads in a forward pass in evaluation mode",
    "lazy": "parameters without a shape yet, counted as none",
    "buffers": "elements of buffers, which are no parameters",
    "bytes": "of the unique elements",
    "macs": "multiplications with their additions in a forward pass",
}


@dataclass(frozen=True)
class Totals:
    """Counts of a whole model; None where they need an input. `MEANINGS` says what each is."""

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
        return asdict(self)


def totals_of(model: Module, groups: Iterable[Group], watched: Watched | None) -> Totals:
    """All totals."""
    groups = tuple(groups)
    unique = sum(group.numel for group in groups)
    trainable = sum(group.numel for group in groups if group.trainable)
    whole = watched if watched is not None and watched.failed is None else None
    return Totals(
        unique=unique,
        untied=sum(name.numel for name in all_names(groups)),
        unrolled=None if whole is None else _unrolled(model, groups, whole),
        unshared=None if whole is None else _unshared(model, groups, whole),
        trainable=trainable,
        frozen=unique - trainable,
        dead=None if whole is None else sum(group.numel for group in groups if is_dead(group, whole)),
        lazy=sum(name.kind == "lazy" for name in all_names(groups)),
        buffers=sum(buffer.numel() for buffer in model.buffers()),
        bytes=sum(group.bytes for group in groups),
        macs=None if whole is None else sum(whole.macs.values()),
    )


def _unrolled(model: Module, groups: tuple[Group, ...], watched: Watched) -> int:
    """Parameters, also those read from elsewhere, times the calls of their module.

    Of a module that is not called itself (its parameters are read from outside), the calls of the nearest one
    around it that is.
    """
    modules = dict(modules_of(model))

    def calls(path: str) -> int:
        path = row_name(path)
        while path and not watched.calls[id(modules.get(path))]:
            path = path.rpartition(".")[0]
        return max(1, watched.calls[id(modules.get(path))])

    names = (name for name in all_names(groups) if name.kind != "repeated")
    return sum(name.numel * calls(name.module_name) for name in names)


def _unshared(model: Module, groups: tuple[Group, ...], watched: Watched) -> int:
    """The unique elements, those of each convolution as they would be without sharing."""
    modules = dict(modules_of(model))
    by_module: dict[str, list[Name]] = {}
    for name in all_names(groups):
        by_module.setdefault(row_name(name.module_name), []).append(name)
    total = 0
    for path, names in by_module.items():
        biases = sum(name.own for name in names if "bias" in name.name[len(path) :])
        own = sum(name.own for name in names) - biases, biases
        total += sum(own if path not in modules else _without_sharing(modules[path], own, watched))
    return total


def _without_sharing(module: Any, own: tuple[int, int], watched: Watched) -> tuple[int, int]:
    """Weights and biases of a module's own, on the largest input it met; of no convolution as they are."""
    sizes = [shape for shape in watched.inputs.get(id(module), []) if shape]
    if not is_convolution(module) or not sizes:
        return own
    if is_keras(module):
        transposed = any(c.__name__.endswith("Transpose") for c in type(module).__mro__)
        last = module.data_format == "channels_last"
        inputs, outputs = (
            prod(shape[1:-1] if last else shape[2:])
            for shape in (max(sizes, key=prod), watched.outputs[id(module)])
        )
        return own[0] * (inputs if transposed else outputs), own[1] * outputs
    try:
        spec = spec_of(module)
        size = max((shape[-spec.ndim :] for shape in sizes), key=prod)
        shared = [_weights_and_biases(scheme(spec, sharing, size)) for sharing in (spec.sharing, Local())]
    except ValueError:  # a class of that name with other attributes
        return own
    weights, biases = (n if n < have else n - have + local for n, have, local in zip(own, *shared))
    return weights, biases


def _weights_and_biases(found: Scheme) -> tuple[int, int]:
    biases = sum(term.n for term in found.terms if term.label == "biases")
    return found.parameters - biases, biases
