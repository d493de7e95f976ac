"""From sharing to symmetry: which maps of a catalogue of shifts, flips and turns a pattern keeps."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import PatternError
from .proof import compared

_TRIED = 256  # connections that a candidate is tried on before it is proved on all...
_LOOKUPS = 2**20  # ...and how often at most, for all candidates of a flip or turn together

Shift = tuple[int, ...]
Point = tuple[tuple[int, int], ...]  # for every axis of the image the axis it comes from, and its direction


@dataclass(frozen=True)
class Symmetries:
    """The maps of the catalogue that a pattern keeps; together they are a group.

    Args:
        order: How many they are, the identity counted. Maps that move all inputs and outputs alike are one,
            as a flip and a shift of two positions.
        shifts: (of the inputs, of the outputs): circular shifts that generate all that are kept.
        n_shifts: How many shifts these make.
        points: Names of the flips and turns that are kept, each for some shift behind it, and no two of them
            alike but for a shift.
        note: What the pattern leaves out.
    """

    order: int
    shifts: tuple[tuple[Shift, Shift], ...]
    n_shifts: int
    points: tuple[str, ...]
    note: str = ""

    def __str__(self) -> str:
        if self.order == 1:
            return "no circular shift, flip or turn is kept: order 1"
        by = ", ".join(f"{a} with {b} of the output" if a != b else f"{a}" for a, b in self.shifts)
        parts = [f"{self.n_shifts:,} circular shifts, made by {by}"] if self.shifts else []
        parts += [", ".join(self.points)] if self.points else []
        note = f" ({self.note})" if self.note else ""
        return f"{'; '.join(parts)}: order {self.order:,}{note}"


def kept(pattern: Any) -> Symmetries:
    """What `Pattern.symmetries` says."""
    if len(pattern.in_shape) != len(pattern.out_shape):
        got = f"{len(pattern.in_shape) - 1} and {len(pattern.out_shape) - 1}"
        raise PatternError(
            "Pattern.symmetries",
            "inputs and outputs must have as many spatial axes",
            got,
            "give in_shape and out_shape",
        )
    if not len(pattern.edges):
        raise PatternError(
            "Pattern.symmetries", "the pattern must have connections", "none", "every map keeps it"
        )
    if len(pattern.in_shape) == 1:
        return Symmetries(order=1, shifts=(), n_shifts=1, points=(), note=pattern.note)
    grid = _Grid(pattern)
    identity, *others = grid.points()
    shifts, group = _shifts(grid, identity)
    points = [point for point in others if grid.first(point, grid.candidates(point)) is not None]
    return Symmetries(
        order=len(group) * (1 + len(points)),
        shifts=tuple(shifts),
        n_shifts=len(group),
        points=tuple(_name(point) for point in points),
        note=pattern.note,
    )


def _shifts(grid: "_Grid", identity: Point) -> tuple[list[tuple[Shift, Shift]], np.ndarray]:
    """(shifts that generate, all that are kept as numbers)."""
    left: Any = grid.candidates(identity)
    group: Any = np.zeros(1, dtype=np.int64)
    generators: list[tuple[Shift, Shift]] = []
    while len(left := left[~np.isin(left, group)]):
        found = grid.first(identity, left)
        if found is None:
            break
        shift = grid.shift(found)
        generators.append((shift[: grid.ndim], shift[grid.ndim :]))
        left, group = left[left > found], _closed(group, shift, grid.moduli)
    return generators, group


def _closed(group: np.ndarray, shift: Shift, moduli: tuple[int, ...]) -> np.ndarray:
    """The group that a further shift makes of a group of shifts."""
    members = np.array(np.unravel_index(group, moduli))
    step, parts = np.array(shift)[:, None], [group]
    while True:
        members = (members + step) % np.array(moduli)[:, None]
        numbers: Any = np.ravel_multi_index(tuple(members), moduli)
        if np.isin(numbers[0], group):
            return np.concatenate(parts)
        parts.append(np.asarray(numbers))


class _Grid:
    """A pattern's connections, looked up quickly under shifts, flips and turns.

    A shift is one number, of the inputs and the outputs together. A bias is a connection to one more input,
    which no map moves.
    """

    def __init__(self, pattern: Any):
        self.pattern = pattern
        self.in_shape, self.out_shape = pattern.in_shape, pattern.out_shape
        self.ndim = len(self.in_shape) - 1
        self.moduli = (*self.in_shape[1:], *self.out_shape[1:])
        edges = pattern.edges
        if pattern.bias is not None:
            outputs = np.arange(pattern.n_out)
            constant = np.full(pattern.n_out, pattern.n_in)
            edges = np.concatenate(
                [edges, np.stack([outputs, constant, pattern.n_weights + pattern.bias], 1)]
            )
        self.edges = edges
        self.kinds = pattern.n_weights + pattern.n_biases
        self.pairs, rank = np.unique(edges[:, 0] * (pattern.n_in + 1) + edges[:, 1], return_inverse=True)
        self.keys = np.sort(rank.ravel() * self.kinds + edges[:, 2])
        uses = np.bincount(pattern.edges[:, 2], minlength=pattern.n_weights)
        rarest = np.where(uses > 0, uses, uses.max() + 1).argmin()
        self.alike = pattern.edges[pattern.edges[:, 2] == rarest]
        chosen = np.random.default_rng(0).permutation(len(edges))[:_TRIED]
        self.tried = [tuple(edge) for edge in edges[chosen].tolist()]

    def points(self) -> Iterator[Point]:
        """The flips and turns that fit the sizes and differ by more than a shift, the identity first."""
        sizes, seen = list(zip(self.in_shape[1:], self.out_shape[1:])), set()
        for axes in itertools.permutations(range(self.ndim)):
            for signs in itertools.product((1, -1), repeat=self.ndim):
                fits = all(sizes[a] == sizes[k] for k, a in enumerate(axes))
                # of one position all axes are alike, of two a flip is a shift
                moves = tuple(
                    (k if max(sizes[k]) == 1 else a, 1 if max(sizes[k]) <= 2 else sign)
                    for k, (a, sign) in enumerate(zip(axes, signs))
                )
                if fits and moves not in seen:
                    seen.add(moves)
                    yield tuple(zip(axes, signs))

    def candidates(self, point: Point) -> np.ndarray:
        """Shifts behind a flip or turn that carry one connection to one with its weight, and others too."""
        output, input_, _ = self.alike[0]
        there = (
            self._turned(np.array([output]), point, self.out_shape),
            self._turned(np.array([input_]), point, self.in_shape),
        )
        to_out, to_in = (
            np.array(np.unravel_index(self.alike[:, k], s))
            for k, s in enumerate((self.out_shape, self.in_shape))
        )
        same = (to_out[0] == there[0][0]) & (to_in[0] == there[1][0])
        steps = np.concatenate([to_in[1:] - there[1][1:], to_out[1:] - there[0][1:]])[:, same]
        steps %= np.array(self.moduli)[:, None]
        left: Any = np.sort(np.ravel_multi_index(tuple(steps), self.moduli))
        left = left[np.diff(left, prepend=-1) > 0]  # np.unique hashes, which takes ten times as long
        lookups = 0
        for edge in self.tried:
            lookups += len(left)
            if lookups > _LOOKUPS:
                break
            left = self._passing(point, left, edge)
        return left

    def first(self, point: Point, candidates: np.ndarray) -> int | None:
        """The first of the candidates that keeps the whole pattern, proved on all connections."""
        while len(candidates):
            shift = self.shift(candidates[0])
            g_in = self._permutation(point, shift[: self.ndim], self.in_shape)
            g_out = self._permutation(point, shift[self.ndim :], self.out_shape)
            broken = compared(self.pattern, g_in, g_out).witness
            if broken is None:
                return int(candidates[0])
            input_ = self.pattern.n_in if broken.input is None else broken.input
            kind = broken.weight + (self.pattern.n_weights if broken.input is None else 0)
            self.tried.append((broken.output, input_, kind))
            candidates = self._passing(point, candidates[1:], self.tried[-1])
        return None

    def shift(self, number: Any) -> Shift:
        """(of the inputs, of the outputs), one after the other."""
        return tuple(int(step) for step in np.unravel_index(number, self.moduli))

    def _passing(self, point: Point, shifts: np.ndarray, edge: tuple[int, int, int]) -> np.ndarray:
        """Those shifts behind a flip or turn that carry a connection to one with its weight."""
        output, input_, kind = edge
        steps = np.array(np.unravel_index(shifts, self.moduli))
        to_out = self._moved(output, point, steps[self.ndim :], self.out_shape)
        to_in = input_
        if input_ < self.pattern.n_in:
            to_in = self._moved(input_, point, steps[: self.ndim], self.in_shape)
        image = to_out * (self.pattern.n_in + 1) + to_in
        place = np.searchsorted(self.pairs, image).clip(max=len(self.pairs) - 1)
        key = place * self.kinds + kind
        found = self.keys[np.searchsorted(self.keys, key).clip(max=len(self.keys) - 1)] == key
        return shifts[(self.pairs[place] == image) & found]

    def _permutation(self, point: Point, shift: Sequence[int], shape: Sequence[int]) -> np.ndarray:
        return self._moved(np.arange(prod(shape)), point, np.array(shift)[:, None], shape)

    def _moved(self, element: Any, point: Point, steps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Where elements go under a flip or turn and the shifts behind it."""
        channel, *turned = self._turned(np.atleast_1d(element), point, shape)
        sizes = np.array(shape[1:])[:, None]
        places = (np.array(turned).reshape(self.ndim, -1) + steps) % sizes
        return np.ravel_multi_index((np.broadcast_to(channel, places.shape[1:]), *places), tuple(shape))

    def _turned(self, elements: np.ndarray, point: Point, shape: Sequence[int]) -> np.ndarray:
        """(channel, *position) of elements under a flip or turn [1 + ndim, elements]."""
        channel, *position = np.unravel_index(elements, tuple(shape))
        turned = [position[a] if sign > 0 else shape[1 + a] - 1 - position[a] for a, sign in point]
        return np.array([channel, *turned])


def _name(point: Point) -> str:
    """A flip or turn in words.

    >>> _name(((0, 1), (1, -1))), _name(((1, -1), (0, 1)))
    ('flip of axis 1', 'quarter turn')
    """
    flipped = [axis for axis, sign in point if sign < 0]
    if all(axis == k for k, (axis, _) in enumerate(point)):
        if len(flipped) == 2 == len(point):
            return "half turn"
        return " and ".join(f"flip of axis {axis}" for axis in flipped)
    if len(point) == 2:
        names = {(): "transposition", (0, 1): "transposition of the other diagonal"}
        return names.get(tuple(sorted(flipped)), "quarter turn" if flipped == [1] else "quarter turn back")
    return "axes to (" + ", ".join(f"{'-' if sign < 0 else ''}{axis}" for axis, sign in point) + ")"
