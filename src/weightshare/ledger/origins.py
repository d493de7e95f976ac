"""The parameters from which each tensor of a forward pass was computed."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import Module

from ..parameters.modules import iter_modules, iter_parameters
from ..parameters.sharded import find_shards
from ..parameters.storage import get_storage_key

#: A parameter, as the `id` of a module and the name of its attribute.
Place = tuple[int, str]


@dataclass(frozen=True)
class Call:
    """One call of an operator, before the origins of its outputs are known.

    Args:
        packet: The operator, without its overload.
        args: Positional arguments.
        inputs: All tensors in the arguments, with their keys (see `identify`).
        outputs: All tensors in the output, with their keys.
        macs: Multiply-accumulates; None if the operator does not sum products or has no formula.
        is_view: Whether the output is a view, so that no element is read.
        stack: Modules that are running, the innermost one last.
    """

    packet: Any
    args: tuple[Any, ...]
    inputs: tuple[tuple[Tensor, Hashable], ...]
    outputs: tuple[tuple[Tensor, Hashable], ...]
    macs: int | None
    is_view: bool
    stack: tuple[Module, ...]

    @property
    def module(self) -> Module:
        """The innermost module that is running."""
        return self.stack[-1]


def identify(tensor: Tensor) -> Hashable:
    """Return a key for the storage of a live tensor, or for the tensor itself if it has none of its own."""
    storage = get_storage_key(tensor)
    return id(tensor) if storage is None else storage


class Origins:
    """Maps each tensor that does not depend on the input to the parameters it was computed from.

    Freed memory is used again, so a key is valid only until an operator returns another tensor with that key.
    """

    def __init__(self, model: Module):
        self.numels: dict[Place, int] = {}
        #: Key of each parameter at the start of the pass.
        self.keys: dict[Place, Hashable] = {}
        self._places: dict[Hashable, frozenset[Place]] = {identify(b): frozenset() for b in model.buffers()}
        #: Parameters that get another storage during the pass, because they are lazy or sharded, by module.
        self._moving: dict[int, list[str]] = {}
        modules = list(iter_modules(model))
        shards = find_shards(module for _, module in modules)
        for _, module in modules:
            for stored in iter_parameters(module, shards.get(id(module))):
                moves = stored.storage is None
                key, place = id(stored.tensor) if moves else stored.storage, (id(module), stored.name)
                self.numels[place] = stored.numel
                self._places[key] = self._places.get(key, frozenset()) | {place}
                self.keys[place] = key
                if moves:
                    self._moving.setdefault(id(module), []).append(stored.name)
        self.stored = frozenset(self.keys.values())

    def find(self, tensor: Tensor, key: Hashable, stack: Sequence[Module]) -> frozenset[Place] | None:
        """Return the parameters from which a tensor was computed; None if it depends on the input.

        Args:
            key: Key of the tensor.
            stack: Modules that are running.
        """
        for module in stack if self._moving else ():
            for name in self._moving.get(id(module), ()):
                value = getattr(module, name, None)  # FSDP1 makes it a plain attribute
                if isinstance(value, Tensor) and _have_same_start(value, tensor, key):
                    self.numels[id(module), name] = value.numel()
                    self._places[key] = frozenset([(id(module), name)])
                    return self._places[key]
        return self._places.get(key)

    def follow(self, call: Call) -> None:
        """Record the origins of the outputs of an operator."""
        places = [self.find(*each, call.stack) for each in call.inputs]
        known = [place for place in places if place is not None]
        for _, key in call.outputs:
            if key in self.stored:
                continue
            if len(known) == len(places):
                self._places[key] = frozenset().union(*known)
            else:
                self._places.pop(key, None)


def _have_same_start(value: Tensor, tensor: Tensor, key: Hashable) -> bool:
    """Return whether two tensors start at the same element, since one storage may hold several parameters."""
    if value is tensor:
        return True
    return get_storage_key(value) == key and value.storage_offset() == tensor.storage_offset()
