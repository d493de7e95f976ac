"""Find from measurements how the positions of the input are laid out in a tensor.

The tensor is computed again for shifted inputs. A layout is accepted if it explains all elements of all the
tensors, and only then.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product

import torch
from torch import Tensor

from .layout import Dim, Factor, Layout, shift_tensor

#: Multiples of the smallest shift that are tried along an axis.
_MULTIPLES = (1, 2, 3, 4, 5, 6, 8, 12, 16)

#: Function that returns the tensor for an input shifted along one axis (axis, pixels), or None.
Compute = Callable[[int, int], Tensor | None]


def find_layout(
    value: Tensor,
    compute: Compute,
    size: Sequence[int],
    smallest: Sequence[int],
    tolerance: float,
    prefixes: Iterable[int] = (0,),
    multiples: Sequence[int] = _MULTIPLES,
) -> Layout | None:
    """Return the layout that explains how a tensor changes with shifts of the input; None if there is none.

    Args:
        value: Tensor.
        compute: Function that returns the tensor for a shifted input.
        size: Spatial size of the input.
        smallest: Smallest shift to try along each axis; 0 for an axis that has no effect.
        tolerance: Differences up to this, relative to the largest element, count as rounding.
        prefixes: Numbers of elements that may precede the positions in a dimension.
        multiples: Multiples of the smallest shift that are tried.
    """
    moves: list[list[list[_Move]]] = [[] for _ in value.shape]
    shifts: list[tuple[int, int]] = []  # axis and pixels
    for axis, step in enumerate(smallest):
        if not step:
            continue
        for shift in (step * times for times in multiples):
            if shift % size[axis] == 0:
                return None
            shifted = compute(axis, shift)
            found = (
                None
                if shifted is None
                else _find_moves(value, shifted, axis, shift, size[axis], tolerance, prefixes)
            )
            if found is not None and _holds_twice(value, compute, axis, shift, size[axis], found, tolerance):
                shifts.append((axis, shift))
                for d, candidates in found.items():
                    moves[d].append(candidates)
                break
        else:
            return None
    dims = [_assemble(n, found) for n, found in zip(value.shape, moves)]
    layout = tuple(dim for dim in dims if dim is not None)
    if len(layout) < len(dims) or tuple(dim.size for dim in layout) != tuple(value.shape):
        return None
    for axis, shift in shifts:
        shifted = compute(axis, shift)
        by = [shift if a == axis else 0 for a in range(len(size))]
        if shifted is None or not is_equal(shift_tensor(layout, value, by), shifted, tolerance):
            return None
    return layout


def is_equal(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Return whether two tensors are equal up to rounding."""
    if torch.equal(one, other):
        return True
    if not (one.is_floating_point() or one.is_complex()):
        return False
    largest = one.abs().nan_to_num(posinf=0.0).amax()
    difference = (one - other).abs()
    return bool((torch.where(one == other, 0, difference) <= tolerance * largest).all())


@dataclass(frozen=True)
class _Move:
    """How the elements of a dimension move with one axis.

    Args:
        prefix: Number of elements that do not move, before the others.
        factor: Positions along the axis.
        inner: Number of elements at each of these positions that are next to each other.
        steps: Number of positions by which they moved.
    """

    prefix: int
    factor: Factor
    inner: int
    steps: int

    def apply(self, tensor: Tensor, d: int) -> Tensor:
        """Move the elements of a dimension."""
        head, rest = tensor.tensor_split([self.prefix], d)
        rest = rest.unflatten(d, (-1, self.factor.size, self.inner)).roll(self.steps, d + 1)
        return torch.cat([head, rest.flatten(d, d + 2)], d)


def _find_moves(
    value: Tensor,
    shifted: Tensor,
    axis: int,
    shift: int,
    size: int,
    tolerance: float,
    prefixes: Iterable[int],
) -> dict[int, list[_Move]] | None:
    """Return the ways in which dimensions may move along one axis; None if nothing explains the elements.

    One dimension moves, such as the rows of a map, or two, such as those of attention weights. Summaries of
    each index exclude most of the ways before they are tried on all elements.
    """
    if shifted.shape != value.shape or not value.numel():
        return None
    if is_equal(value, shifted, tolerance):
        return {}
    pairs = {d: (_summarize(value, d), _summarize(shifted, d)) for d in range(value.dim())}
    moving = {d for d, pair in pairs.items() if not is_equal(*pair, 1e3 * tolerance)}
    for fills_circle in (True, False):
        ways = {
            d: [*_list_moves(*pair, axis, shift, size, 1e3 * tolerance, prefixes, fills_circle)]
            for d, pair in pairs.items()
        }
        for number in (1, 2):
            for dims in combinations(range(value.dim()), number):
                if moving.issubset(dims):
                    found = [
                        moves
                        for moves in product(*(ways[d] for d in dims))
                        if is_equal(_apply_moves(value, dims, moves), shifted, tolerance)
                    ]
                    if found:
                        return {d: [*dict.fromkeys(moves[k] for moves in found)] for k, d in enumerate(dims)}
    return None


