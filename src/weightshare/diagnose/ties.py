"""Ties as questions: find those of a model, and build the candidates "untie" and "blind" for one of them."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .._args import did_you_mean, is_sequence
from .._nests import iter_tensors
from ..errors import ArgumentError, TieError
from ..parameters.groups import group_parameters
from ..parameters.modules import iter_modules, join_names
from ..tying.names import find_owner
from ..tying.separate import separate
from .candidates import BlindCorrections, Kind

_WHERE = "sharing_test"


@dataclass(frozen=True)
class TiedParameter:
    """A parameter with several names.

    Args:
        owner: Name that owns the parameter, as in `find_tied_weights`.
        names: Names under which the model uses it, at least two.
    """

    owner: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Tied:
    """Parameters that the same modules share, such as a weight and a bias. They are untied together."""

    parameters: tuple[TiedParameter, ...]

    @property
    def name(self) -> str:
        """Name of the first parameter, by which the tie is called."""
        return self.parameters[0].owner

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names that get parameters of their own if the tie is removed."""
        return tuple(name for parameter in self.parameters for name in parameter.names[1:])

    def count(self, model: nn.Module) -> tuple[int, int]:
        """Return the number of tied weights, and the number of weights that untying adds."""
        counts = [model.get_parameter(parameter.owner).numel() for parameter in self.parameters]
        return sum(counts), sum(n * (len(p.names) - 1) for n, p in zip(counts, self.parameters))


def list_tied_names(model: nn.Module) -> list[tuple[str, ...]]:
    """Return all names of each parameter that has several, first the one that owns it."""
    groups = [[name.name for name in group.names] for group in group_parameters(iter_modules(model))]
    return [
        tuple(names)
        for names in groups
        # Keras layers store their parameters under other names
        if len(names) > 1 and all(find_owner(model, name) is not None for name in names)
    ]


def find_ties(
    model: nn.Module, example: Tensor, names: Sequence[str] | None
) -> tuple[dict[str, Tied], dict[str, str]]:
    """Return each tie to try by its name, and the reason why others are not tried.

    Args:
        model: Copy of the model in evaluation mode.
        example: Input of the model [N, ...].
        names: Names of the ties to try; None for all that can be tried.

    Raises:
        ArgumentError: If a name is not that of a tie.
        TieError: If a named tie cannot be tried.
    """
    modules: dict[tuple[str, ...], list[TiedParameter]] = {}
    errors: dict[str, TieError] = {}
    for one in _examine(model, list_tied_names(model), example):
        if isinstance(one, TiedParameter):
            modules.setdefault(_strip_common_end(one.names), []).append(one)
        else:
            errors[one.where] = one
    found = {tie.name: tie for tie in (Tied(tuple(parameters)) for parameters in modules.values())}
    if names is None:
        return found, {name: f"{error.expected}, got {error.got}" for name, error in errors.items()}
    return _select(found, errors, names), {}


def _examine(
    model: nn.Module, tied: Sequence[tuple[str, ...]], example: Tensor
) -> list[TiedParameter | TieError]:
    """Return each parameter to try, or an error at its name with the reason not to try it."""
    untied = copy.deepcopy(model)
    errors: dict[str, TieError] = {}
    for owner, *aliases in tied:
        try:
            if not model.get_parameter(owner).requires_grad:
                raise TieError(owner, "the parameter must require gradients", "a frozen one")
            separate(untied, aliases)
        except TieError as error:
            errors[owner] = TieError(owner, error.expected, error.got, error.hint)
    used = _find_used(untied, [name for names in tied if names[0] not in errors for name in names], example)
    for owner, *aliases in tied:
        names = [name for name in (owner, *aliases) if name in used]
        if len(names) < 2 and owner not in errors:
            expected = "the output must depend on the parameter under at least two of its names"
            errors[owner] = TieError(owner, expected, names[0] if names else "none")
    return [
        errors.get(names[0]) or TiedParameter(names[0], tuple(n for n in names if n in used))
        for names in tied
    ]


@torch.enable_grad()
def _find_used(model: nn.Module, names: Sequence[str], example: Tensor) -> set[str]:
    """Return the names of those parameters on which the outputs depend."""
    outputs = [tensor for tensor in iter_tensors(model(example.clone())) if tensor.requires_grad]
    if not outputs or not names:
        return set()
    ones = [torch.ones_like(output) for output in outputs]
    grads = torch.autograd.grad(outputs, list(map(model.get_parameter, names)), ones, allow_unused=True)
    return {name for name, grad in zip(names, grads) if grad is not None}


def _strip_common_end(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without the parts at the end that they have in common.

    >>> _strip_common_end(("encoder.0.weight", "decoder.0.weight"))
    ('encoder', 'decoder')
    """
    parts = [name.split(".") for name in names]
    while all(parts) and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    return tuple(map(".".join, parts))


def _select(ties: Mapping[str, Tied], errors: Mapping[str, TieError], names: Any) -> dict[str, Tied]:
    if not is_sequence(names):
        hint = f"write [{names!r}]" if isinstance(names, str) else None
        raise ArgumentError(_WHERE, "ties must be a list of names", repr(names), hint)
    for name in names:
        if name in errors:
            error = errors[name]
            raise TieError(f"{_WHERE}: {name!r}", error.expected, error.got, error.hint)
        if name not in ties:
            known = f"choose from {', '.join(map(repr, ties))}" if ties else "pass ties=None"
            hint = did_you_mean(name, ties, known)
            raise ArgumentError(_WHERE, "ties must contain names of tied parameters", repr(name), hint)
    return {name: ties[name] for name in dict.fromkeys(names)}


def build_tie_candidate(model: nn.Module, kind: Kind, tie: Tied) -> nn.Module:
    """Return a copy of the model that is ready to be trained as this candidate.

    Args:
        model: The trained model.
        kind: "untie" for one parameter per use, or "blind" for one for all uses, with as many weights.
        tie: Tie that is changed.
    """
    result = copy.deepcopy(model)
    if kind == "blind":
        return _Blind(result, tie)
    separate(result, tie.aliases)
    return result


class _Blind(nn.Module):
    """A model that adds corrections to tied parameters, the same for all uses.

    It does not use parametrizations, because those of a module are part of its class, which copies share.
    """

    def __init__(self, model: nn.Module, tie: Tied):
        super().__init__()
        self.model = model
        tied = [(model.get_parameter(one.owner), len(one.names) - 1) for one in tie.parameters]
        self.corrections = nn.ModuleList(BlindCorrections(parameter, extra) for parameter, extra in tied)
        #: Name of each tied parameter in each module that registers it.
        self._names = [list(_iter_names(model, parameter)) for parameter, _ in tied]

    def forward(self, input: Tensor) -> Any:
        values: dict[str, Any] = {}
        for names, corrections in zip(self._names, self.corrections):
            corrected: Tensor = corrections(self.model.get_parameter(names[0]))
            values |= dict.fromkeys(names, corrected)
        return functional_call(self.model, values, (input,), tie_weights=False)


def _iter_names(model: nn.Module, parameter: nn.Parameter) -> Iterator[str]:
    """Yield one name of a parameter for each module that registers it."""
    for prefix, module in model.named_modules():
        yield from (join_names(prefix, name) for name, own in module._parameters.items() if own is parameter)
