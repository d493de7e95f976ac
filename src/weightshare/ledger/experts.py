"""Mixtures of experts: which parameters are experts, and how many of them each token uses.

A router computes one score per expert and chooses the largest, so the number of experts is the size of the
axis over which an operator such as `topk` chooses. The experts are found in the innermost running module that
has as many submodules of equal shapes, or parameters of which a product reads one slice per expert. How many
a token uses follows from the multiply-accumulates per token, or from the number that the router chooses if
all experts are computed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.nn import Module
from torch.nn.parameter import is_lazy

from .._nests import get_shape
from .origins import Call, Origins, Place

aten = torch.ops.aten


@dataclass(frozen=True)
class Experts:
    """The experts of one layer.

    Args:
        module: `id` of the module that contains the router and the experts.
        count: Number of experts.
        active: Number of experts that a token uses; None if it cannot be determined.
        parameters: The experts' parameters: for each kind, one per expert, or one that stacks them all.
    """

    module: int
    count: int
    active: int | None
    parameters: tuple[tuple[Place, ...], ...]

    @property
    def places(self) -> frozenset[Place]:
        """All parameters of the experts."""
        return frozenset(place for kind in self.parameters for place in kind)


@dataclass(frozen=True)
class _Choice:
    """A choice of the largest scores.

    Args:
        count: Number of scores from which to choose.
        chosen: Number of chosen scores; None if later operators decide it, 0 if it depends on the scores.
        rows: Number of choices that the operator makes.
        step: Number of operators that ran before.
        stack: Modules that are running, the innermost one last.
    """

    count: int
    chosen: int | None
    rows: int
    step: int
    stack: tuple[Module, ...]


class ExpertObserver:
    """Records the choices of routers, and how parameters are read."""

    def __init__(self, origins: Origins):
        self._origins = origins
        self._step = 0
        self._choices: list[_Choice] = []
        self._macs: Counter[Place] = Counter()
        self._first_read: dict[Place, int] = {}
        #: Shapes in which each parameter is read.
        self._shapes: defaultdict[Place, set[tuple[int, ...]]] = defaultdict(set)
        self._indexed: set[Place] = set()

    def observe(self, call: Call) -> None:
        """Record one call of an operator."""
        self._step += 1
        if call.packet in _CHOICES:
            self._add_choice(call)
        if call.is_view:
            return
        read = [(tensor, self._origins.find(tensor, key, call.stack)) for tensor, key in call.inputs]
        read = [(tensor, places) for tensor, places in read if places]
        for tensor, places in read:
            for place in places:
                self._first_read.setdefault(place, self._step)
                if call.packet in _INDEXING:
                    self._indexed.add(place)
                elif call.packet not in _NOT_STACKED:
                    self._shapes[place].add(get_shape(tensor))
        if read and call.macs:
            _, places = max(read, key=lambda each: each[0].numel())  # not the bias
            self._macs.update(dict.fromkeys(places, call.macs))

    def _add_choice(self, call: Call) -> None:
        scores = call.inputs[0][0]
        axis, chosen = _CHOICES[call.packet](call.args)
        shape = get_shape(scores)  # () for a nested tensor
        if axis is not None and shape and 0 not in shape and scores.is_floating_point():
            count = shape[axis]
            self._choices.append(_Choice(count, chosen, prod(shape) // count, self._step, call.stack))

    def find_experts(self, calls: Mapping[int, int]) -> tuple[Experts, ...]:
        """Return the experts of all layers.

        Args:
            calls: Number of calls of each module, by `id`.
        """
        choices: dict[tuple[int, int], list[_Choice]] = defaultdict(list)
        parameters: dict[tuple[int, int], tuple[tuple[Place, ...], ...]] = {}
        for choice in self._choices:
            for module in reversed(choice.stack):
                key = id(module), choice.count
                if key not in parameters:
                    parameters[key] = tuple(self._find_parameters(module, choice))
                if parameters[key]:
                    choices[key].append(choice)
                    break
        found = [
            Experts(*key, self._find_active(parameters[key], made, calls[key[0]]), parameters[key])
            for key, made in choices.items()
        ]
        return tuple(_drop_repeated(experts for experts in found if experts.active != experts.count))

    def _find_parameters(self, module: Module, choice: _Choice) -> Iterator[tuple[Place, ...]]:
        """Yield the parameters in a module that exist once per index and are read after the choice."""
        if choice.count < 2:
            return
        running = {id(each) for each in choice.stack}
        for holder in module.modules():
            for name, parameter in holder._parameters.items():
                shape = () if parameter is None or is_lazy(parameter) else get_shape(parameter)
                if self._is_stack((id(holder), name), shape, choice):
                    yield ((id(holder), name),)
            children = [child for child in holder.children() if any(True for _ in child.parameters())]
            if len(children) != choice.count or not running.isdisjoint(map(id, children)):
                continue
            kinds = [_list_places(child) for child in children]
            places = [place for kind in kinds for place in kind.values()]
            first = min((self._first_read[p] for p in places if p in self._first_read), default=0)
            if first > choice.step and all(kind.keys() == kinds[0].keys() for kind in kinds):
                yield from zip(*(kind.values() for kind in kinds))

    def _is_stack(self, place: Place, shape: tuple[int, ...], choice: _Choice) -> bool:
        """Return whether a parameter is a stack of slices, which are read one by one or as a batch."""
        count, numel = choice.count, prod(shape)
        if len(shape) < 2 or shape[0] % count or self._first_read.get(place, 0) <= choice.step:
            return False
        return (place in self._indexed and shape[0] == count) or any(
            prod(read) * count == numel or (len(read) > 2 and (read[0], prod(read)) == (count, numel))
            for read in self._shapes[place]
        )

    def _find_active(
        self, parameters: Sequence[tuple[Place, ...]], choices: Sequence[_Choice], calls: int
    ) -> int | None:
        """Return how many experts a token uses, or None if it is not known.

        This is measured by the MACs per token. If those do not show it, as when all experts are computed, it
        is the number that the router chooses.
        """
        choices = [choice for choice in choices if choice.chosen != 0]
        if not choices:
            return None
        multiplied = [kind for kind in parameters if any(self._macs[place] for place in kind)]
        macs = sum(self._macs[place] for kind in multiplied for place in kind)
        numel = sum(self._origins.numels.get(place, 0) for kind in multiplied for place in kind)
        count, tokens = choices[0].count, sum(choice.rows for choice in choices)
        if numel:  # a router may choose several times per call, each time for all tokens
            measured, rest = divmod(count * macs * len(choices), tokens * calls * numel)
            if 1 <= measured < count and not rest:
                return measured
        chosen = [choice.chosen for choice in choices if choice.chosen is not None]
        is_clear = len(set(chosen)) == 1 and (chosen[0] > 1 or len(chosen) == calls)
        return chosen[0] if is_clear else None

    def list_read(self, experts: Sequence[Experts]) -> Iterator[Place]:
        """Yield the experts' parameters of each kind that some expert reads.

        An expert that no token of the example input uses is not dead.
        """
        for each in experts:
            for kind in each.parameters:
                if any(place in self._first_read for place in kind):
                    yield from kind


def _drop_repeated(found: Iterable[Experts]) -> Iterator[Experts]:
    """Yield the experts without those found twice, of which the known ones are kept."""
    seen: set[Place] = set()
    for experts in sorted(found, key=lambda each: each.active is None):
        if seen.isdisjoint(experts.places):
            seen |= experts.places
            yield experts


def _list_places(module: Module) -> dict[tuple[str, tuple[int, ...]], Place]:
    """Return the parameters in a module, by name and shape."""
    return {
        (f"{path}.{name}", () if is_lazy(parameter) else tuple(parameter.shape)): (id(holder), name)
        for path, holder in module.named_modules()
        for name, parameter in holder._parameters.items()
        if parameter is not None
    }


def _get(args: Sequence[Any], index: int, default: Any) -> Any:
    return args[index] if len(args) > index else default


#: For each operator that may choose experts: the axis of the scores, and how many it chooses.
_CHOICES: dict[Any, Callable[[Sequence[Any]], tuple[int | None, int | None]]] = {
    aten.topk: lambda args: (_get(args, 2, -1), args[1]),
    aten.argmax: lambda args: (_get(args, 1, None), 1),
    aten.max: lambda args: (args[1] if isinstance(_get(args, 1, None), int) else None, 1),
    aten.multinomial: lambda args: (-1, args[1]),
    aten.sort: lambda args: (-1, None),
    **dict.fromkeys((aten.ge, aten.gt), lambda args: (-1, 0)),
}
_INDEXING = {aten.gather, aten.index, aten.index_select}
#: Operators that read a parameter whole, whatever its first axis is.
_NOT_STACKED = {aten.convolution, aten._convolution, aten.embedding}
