"""Why a published count differs: conventions whose amounts add up to the difference exactly."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor
from torch.nn import Embedding, EmbeddingBag, GroupNorm, LayerNorm, Linear, Module, RMSNorm

from .._args import integer
from .._torch import BatchNormBase
from ..parameters.groups import Group
from ..parameters.modules import is_convolution
from .totals import Totals

#: Conventions that may meet in one count: more of them explain nearly any number.
MOST = 3
#: Keras has them among its parameters.
_KERAS_STATISTICS = ("moving_mean", "moving_variance")
_NORMS = (BatchNormBase, GroupNorm, LayerNorm, RMSNorm)


@dataclass(frozen=True)
class Convention:
    """One thing that a count may have more or, below zero, less.

    Args:
        about: Names of what it counts or leaves out; two about the same thing cannot hold together.
    """

    label: str
    amount: int
    about: frozenset[str]


@dataclass(frozen=True)
class Reconciliation:
    """An explanation of a count; `terms` is None where none was found."""

    number: int
    unique: int
    terms: tuple[Convention, ...] | None

    def __str__(self) -> str:
        if self.terms is None:
            difference = self.number - self.unique
            return f"{self.number:,} = {self.unique:,} {_signed(difference)}: no explanation found"
        text = "".join(f" {_signed(term.amount)} {term.label}" for term in self.terms)
        return f"{self.number:,} = {self.unique:,}{text}"


def explained(number: int, unique: int, conventions: Iterable[Convention]) -> Reconciliation:
    """The fewest conventions that turn one count into another."""
    number, known = integer("reconcile", "number", number, least=0), tuple(conventions)
    for count in range(MOST + 1):
        for terms in combinations(known, count):
            if sum(term.amount for term in terms) == number - unique and _apart(terms):
                return Reconciliation(number, unique, terms)
    return Reconciliation(number, unique, None)


def _apart(terms: Sequence[Convention]) -> bool:
    return len(frozenset().union(*(t.about for t in terms))) == sum(len(t.about) for t in terms)


def conventions_of(model: Module, groups: Sequence[Group], totals: Totals) -> tuple[Convention, ...]:
    """The conventions that change this model's count, those met most often first."""
    modules = dict(model.named_modules())
    unrolled = totals.unique if totals.unrolled is None else totals.unrolled
    buffers = dict(model.named_buffers())
    last = next((g.owner.module for g in reversed(groups) if isinstance(g.owner.module, Linear)), None)
    found = [
        _buffers("batch-norm statistics", buffers, {"running_mean", "running_var"}),
        _missing("convolution biases", {name: m for name, m in modules.items() if is_convolution(m)}),
        _missing("linear biases", {name: m for name, m in modules.items() if isinstance(m, Linear)}),
        Convention("tied weights counted again", totals.untied - totals.unique, frozenset(["ties"])),
        Convention("parameters of repeated calls", unrolled - totals.unique, frozenset(["ties"])),
        _without("batch-norm statistics", groups, lambda g: g.owner.attribute in _KERAS_STATISTICS),
        _without("frozen parameters", groups, lambda group: not group.trainable),
        _without("biases", groups, _is_bias),
        _without("convolution biases", groups, lambda g: _is_bias(g) and is_convolution(g.owner.module)),
        _without("parameters of norms", groups, lambda g: isinstance(g.owner.module, _NORMS)),
        _without("embeddings", groups, lambda g: isinstance(g.owner.module, Embedding | EmbeddingBag)),
        _without("position embeddings", groups, _is_position),
        _without("the last linear layer", groups, lambda g: g.owner.module is last),
        _buffers("buffers", buffers, None),
        _buffers("batch counters", buffers, {"num_batches_tracked"}),
    ]
    return tuple(convention for convention in found if convention.amount)


def _signed(n: int) -> str:
    return f"{'+' if n >= 0 else '-'} {abs(n):,}"


def _buffers(label: str, buffers: Mapping[str, Tensor], names: set[str] | None) -> Convention:
    """Buffers of some names, or all, counted as parameters."""
    chosen = {
        name: buffer for name, buffer in buffers.items() if names is None or name.rpartition(".")[2] in names
    }
    return Convention(label, sum(b.numel() for b in chosen.values()), frozenset(chosen))


def _missing(label: str, layers: Mapping[str, Any]) -> Convention:
    """The biases that layers do not have, one for each output channel or feature."""
    bare = {f"{name}.bias": m for name, m in layers.items() if getattr(m, "bias", m) is None}
    outputs = [m.out_features if isinstance(m, Linear) else m.out_channels for m in bare.values()]
    return Convention(label, sum(outputs), frozenset(bare))


def _without(label: str, groups: Sequence[Group], chosen: Callable[[Group], bool]) -> Convention:
    """Parameters that are left out."""
    left = [group for group in groups if chosen(group)]
    return Convention(label, -sum(g.numel for g in left), frozenset(g.owner.name for g in left))


def _is_bias(group: Group) -> bool:
    return "bias" in group.owner.attribute


def _is_position(group: Group) -> bool:
    name = group.owner.name.lower()
    return any(part in name for part in ("position", "pos_embed", "wpe"))
