"""Turn and flip the tensors inside of a model in the way that its input is turned or flipped."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ShapeError
from ..transforms import Flip, Rotate90, UndefinedError
from .layout import Factor, Layout


@dataclass(frozen=True)
class Turn:
    """A rotation by quarter turns or a reflection: axes are exchanged, then some are reversed.

    Args:
        swapped: Two axes that are exchanged, or none.
        reversed: Axes that are reversed.
    """

    swapped: tuple[int, ...]
    reversed: tuple[int, ...]

    @classmethod
    def of(cls, transform: Rotate90 | Flip, x: Tensor) -> "Turn":
        """Describe a transform of an input.

        Raises:
            ArgumentError, ShapeError: If the input does not have the axes.
        """
        axes = x.dim() - 2
        if isinstance(transform, Flip):
            transform(x)  # raises an error if it has no such axis
            return cls((), (transform.axis % axes,))
        if axes < 2:
            expected = "the input must have 2 spatial axes after its channels"
            raise ShapeError("trace_equivariance", expected, f"{axes}", "use flip() for signals")
        rows, columns = axes - 2, axes - 1
        ways = {
            0: cls((), ()),
            1: cls((rows, columns), (rows,)),
            2: cls((), (rows, columns)),
            3: cls((rows, columns), (columns,)),
        }
        return ways[transform.turns % 4]


def turn_tensor(layout: Layout, tensor: Tensor, turn: Turn) -> Tensor:
    """Turn a tensor in the way that its positions move if the input is turned.

    Raises:
        UndefinedError: If the positions of its axes do not correspond to each other.
    """
    if any(low != high for dim in layout for low, high in (dim.first.halo, dim.first.margin)):
        raise UndefinedError("undefined: one end of the map is padded more than the other")
    prefixed = [d for d, dim in enumerate(layout) if dim.prefix]
    if prefixed:
        d, prefix = prefixed[0], layout[prefixed[0]].prefix
        if len(prefixed) > 1 or any(dim.moves for e, dim in enumerate(layout) if e != d):
            raise UndefinedError("undefined: tokens without a position have positions in another dimension")
        head, tail = tensor.narrow(d, 0, prefix), tensor.narrow(d, prefix, tensor.shape[d] - prefix)
        return torch.cat([head, _turn(layout, tail, turn)], d)
    return _turn(layout, tensor, turn)


def _turn(layout: Layout, tensor: Tensor, turn: Turn) -> Tensor:
    counts = [len(dim.factors) for dim in layout]
    for d in range(len(layout) - 1, -1, -1):
        if counts[d] > 1:
            tensor = tensor.unflatten(d, [factor.size for factor in layout[d].factors])
    factors = [factor for dim in layout for factor in dim.factors]
    if turn.swapped:
        order = list(range(len(factors)))
        for kind in ("axis", "part_of"):
            one, other = (_list_places(factors, kind, axis) for axis in turn.swapped)
            if len(one) != len(other):
                raise UndefinedError("undefined: only one of two axes that are exchanged has positions")
            for a, b in zip(one, other):
                order[a], order[b] = b, a
        tensor = tensor.permute(order)
    places = [
        place
        for axis in turn.reversed
        for kind in ("axis", "part_of")
        for place in _list_places(factors, kind, axis)
    ]
    tensor = tensor.flip(places) if places else tensor
    for d, count in enumerate(counts):
        if count > 1:
            tensor = tensor.flatten(d, d + count - 1)
    return tensor


def _list_places(factors: Sequence[Factor], kind: str, axis: int) -> list[int]:
    """Return the places of the factors that hold an axis, or the positions inside of its windows."""
    return [
        place
        for place, factor in enumerate(factors)
        if getattr(factor, kind) == axis and factor.size > 1 and (kind == "axis" or factor.axis is None)
    ]
