"""Where the positions of the input stand in a tensor inside a model, so that a shift can act on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, prod
from typing import Any

import torch
from torch import Tensor

from ..transforms import UndefinedError


@dataclass(frozen=True)
class Factor:
    """One of the axes that a dimension holds, row-major.

    Args:
        size: Elements.
        axis: Which spatial axis of the input; None for channels and the like, which no shift moves.
        stride: Input pixels from one element to the next.
        halo: Elements before and behind that repeat the other end, as circular padding adds them.
        part_of: Of the positions inside windows the axis that was cut; they stay where they are.
    """

    size: int
    axis: int | None = None
    stride: Fraction = Fraction(1)
    halo: tuple[int, int] = (0, 0)
    part_of: int | None = None

    @property
    def length(self) -> int:
        """Elements with the halo."""
        return self.size + sum(self.halo)

    @property
    def moves(self) -> bool:
        """Whether a shift moves it."""
        return self.axis is not None and self.size > 1


@dataclass(frozen=True)
class Dim:
    """A dimension: its factors, and how many elements stand before them that no shift moves."""

    factors: tuple[Factor, ...]
    prefix: int = 0

    @property
    def first(self) -> Factor:
        """The only factor of most."""
        return self.factors[0]

    @property
    def moves(self) -> bool:
        """Whether a shift moves it."""
        return any(f.moves for f in self.factors)

    @property
    def size(self) -> int:
        """Elements."""
        return self.prefix + prod(f.length for f in self.factors)


Layout = tuple[Dim, ...]


def plain(size: int) -> Dim:
    """A dimension that no shift moves."""
    return Dim((Factor(size),))


def of_input(shape: Sequence[int]) -> Layout:
    """[N, C, *spatial]."""
    spatial = [Dim((Factor(n, axis),)) for axis, n in enumerate(shape[2:])]
    return (plain(shape[0]), plain(shape[1]), *spatial)


def by_sizes(in_shape: Sequence[int], shape: Sequence[int]) -> Layout | None:
    """The layout that the sizes of an output suggest: a map like the input, or no positions at all."""
    axes = len(in_shape) - 2
    if len(shape) <= 2:
        return tuple(map(plain, shape))
    sizes = list(zip(in_shape[2:], shape[len(shape) - axes :]))
    if len(shape) <= axes or any(n % m and m % n for n, m in sizes):
        return None
    spatial = [Dim((Factor(m, axis, Fraction(n, m)),)) for axis, (n, m) in enumerate(sizes)]
    return (*map(plain, shape[: len(shape) - axes]), *spatial)


def strides(layout: Layout) -> dict[int, Fraction]:
    """Pixels from one position to the next, for every axis that stands in the tensor."""
    return {f.axis: f.stride for dim in layout for f in dim.factors if f.moves and f.axis is not None}


def moved(layout: Layout, tensor: Tensor, shift: Sequence[Any]) -> Tensor:
    """The tensor after a circular shift of the input.

    Raises:
        UndefinedError: a shift by a part of a position.
    """
    steps, dims = [], []
    for d, dim in enumerate(layout):
        by = [_steps(f, shift) for f in dim.factors]
        if not any(by):
            continue
        low, high = dim.first.halo
        if low or high:
            index = torch.arange(-low, dim.first.size + high, device=tensor.device) - by[0]
            tensor = tensor.index_select(d, index % dim.first.size + low)
        elif len(by) == 1 and not dim.prefix:
            steps.append(by[0])
            dims.append(d)
        else:
            head, tail = tensor.narrow(d, 0, dim.prefix), tensor.narrow(d, dim.prefix, dim.size - dim.prefix)
            tail = tail.unflatten(d, [f.size for f in dim.factors])
            tail = tail.roll(by, tuple(range(d, d + len(by)))).flatten(d, d + len(by) - 1)
            tensor = torch.cat([head, tail], d) if dim.prefix else tail
    return torch.roll(tensor, steps, dims) if dims else tensor


def unit(layouts: Sequence[Layout], direction: Sequence[int]) -> tuple[int, ...]:
    """The smallest shift in a direction, in pixels, by which positions of all the tensors move as a whole."""
    result = []
    for axis, sign in enumerate(direction):
        found = [s for layout in layouts if (s := strides(layout).get(axis)) is not None]
        if not found or not sign:
            result.append(0)
            continue
        top = lcm(*(s.numerator for s in found))  # of fractions in lowest terms
        result.append(sign * max(1, top))
    return tuple(result)


def positions(layout: Layout, tensor: Tensor) -> Tensor:
    """The largest of all elements at a position: [*positions], axes in order of the input."""
    for d in range(len(layout) - 1, -1, -1):
        dim = layout[d]
        low, high = dim.first.halo
        tensor = tensor.narrow(d, dim.prefix + low, dim.size - dim.prefix - low - high)
        tensor = tensor.unflatten(d, [f.size for f in dim.factors])
    factors = [f for dim in layout for f in dim.factors]
    still = tuple(d for d, f in enumerate(factors) if not f.moves)
    tensor = tensor.amax(still) if still else tensor
    axes = [f.axis for f in factors if f.moves and f.axis is not None]
    if len(set(axes)) < len(axes):  # pairs of positions, as in attention
        return tensor.amax() if tensor.dim() else tensor
    return tensor.permute(sorted(range(len(axes)), key=axes.__getitem__))


def _steps(factor: Factor, shift: Sequence[Any]) -> int:
    if not factor.moves or factor.axis is None:
        return 0
    steps = Fraction(shift[factor.axis]) / factor.stride
    if steps.denominator != 1:
        by = shift[factor.axis]
        raise UndefinedError(f"undefined for this stride: a shift by {by} is {steps} of a position")
    return int(steps)
