"""The totals of a model: each number that "number of parameters" may mean, with its meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from ..parameters.groups import Group
from .forward import ForwardPass
from .origins import Place
from .rows import get_row_name, is_dead, iter_names
from .unshared import count_unshared

#: Meaning of each total, in the order in which they are printed.
MEANINGS = {
    "unique": "distinct elements, each counted once",
    "untied": "as if no weights were tied",
    "unrolled": "as if every call of a module had its own parameters",
    "unshared": "as if every convolution had its own kernel at each position; other layers unchanged",
    "active": "unique elements that each token uses; leaves out experts that the router does not choose",
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
    """Counts of a whole model, with the meanings in `MEANINGS`; None if a count needs an input.

    `active` is also None if no mixture of experts was found, or if it is not known how many experts are used.
    """

    unique: int
    untied: int
    unrolled: int | None
    unshared: int | None
    active: int | None
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
    unrolled = unshared = active = dead = macs = None
    if forward is not None and forward.completed:
        unrolled = _count_unrolled(modules, groups, forward)
        unshared = count_unshared(modules, groups, forward)
        dead = sum(group.numel for group in groups if is_dead(group, forward))
        active = _count_active(groups, forward)
        macs = sum(forward.macs.values())
    return Totals(
        unique=unique,
        untied=sum(name.numel for name in iter_names(groups)),
        unrolled=unrolled,
        unshared=unshared,
        active=active,
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


def _count_active(groups: Sequence[Group], forward: ForwardPass) -> int | None:
    """Count the unique elements without the experts that a token does not use.

    Elements that several experts of a layer share, or that are also used outside of experts, are active.
    """
    active = sum(group.numel for group in groups)
    if not forward.experts:
        return None
    anywhere = frozenset[Place]().union(*(experts.places for experts in forward.experts))
    for experts in forward.experts:
        if experts.active is None:
            return None
        own = 0
        for group in groups:
            places = {(id(name.module), name.attribute) for name in group.names}
            if places <= anywhere and len(places & experts.places) == 1:
                own += sum(n.own for n in group.names if (id(n.module), n.attribute) in experts.places)
        active -= own * (experts.count - experts.active) // experts.count
    return active
