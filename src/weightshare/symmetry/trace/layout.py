"""Layouts: how the positions of the input are laid out in the dimensions of a tensor inside a model.

With its layout, any tensor in the model can be shifted in the way that a shift of the input would shift it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm, prod

import torch
from torch import Tensor

from ..transforms import Translate, UndefinedError


@dataclass(frozen=True)
class Factor:
    """One of the axes that a dimension holds, row-major.

    Args:
        size: Number of elements, without the halo.
        axis: Spatial axis of the input that it holds; None if a shift does not move it, as for channels.
        stride: Input pixels from one element to the next; negative for an axis that was flipped.
        halo: Numbers of elements at the start and at the end that repeat the opposite end, as circular
            padding adds them.
        margin: Numbers of elements at the start and at the end, outside of the halo, that are not on the
            circle, as any other padding adds them.
        part_of: For the positions inside a window, the input axis that was cut into windows. A shift by
            whole windows does not move these positions.
    """

    size: int
    axis: int | None = None
    stride: Fraction = Fraction(1)
    halo: tuple[int, int] = (0, 0)
    margin: tuple[int, int] = (0, 0)
    part_of: int | None = None

    @property
    def length(self) -> int:
        """Number of elements, including halo and margin."""
        return self.size + sum(self.halo) + sum(self.margin)

    @property
    def moves(self) -> bool:
        """Whether a shift moves its elements."""
        return self.axis is not None and self.size > 1


@dataclass(frozen=True)
class Dim:
    """A dimension of a tensor.

    Args:
        factors: Axes that it holds, row-major.
        prefix: Number of elements before them that no shift moves, such as a class token.
    """

    factors: tuple[Factor, ...]
    prefix: int = 0

    @property
    def first(self) -> Factor:
        """First factor; most dimensions have only this one."""
        return self.factors[0]

    @property
    def moves(self) -> bool:
        """Whether a shift moves its elements."""
        return any(factor.moves for factor in self.factors)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.prefix + prod(factor.length for factor in self.factors)


Layout = tuple[Dim, ...]

#: Layouts by the number of the tensor on the tape; None for one that could not be followed.
Layouts = Mapping[int, Layout | None]


def make_fixed(size: int) -> Dim:
    """Return a dimension that no shift moves."""
    return Dim((Factor(size),))


def lay_out_input(shape: Sequence[int]) -> Layout:
    """Return the layout of an input [N, C, *spatial]."""
    spatial = [Dim((Factor(n, axis),)) for axis, n in enumerate(shape[2:])]
    return (make_fixed(shape[0]), make_fixed(shape[1]), *spatial)


def drop_margins(layout: Layout, *, margins: bool = True, halos: bool = False) -> Layout:
    """Return a layout in which the elements of margins or halos count as positions like all others.

    Args:
        layout: Layout of a tensor.
        margins: Whether the margins become positions. If not, the layout is that of the tensor without them.
        halos: Whether the halos become positions.
    """

    def change(dim: Dim) -> Dim:
        first = dim.first
        size, halo = (first.size + sum(first.halo), (0, 0)) if halos else (first.size, first.halo)
        if any(halo) and any(first.margin) and margins:
            return dim
        size += sum(first.margin) if margins else 0
        return Dim((replace(first, size=size, halo=halo, margin=(0, 0)), *dim.factors[1:]), dim.prefix)

    return tuple(map(change, layout))


def orient(layout: Layout) -> Layout:
    """Return the layout that the output should have: its axes in order, and none reversed.

    Axes are exchanged only if they have the same positions: a map that is not square is clearly transposed.
    """
    factors = [
        replace(factor, stride=abs(factor.stride)) for dim in layout for factor in dim.factors if factor.moves
    ]
    axes = [factor.axis for factor in factors]
    if len(set(axes)) < len(axes):
        return layout
    ordered = sorted(factors, key=lambda factor: factor.axis or 0)
    is_exchangeable = all(
        (one.size, one.stride) == (other.size, other.stride) for one, other in zip(factors, ordered)
    )
    queue = iter(ordered if is_exchangeable else factors)
    return tuple(
        Dim(tuple(next(queue) if factor.moves else factor for factor in dim.factors), dim.prefix)
        for dim in layout
    )


def cut_margins(layout: Layout, tensor: Tensor) -> Tensor:
    """Return a tensor without the elements of its margins."""
    for d, dim in enumerate(layout):
        low, high = dim.first.margin
        if low or high:
            tensor = tensor.narrow(d, low, tensor.shape[d] - low - high)
    return tensor


def get_strides(layout: Layout) -> dict[int, Fraction]:
    """Return, for each axis in the tensor, the number of input pixels from one position to the next."""
    return {f.axis: f.stride for dim in layout for f in dim.factors if f.moves and f.axis is not None}


def shift_tensor(layout: Layout, tensor: Tensor, shift: Sequence[int]) -> Tensor:
    """Shift a tensor in the way that a circular shift of the input would shift it.

    Raises:
        UndefinedError: If the shift is not a whole number of positions of the tensor.
    """
    steps: list[int] = []
    dims: list[int] = []
    for d, dim in enumerate(layout):
        by = [_count_steps(factor, shift) for factor in dim.factors]
        if not any(by):
            continue
        first = dim.first
        if any(first.halo) or any(first.margin):
            (low, high), (before, after) = first.halo, first.margin
            index = torch.arange(-low, first.size + high, device=tensor.device) - by[0]
            index = torch.cat(
                [
                    torch.arange(before, device=tensor.device),
                    index % first.size + low + before,
                    torch.arange(tensor.shape[d] - after, tensor.shape[d], device=tensor.device),
                ]
            )
            tensor = tensor.index_select(d, index)
        elif len(by) == 1 and not dim.prefix:
            steps.append(by[0])
            dims.append(d)
        else:
            head, tail = tensor.narrow(d, 0, dim.prefix), tensor.narrow(d, dim.prefix, dim.size - dim.prefix)
            tail = tail.unflatten(d, [factor.size for factor in dim.factors])
            tail = tail.roll(by, tuple(range(d, d + len(by)))).flatten(d, d + len(by) - 1)
            tensor = torch.cat([head, tail], d) if dim.prefix else tail
    if tensor.is_quantized:  # torch.roll does not support it
        for d, by in zip(dims, steps):
            index = torch.arange(tensor.shape[d], device=tensor.device)
            tensor = tensor.index_select(d, index.roll(by))
        return tensor
    return torch.roll(tensor, steps, dims) if dims else tensor


def shift_by_fraction(layout: Layout, tensor: Tensor, shift: Sequence[int]) -> Tensor | None:
    """Shift a tensor as a band-limited signal; None if an axis is not a dimension of its own."""
    if any(dim.moves and (len(dim.factors) > 1 or dim.prefix or any(dim.first.halo)) for dim in layout):
        return None
    if not (tensor.is_floating_point() and tensor.numel()):
        return None
    tensor = cut_margins(layout, tensor)
    for d, dim in enumerate(layout):
        if dim.moves and dim.first.axis is not None and shift[dim.first.axis]:
            last = tensor.movedim(d, -1)
            distance = float(Fraction(shift[dim.first.axis]) / dim.first.stride)
            tensor = Translate((distance,), "fractional")(last.unsqueeze(0)).squeeze(0).movedim(-1, d)
    return tensor


def find_overlap(layout: Layout, shift: Sequence[int]) -> tuple[slice, ...]:
    """Return the part of a shifted tensor that did not wrap around; axes that share a dimension are whole."""
    parts: list[slice] = []
    for dim in layout:
        by = _count_steps(dim.first, shift) if len(dim.factors) == 1 and not dim.prefix else 0
        parts.append(slice(max(0, by), max(0, dim.size + min(0, by))))
    return tuple(parts)


def find_smallest_shift(layouts: Sequence[Layout], direction: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest shift, in input pixels, that is a whole number of positions in all the tensors.

    Args:
        layouts: Layouts of the tensors.
        direction: Sign of the shift along each axis; 0 for an axis that is not shifted.
    """
    result: list[int] = []
    for axis, sign in enumerate(direction):
        found = [stride for layout in layouts if (stride := get_strides(layout).get(axis)) is not None]
        if not found or not sign:
            result.append(0)
            continue
        top = lcm(*(stride.numerator for stride in found))  # the fractions are in lowest terms
        result.append(sign * max(1, top))
    return tuple(result)


