"""`tie_weights` and `untie_weights`: declaring ties, all or none, and taking one back."""

from collections.abc import Mapping

import torch
from torch.nn import Module, Parameter, RNNBase

from .._args import times
from ..errors import TieError
from .declared import declare, establish, forget, shape_after, ties_of
from .names import Place, below, common_path, find_owner, owner_of
from .reference import class_reading, reference_of, stop_referring
from .tie import Tie


def tie_weights(model: Module, ties: Mapping[str, str | Tie]) -> Module:
    """Have parameters use the weights of others, and keep that as a declared tie.

    Of the same shape and without a transform the alias becomes the source's Parameter; with one it becomes a
    reference, which is read from the source at every use and has no Parameter and no entry in the state dict.
    The ties are checked first: an error changes nothing. Tie before an optimiser is made. Ties declared on a
    module around `model` are not seen from here; `check_tied_weights` of that module reports those that a new
    tie breaks.

    Args:
        ties: The name of each alias, with the name of its source or a `Tie`.

    Returns:
        The model itself.

    Raises:
        ArgumentError: names of no parameters.
        TieError: shapes or dtypes that do not fit, a tie to itself or in a circle, an alias tied already or
            the source of another tie.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.Linear(8, 20))
        >>> tie_weights(model, {"1.weight": Tie("0.weight", transform="t")})[1].weight.shape
        torch.Size([20, 8])
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '1.bias']
    """
    expected = {alias: tie if isinstance(tie, Tie) else Tie(tie) for alias, tie in ties.items()}
    order, known = _sources_first(model, expected), _Known(model)
    for alias in order:
        _check(model, alias, expected[alias], known)
    for alias in order:
        path = common_path(alias, expected[alias].source)
        holder, tie = model.get_submodule(path), expected[alias]
        inside = below(path, alias), Tie(below(path, tie.source), tie.transform)
        establish(holder, *inside)
        declare(holder, *inside)
    return model


@torch.no_grad()
def untie_weights(model: Module, name: str) -> Module:
    """Give an alias a Parameter of its own, with the values it has, and drop its tie.

    Returns:
        The model itself.

    Raises:
        ArgumentError: the name of no parameter.
        TieError: a parameter that is no alias, or is the source of another tie.
    """
    module, attribute = owner_of(model, name, "untie_weights")
    known = dict(ties_of(model))
    if name not in known:
        aliases = ", ".join(map(repr, known)) or "none"
        hint = f"the aliases are {aliases}; a tie to a weight outside of this module is known further up"
        raise TieError("untie_weights", "name must be that of an alias", repr(name), hint)
    if dependants := [alias for alias, tie in known.items() if tie.source == name]:
        got = f"the source of {', '.join(map(repr, dependants))}"
        raise TieError(f"untie_weights: {name!r}", "must not be a source", got, "untie these first")
    value = getattr(module, attribute)
    own = Parameter(value.detach().clone(memory_format=torch.contiguous_format), value.requires_grad)
    if reference_of(module, attribute) is not None:
        stop_referring(module, attribute)
    module._parameters = {**module._parameters, attribute: own}
    forget(model, name)
    return model


def _sources_first(model: Module, expected: Mapping[str, Tie]) -> list[str]:
    """The aliases in an order in which every source is settled before its alias."""
    alias_at: dict[Place, str] = {}
    for alias in expected:
        if (other := alias_at.setdefault(_place(model, alias), alias)) != alias:
            got = f"{other!r} and {alias!r}, two names of one parameter"
            raise TieError("tie_weights", "every alias must be given once", got, "leave one of them out")
    order: list[str] = []
    for first in expected:
        chain, name = [], first
        while name is not None and name not in order:
            if name in chain:
                way = " -> ".join([*chain[chain.index(name) :], name])
                wrong = "a tie to itself" if chain[-1] == name else "a circle"
                raise TieError(
                    "tie_weights", "every tie must lead to a weight", f"{wrong}: {way}", "drop one of them"
                )
            chain.append(name)
            name = alias_at.get(_place(model, expected[name].source))
        order += reversed(chain)
    return order


def _place(model: Module, name: str) -> Place:
    module, attribute = owner_of(model, name, "tie_weights")
    return id(module), attribute


class _Known:
    """The ties that a model has: what every alias is tied to, and an alias of every source.

    And the references that are to be made, as far as they are checked.
    """

    def __init__(self, model: Module):
        ties = [
            (find_owner(model, alias), find_owner(model, tie.source), alias, tie)
            for alias, tie in ties_of(model)
        ]
        self.source_of = {own: tie.source for own, _, _, tie in ties}
        self.alias_of = {source: alias for _, source, alias, _ in ties}
        self.becoming: set[tuple[Module, str]] = set()


def _check(model: Module, alias: str, tie: Tie, known: _Known) -> None:
    module, attribute = owner_of(model, alias, "tie_weights")
    source, source_attribute = owner_of(model, tie.source, "tie_weights")
    where = f"tie_weights: {alias!r}"
    if (module, attribute) in known.source_of:
        got, hint = f"one tied to {known.source_of[module, attribute]!r}", "untie it first"
        raise TieError(where, "must not be tied already", got, hint)
    if (module, attribute) in known.alias_of:
        other = known.alias_of[module, attribute]
        got, hint = f"the source of {other!r}", f"tie {tie.source!r} to it instead, or untie {other!r}"
        raise TieError(where, "must not be the source of another tie", got, hint)
    if tie.transform is not None and isinstance(module, RNNBase):
        got, hint = type(module).__name__, "tie it without a transform"
        raise TieError(where, "must be of a module that reads its weights at each call", got, hint)
    through = (
        reference_of(source, source_attribute) is not None or (source, source_attribute) in known.becoming
    )
    if tie.transform is not None or through:
        known.becoming.add((module, attribute))
        if reference_of(module, attribute) is None:
            class_reading(type(module), (attribute,))
    own, value = getattr(module, attribute), getattr(source, source_attribute)
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in (own, value)):
        raise TieError(where, "both ends must have a shape", "a lazy parameter", "call the model once first")
    shape = shape_after(tie.transform, value, own)
    if shape != own.shape:
        given = "as it is" if tie.transform is None else f"by {tie.transform!r}"
        raise TieError(
            where,
            f"{tie.source!r} of {times(value.shape)}, used {given}, must have its shape, {times(own.shape)}",
            "one that cannot" if shape is None else times(shape),
            "use another transform ('t', 'flip', 'reshape'), or tie other weights",
        )
    if (own.dtype, own.device) != (value.dtype, value.device):
        raise TieError(
            where,
            f"both ends must be {value.dtype} on {value.device}",
            f"{own.dtype} on {own.device}",
            "convert one with .to()",
        )
