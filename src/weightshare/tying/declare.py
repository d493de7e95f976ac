"""`tie_weights` and `untie_weights`: declaring ties, all or none, and taking one back."""

from collections.abc import Mapping

import torch
from torch.nn import Module, Parameter

from .._args import times
from ..errors import TieError
from .declared import declare, forget, ties_of
from .names import below, common_path, owner_of
from .reference import refer, reference_of, stop_referring
from .tie import Tie, transformed


def tie_weights(model: Module, ties: Mapping[str, str | Tie]) -> Module:
    """Have parameters use the weights of others, and keep that as a declared tie.

    Of the same shape and without a transform the alias becomes the source's Parameter; with one it becomes a
    reference, which is read from the source at every use and has no Parameter and no entry in the state dict.
    The ties are checked first: an error changes nothing.

    Args:
        ties: The name of each alias, with the name of its source or a `Tie`.

    Returns:
        The model itself.

    Raises:
        ArgumentError: names of no parameters.
        TieError: shapes or dtypes that do not fit, a tie to itself or in a circle, an alias tied already.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.Linear(8, 20))
        >>> tie_weights(model, {"1.weight": Tie("0.weight", transform="t")})[1].weight.shape
        torch.Size([20, 8])
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '1.bias']
    """
    wanted = {alias: tie if isinstance(tie, Tie) else Tie(tie) for alias, tie in ties.items()}
    order = _sources_first(wanted)
    for alias in order:
        _check(model, alias, wanted[alias])
    for alias in order:
        tie = wanted[alias]
        module, attribute = owner_of(model, alias, "tie_weights")
        source, source_attribute = owner_of(model, tie.source, "tie_weights")
        if tie.transform is None and reference_of(source, source_attribute) is None:
            module._parameters[attribute] = source._parameters[source_attribute]
        else:
            refer(module, attribute, source, source_attribute, tie.transform)
        path = common_path(alias, tie.source)
        inside = Tie(below(path, tie.source), tie.transform)
        declare(model.get_submodule(path), below(path, alias), inside)
    return model


@torch.no_grad()
def untie_weights(model: Module, name: str) -> Module:
    """Give an alias a Parameter of its own, with the values it has, and drop its tie.

    Returns:
        The model itself.

    Raises:
        ArgumentError: the name of no parameter.
        TieError: a parameter that is not an alias of a declared tie.
    """
    module, attribute = owner_of(model, name, "untie_weights")
    known = dict(ties_of(model))
    if name not in known:
        aliases = ", ".join(map(repr, known)) or "none"
        raise TieError(
            "untie_weights",
            "name must be that of an alias",
            repr(name),
            f"the declared aliases are {aliases}",
        )
    value = getattr(module, attribute)
    own = Parameter(value.detach().clone(memory_format=torch.contiguous_format), value.requires_grad)
    if reference_of(module, attribute) is not None:
        stop_referring(module, attribute)
    module._parameters[attribute] = own
    forget(model, name)
    return model


def _sources_first(wanted: Mapping[str, Tie]) -> list[str]:
    """The aliases in an order in which every source is settled before its alias."""
    order: list[str] = []
    for first in wanted:
        chain, name = [], first
        while name in wanted and name not in order:
            if name in chain:
                way = " -> ".join([*chain[chain.index(name) :], name])
                wrong = "a tie to itself" if chain[-1] == name else "a circle"
                raise TieError(
                    "tie_weights", "every tie must lead to a weight", f"{wrong}: {way}", "drop one of them"
                )
            chain.append(name)
            name = wanted[name].source
        order += reversed(chain)
    return order


def _check(model: Module, alias: str, tie: Tie) -> None:
    module, attribute = owner_of(model, alias, "tie_weights")
    source, source_attribute = owner_of(model, tie.source, "tie_weights")
    where = f"tie_weights: {alias!r}"
    known = dict(ties_of(model)).get(alias)
    if known is not None:
        raise TieError(where, "must not be tied already", f"one tied to {known.source!r}", "untie it first")
    if module is source and attribute == source_attribute:
        raise TieError(
            where, "must be another parameter than its source", f"{tie.source!r}", "leave this tie out"
        )
    own, value = getattr(module, attribute), getattr(source, source_attribute)
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in (own, value)):
        raise TieError(where, "both ends must have a shape", "a lazy parameter", "call the model once first")
    try:
        shape = transformed(tie.transform, value.detach().to("meta"), own.shape).shape
    except (RuntimeError, IndexError):
        shape = None
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