def reduce_to_positions(layout: Layout, tensor: Tensor) -> Tensor:
    """Return the largest element at each position, with one dimension per axis in the order of the input.

    A tensor that holds an axis twice, such as attention weights, is reduced to one number.
    """
    for d in range(len(layout) - 1, -1, -1):
        dim = layout[d]
        low, high = dim.first.halo
        tensor = tensor.narrow(d, dim.prefix + low, tensor.shape[d] - dim.prefix - low - high)
        tensor = tensor.unflatten(d, [factor.size for factor in dim.factors])
    factors = [factor for dim in layout for factor in dim.factors]
    fixed = tuple(d for d, factor in enumerate(factors) if not factor.moves)
    tensor = tensor.amax(fixed) if fixed else tensor
    axes = [factor.axis for factor in factors if factor.moves and factor.axis is not None]
    if len(set(axes)) < len(axes):
        return tensor.amax() if tensor.dim() else tensor
    return tensor.permute(sorted(range(len(axes)), key=axes.__getitem__))


def _count_steps(factor: Factor, shift: Sequence[int]) -> int:
    """Return the number of elements by which a shift moves a factor."""
    if not factor.moves or factor.axis is None:
        return 0
    steps = Fraction(shift[factor.axis]) / factor.stride
    if steps.denominator != 1:
        by = shift[factor.axis]
        raise UndefinedError(f"undefined for this stride: a shift by {by} is {steps} of a position")
    return int(steps)
