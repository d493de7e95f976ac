"""Explain a differing count by counting conventions whose amounts add up exactly to the difference."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor
from torch.nn import Embedding, EmbeddingBag, GroupNorm, LayerNorm, Linear, Module, RMSNorm
from torch.nn.parameter import is_lazy

from .._args import check_integer
from .._torch import BatchNormBase
from ..parameters.groups import Group
from ..parameters.modules import is_convolution
from .totals import Totals

#: Maximum number of conventions per explanation; with more, nearly any number could be explained.
MAX_CONVENTIONS = 3
#: Names of batch-norm statistics in Keras, which counts them as parameters.
_KERAS_STATISTICS = ("moving_mean", "moving_variance")
_NORMALIZATIONS = (BatchNormBase, GroupNorm, LayerNorm, RMSNorm)


@dataclass(frozen=True)
class Convention:
    """Something that a count may include or leave out.

    Args:
        label: Name of what is included or left out.
        amount: Elements that the convention adds; negative if it leaves elements out.
        about: Names of those elements. Two conventions about the same name cannot be combined.
    """

    label: str
    amount: int
    about: frozenset[str]


@dataclass(frozen=True)
class Reconciliation:
    """An explanation of a count; `str` is the equation.

    Args:
        number: Count to explain.
        unique: The model's unique elements.
        terms: Conventions that add up to the difference; None if no explanation was found.
    """

    number: int
    unique: int
    terms: tuple[Convention, ...] | None

    def __str__(self) -> str:
        if self.terms is None:
            difference = self.number - self.unique
            return f"{self.number:,} = {self.unique:,} {_format_signed(difference)}: no explanation found"
        text = "".join(f" {_format_signed(term.amount)} {term.label}" for term in self.terms)
        return f"{self.number:,} = {self.unique:,}{text}"


def reconcile(number: int, unique: int, conventions: Iterable[Convention]) -> Reconciliation:
    """Find the fewest conventions that turn the unique elements into another count."""
    number, known = check_integer("reconcile", "number", number, least=0), tuple(conventions)
    for count in range(MAX_CONVENTIONS + 1):
        for terms in combinations(known, count):
            if sum(term.amount for term in terms) == number - unique and _can_combine(terms):
                return Reconciliation(number, unique, terms)
    return Reconciliation(number, unique, None)


def _can_combine(terms: Sequence[Convention]) -> bool:
    return len(frozenset().union(*(t.about for t in terms))) == sum(len(t.about) for t in terms)


def list_conventions(model: Module, groups: Sequence[Group], totals: Totals) -> tuple[Convention, ...]:
    """Return the conventions that change this model's count, the most common ones first."""
    modules = dict(model.named_modules())
    unrolled = totals.unique if totals.unrolled is None else totals.unrolled
    buffers = {name: buffer for name, buffer in model.named_buffers() if not is_lazy(buffer)}
    last = next((g.owner.module for g in reversed(groups) if isinstance(g.owner.module, Linear)), None)
    convolutions = {name: module for name, module in modules.items() if is_convolution(module)}
    linears = {name: module for name, module in modules.items() if isinstance(module, Linear)}
    found = [
        _add_buffers("batch-norm statistics", buffers, {"running_mean", "running_var"}),
        _add_missing_biases("convolution biases", convolutions),
        _add_missing_biases("linear biases", linears),
        Convention("tied weights counted again", totals.untied - totals.unique, frozenset(["ties"])),
        Convention("parameters of repeated calls", unrolled - totals.unique, frozenset(["ties"])),
        _leave_out("batch-norm statistics", groups, lambda g: g.owner.attribute in _KERAS_STATISTICS),
        _leave_out("frozen parameters", groups, lambda group: not group.trainable),
        _leave_out("biases", groups, _is_bias),
        _leave_out("convolution biases", groups, lambda g: _is_bias(g) and is_convolution(g.owner.module)),
        _leave_out("normalization parameters", groups, lambda g: isinstance(g.owner.module, _NORMALIZATIONS)),
        _leave_out("embeddings", groups, lambda g: isinstance(g.owner.module, Embedding | EmbeddingBag)),
        _leave_out("position embeddings", groups, _is_position_embedding),
        _leave_out("the last linear layer", groups, lambda g: g.owner.module is last),
        _add_buffers("buffers", buffers, None),
        _add_buffers("batch counters", buffers, {"num_batches_tracked"}),
    ]
    return tuple(convention for convention in found if convention.amount)


def _format_signed(n: int) -> str:
    return f"{'+' if n >= 0 else '-'} {abs(n):,}"


def _add_buffers(label: str, buffers: Mapping[str, Tensor], names: set[str] | None) -> Convention:
    """Count buffers of some names (None for all) as parameters."""
    chosen = {
        name: buffer for name, buffer in buffers.items() if names is None or name.rpartition(".")[2] in names
    }
    return Convention(label, sum(b.numel() for b in chosen.values()), frozenset(chosen))


def _add_missing_biases(label: str, layers: Mapping[str, Any]) -> Convention:
    """Count the biases that layers lack, one per output channel or feature."""
    bare = {f"{name}.bias": m for name, m in layers.items() if getattr(m, "bias", m) is None}
    outputs = [m.out_features if isinstance(m, Linear) else m.out_channels for m in bare.values()]
    return Convention(label, sum(outputs), frozenset(bare))


def _leave_out(label: str, groups: Sequence[Group], chosen: Callable[[Group], bool]) -> Convention:
    """Leave the chosen parameters out."""
    omitted = [group for group in groups if chosen(group)]
    return Convention(label, -sum(g.numel for g in omitted), frozenset(g.owner.name for g in omitted))


def _is_bias(group: Group) -> bool:
    return "bias" in group.owner.attribute


def _is_position_embedding(group: Group) -> bool:
    name = group.owner.name.lower()
    return any(part in name for part in ("position", "pos_embed", "wpe"))