def _holds_twice(
    value: Tensor,
    compute: Compute,
    axis: int,
    shift: int,
    size: int,
    found: dict[int, list[_Move]],
    tolerance: float,
) -> bool:
    """Return whether a shift twice as large moves the elements twice as far."""
    twice = compute(axis, 2 * shift) if 2 * shift % size else value
    doubled = ([replace(move, steps=2 * move.steps) for move in moves] for moves in found.values())
    dims = [*found]
    return twice is not None and any(
        is_equal(_apply_moves(value, dims, moves), twice, tolerance) for moves in product(*doubled)
    )


def _apply_moves(tensor: Tensor, dims: Sequence[int], moves: Sequence[_Move]) -> Tensor:
    for d, move in zip(dims, moves):
        tensor = move.apply(tensor, d)
    return tensor


def _summarize(tensor: Tensor, d: int) -> Tensor:
    """Return numbers for each index of a dimension that do not depend on the order in the others."""
    rows = tensor.movedim(d, 0).reshape(tensor.shape[d], -1)
    rows = torch.view_as_real(rows).flatten(1) if rows.is_complex() else rows.double()
    rows = rows.nan_to_num()
    return torch.stack([rows.mean(1), rows.square().mean(1).sqrt()], 1)


def _list_moves(
    before: Tensor,
    after: Tensor,
    axis: int,
    shift: int,
    size: int,
    tolerance: float,
    prefixes: Iterable[int],
    fills_circle: bool,
) -> Generator[_Move]:
    """List the ways that explain the summaries.

    Args:
        before, after: Summaries of each index of a dimension.
        axis, shift, size: Axis of the input, shift along it, and its size.
        tolerance: Relative differences up to this count as rounding.
        prefixes: Numbers of elements that may precede the positions.
        fills_circle: Whether the positions are at equal distances around the circle. If not, they are those
            of an axis whose size is not a multiple of the stride.
    """
    for prefix in sorted(set(prefixes)):
        rest = len(before) - prefix
        for n in (n for n in _list_divisors(rest) if n > 1):
            whole = [sign * shift * n // size for sign in (1, -1) if shift * n % size == 0]
            other = [sign * steps for steps in range(1, n) for sign in (1, -1) if sign * steps not in whole]
            for steps in whole if fills_circle else other:
                for inner in _list_divisors(rest // n):
                    move = _Move(prefix, Factor(n, axis, Fraction(shift, steps)), inner, steps)
                    if is_equal(move.apply(before, 0), after, tolerance):
                        yield move


def _assemble(n: int, moves: Sequence[Sequence[_Move]]) -> Dim | None:
    """Return a dimension of `n` elements that moves in one of the given ways with each axis.

    A dimension with one axis holds as many positions as possible, so that they have no other elements between
    them. One with several axes, such as tokens, holds as few as possible for each.
    """
    if not moves:
        return Dim((Factor(n),))
    pick = max if len(moves) == 1 else min
    chosen = [pick(ways, key=lambda way: way.factor.size) for ways in moves]
    prefix = chosen[0].prefix
    factors: list[Factor] = []
    outer = n - prefix
    for move in sorted(chosen, key=lambda move: -move.inner):
        around, remainder = divmod(outer, move.factor.size * move.inner)
        if move.prefix != prefix or remainder or not around:
            return None
        factors += [Factor(around)] if around > 1 else []
        factors.append(move.factor)
        outer = move.inner
    return Dim((*factors, *([Factor(outer)] if outer > 1 else [])), prefix)


def _list_divisors(n: int) -> list[int]:
    """Return the divisors of a number."""
    small = [k for k in range(1, int(n**0.5) + 1) if n % k == 0]
    return sorted({*small, *(n // k for k in small)})
