"""Generators of permutation groups: shifts, flips, turns, permutations of sets and pairs, and products.

Every function returns a list of arrays g, where g[i] is the new index of element i. Elements of a grid are
numbered in row-major order. `Pattern.from_symmetry` takes one such list for the inputs and one for the
outputs.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._args import Size, check_integer, check_per_axis, is_sequence
from .._memory import check_fits
from ..errors import ArgumentError
from .arguments import check_permutations

Permutation = np.ndarray


def identity(n: int) -> list[Permutation]:
    """Return the identity on n elements.

    >>> identity(3)
    [array([0, 1, 2])]
    """
    return [_number("identity", check_integer("identity", "n", n, least=1))]


def circular_shifts(shape: Size, step: Size = 1) -> list[Permutation]:
    """Return circular shifts of a grid by `step` along each axis.

    Args:
        shape: Size of the grid.
        step: Elements to shift by. For a layer with a stride, use the stride for its inputs and 1 for its
            outputs.

    >>> circular_shifts(4)
    [array([1, 2, 3, 0])]
    """
    size = _check_size("circular_shifts", shape)
    steps = check_per_axis("circular_shifts", "step", step, len(size), least=0)
    numbers = _number_grid("circular_shifts", size)
    return [_invert(np.roll(numbers, s, axis)) for axis, s in enumerate(steps)]


def flips(shape: Size, axes: Size | None = None) -> list[Permutation]:
    """Return the flip of a grid along each of the given axes; by default along every axis.

    >>> flips(3)
    [array([2, 1, 0])]
    """
    size = _check_size("flips", shape)
    numbers = _number_grid("flips", size)
    return [_invert(np.flip(numbers, axis)) for axis in _check_axes("flips", size, axes)]


def quarter_turns(shape: Size, axes: tuple[int, int] = (-2, -1)) -> list[Permutation]:
    """Return the rotation by 90 degrees in the plane of two axes of equal size.

    >>> quarter_turns((2, 2))
    [array([2, 0, 3, 1])]
    """
    where = "quarter_turns"
    size = _check_size(where, shape)
    plane = _check_axes(where, size, axes)
    if len(plane) != 2 or plane[0] == plane[1]:
        raise ArgumentError(where, "axes must be two different axes of the grid", str(axes))
    first, second = plane
    if size[first] != size[second]:
        hint = "use flips, or a square grid"
        raise ArgumentError(where, "both axes must have the same size", str(size), hint)
    numbers = _number_grid(where, size)
    return [_invert(np.rot90(numbers, axes=(first, second)))]


def permutations(n: int) -> list[Permutation]:
    """Return a swap and a cycle, which generate all permutations of n elements.

    >>> permutations(3)
    [array([1, 0, 2]), array([1, 2, 0])]
    """
    swap = _number("permutations", check_integer("permutations", "n", n, least=1))
    cycle = np.roll(swap, -1)
    swap[:2] = swap[:2][::-1]
    return [swap, cycle]


def on_pairs(generators: Sequence[ArrayLike]) -> list[Permutation]:
    """Return the same permutations acting on ordered pairs: (i, j) goes to (g[i], g[j]).

    The pair (i, j) has the number i * n + j.

    >>> on_pairs([[1, 0]])
    [array([3, 2, 1, 0])]
    """
    checked = check_permutations("on_pairs", "generators", generators)
    _check_fits("on_pairs", len(checked[0]) ** 2)
    return [(g[:, None] * len(g) + g).ravel() for g in checked]


def product(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> list[Permutation]:
    """Return the generators of two groups, each acting on its own element of the pairs (i, j).

    The pair (i, j) has the number i * m + j, where m is the number of elements of the second group.

    >>> product([[1, 0]], [[0, 1, 2]])
    [array([3, 4, 5, 0, 1, 2]), array([0, 1, 2, 3, 4, 5])]
    """
    left, right = (
        check_permutations("product", "first", first),
        check_permutations("product", "second", second),
    )
    n, m = len(left[0]), len(right[0])
    _check_fits("product", n * m)
    rows, columns = np.arange(n)[:, None], np.arange(m)
    return [(g[:, None] * m + columns).ravel() for g in left] + [(rows * m + h).ravel() for h in right]


def with_channels(generators: Sequence[ArrayLike], channels: int) -> list[Permutation]:
    """Return the same permutations of positions, applied in each channel; channels are outermost.

    >>> with_channels([[1, 0]], channels=2)
    [array([1, 0, 3, 2])]
    """
    checked = check_permutations("with_channels", "generators", generators)
    count = check_integer("with_channels", "channels", channels, least=1)
    _check_fits("with_channels", count * len(checked[0]))
    offsets = np.arange(count)[:, None]
    return [(offsets * len(g) + g).ravel() for g in checked]


def _check_size(where: str, shape: Size) -> tuple[int, ...]:
    values = tuple(shape) if is_sequence(shape) else (shape,)
    if not values:
        raise ArgumentError(where, "shape must have at least one axis", "()")
    return check_per_axis(where, "shape", values, len(values), least=1)


def _check_axes(where: str, size: tuple[int, ...], axes: Size | None) -> list[int]:
    if axes is None:
        return list(range(len(size)))
    values: Any = tuple(axes) if is_sequence(axes) else (axes,)
    for axis in values:
        if check_integer(where, "axes", axis, least=-len(size)) >= len(size):
            raise ArgumentError(where, f"axes must be below {len(size)} for a grid of size {size}", str(axis))
    return [axis % len(size) for axis in values]


def _number_grid(where: str, size: tuple[int, ...]) -> np.ndarray:
    return _number(where, prod(size)).reshape(size)


def _number(where: str, n: int) -> np.ndarray:
    _check_fits(where, n)
    return np.arange(n)


def _check_fits(where: str, n: int) -> None:
    check_fits(ArgumentError, where, "a permutation", 3 * 8 * n, f"{n:,} elements", "use fewer elements")


def _invert(moved: np.ndarray) -> Permutation:
    """Return the new index of each element, given the element at each new index."""
    result = np.empty(moved.size, dtype=np.int64)
    result[moved.ravel()] = np.arange(moved.size)
    return result
