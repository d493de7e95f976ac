"""Transforms of inputs and outputs: shifts, rotations by 90 degrees, flips and permutations of channels.

Tensors are [N, C, *spatial]. A transform of k axes acts on the last k.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, ShapeError

MODES = ("circular", "crop", "fractional")


class UndefinedError(Exception):
    """Raised if a transform has no equivalent on a map of another size, e.g. a shift by half a position."""


class Transform(ABC):
    """Abstract base class of the transforms: an action on inputs, and the matching action on outputs."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Transform a tensor."""

    def find_overlap(self, size: Sequence[int]) -> tuple[slice, ...]:
        """Return the positions of a transformed map that can be compared."""
        return tuple(slice(None) for _ in size)


@dataclass(frozen=True)
class Translate(Transform):
    """A shift, created by `translate`."""

    shift: tuple[Any, ...]
    mode: str = "circular"

    def __call__(self, x: Tensor) -> Tensor:
        check_axes("translate", x, len(self.shift))
        axes = tuple(range(-len(self.shift), 0))
        if self.mode != "fractional":
            return torch.roll(x, self.shift, axes)
        for axis, distance in zip(axes, self.shift):
            x = _shift_by_fraction(x, float(distance), axis)
        return x

    def rescale(
        self, strides: Sequence[Fraction | None], in_size: Sequence[int], out_size: Sequence[int]
    ) -> "Translate":
        """Return the equivalent shift of a map with another size.

        Args:
            strides: Input positions per output position, per spatial axis; None if unknown.
            in_size, out_size: Spatial sizes of the two maps.

        Raises:
            UndefinedError: If there is none.
        """
        return Translate(tuple(map(self._rescale_axis, self.shift, strides, in_size, out_size)), self.mode)

    def find_overlap(self, size: Sequence[int]) -> tuple[slice, ...]:
        if self.mode != "crop":
            return super().find_overlap(size)
        return tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(self.shift, size))

    def _rescale_axis(self, shift: Any, stride: Fraction | None, n_in: int, n_out: int) -> Any:
        if not shift:
            return shift
        if n_out == 1:
            raise UndefinedError(
                'undefined for this size: an output with one position has no shift, use out="invariant"'
            )
        if stride is None:
            raise UndefinedError(
                f"undefined: the stride from {n_in} input positions to {n_out} output positions is unknown, "
                "pass the transform of the output as out"
            )
        if stride * n_out != n_in and self.mode != "crop":
            raise UndefinedError(
                f"undefined for these sizes: {n_out} output positions have no circular shift that matches "
                f"one of {n_in} input positions"
            )
        if self.mode == "fractional":
            return shift / float(stride)
        distance = shift / stride
        if distance.denominator != 1:
            raise UndefinedError(
                f"undefined for this stride: a shift by {shift} is {distance} of an output position"
            )
        return int(distance)


@dataclass(frozen=True)
class Rotate90(Transform):
    """A rotation by a multiple of 90 degrees, created by `rotate90`."""

    turns: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        check_axes("rotate90", x, 2)
        return torch.rot90(x, self.turns, (-2, -1))


@dataclass(frozen=True)
class Flip(Transform):
    """A reflection along one axis, created by `flip`."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        n_axes = max(0, x.dim() - 2)
        if not -n_axes <= self.axis < n_axes:
            expected = f"axis must be one of the {count_axes(n_axes)} of {list(x.shape)}"
            hint = f"use an axis in [{-n_axes}, {n_axes})" if n_axes else None
            raise ArgumentError("flip", expected, str(self.axis), hint)
        return torch.flip(x, (self.axis if self.axis < 0 else self.axis + 2,))


@dataclass(frozen=True)
class PermuteChannels(Transform):
    """A permutation of the channels, created by `permute_channels`."""

    permutation: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[1] != len(self.permutation):
            expected = f"the tensor must have {len(self.permutation)} channels, one per entry of permutation"
            raise ShapeError(
                "permute_channels",
                expected,
                str(list(x.shape)),
                'if the output has another number of channels, use out="invariant" or another transform',
            )
        result = torch.empty_like(x)
        result[:, list(self.permutation)] = x
        return result


@dataclass(frozen=True)
class Identity(Transform):
    """The transform of an invariant output, which changes nothing."""

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Custom(Transform):
    """A user-supplied function as a transform."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        result = self.function(x)
        if not isinstance(result, Tensor):
            raise ArgumentError("transform", "the function must return a tensor", type(result).__name__)
        return result


def translate(shift: float | Sequence[float], mode: str = "circular") -> Transform:
    """Return a transform that shifts along the spatial axes.

    Args:
        shift: Shift in pixels, one number per spatial axis (for signals, one number). Positive values shift
            down and to the right.
        mode: "circular": pixels that leave at one end enter at the other. "crop": like "circular", but only
            positions that did not wrap around are compared, as with two crops of one image.
            "fractional": a circular shift by any fraction of a pixel, by band-limited resampling.

    Raises:
        ArgumentError: If the mode is unknown, or if a shift is not an integer although the mode is not
            "fractional".

    Example:
        >>> translate(1)(torch.tensor([[[1, 2, 3]]])).tolist()
        [[[3, 1, 2]]]
        >>> translate(0.5, "fractional")(torch.tensor([[[0.0, 1, 0, -1]]])).abs().max().item()
        0.7071067690849304

    Source: for the resampling, Oppenheim and Schafer, "Discrete-Time Signal Processing", section 4.
    """
    if mode not in MODES:
        raise ArgumentError("translate", f"mode must be one of {', '.join(MODES)}", repr(mode))
    values = tuple(shift) if is_sequence(shift) else (shift,)
    if mode != "fractional":
        values = tuple(_check_whole(v) for v in values)
    elif not all(isinstance(v, Real) and abs(float(v)) < float("inf") for v in values):
        raise ArgumentError("translate", "shift must be finite numbers, one per spatial axis", repr(shift))
    return Translate(values, mode)


def rotate90(turns: int = 1) -> Transform:
    """Return a transform that rotates the last two axes counterclockwise by 90 degrees, `turns` times.

    >>> rotate90()(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2, 4], [1, 3]]]]
    """
    if abs(check_integer("rotate90", "turns", turns, least=-(2**31))) > 3:
        raise ArgumentError(
            "rotate90",
            "turns must be a number of quarter turns from -3 to 3",
            str(turns),
            "use 1 for 90 degrees",
        )
    return Rotate90(turns)


def flip(axis: int = -1) -> Transform:
    """Return a transform that reflects one spatial axis: 0 is the first, negative values count from the end.

    >>> flip()(torch.tensor([[[1, 2, 3]]])).tolist()
    [[[3, 2, 1]]]
    """
    return Flip(check_integer("flip", "axis", axis, least=-(2**31)))


def permute_channels(permutation: Sequence[int]) -> Transform:
    """Return a transform that moves channel i to channel permutation[i].

    >>> permute_channels([1, 2, 0])(torch.tensor([[[7], [8], [9]]])).flatten().tolist()
    [9, 7, 8]
    """
    values = tuple(int(v) for v in permutation)
    if sorted(values) != list(range(len(values))):
        raise ArgumentError(
            "permute_channels",
            "permutation must contain every number from 0 to channels - 1 exactly once",
            str(values),
            "let permutation[i] be the channel that channel i moves to",
        )
    return PermuteChannels(values)


def as_transform(where: str, value: object) -> Transform:
    """Convert a user-supplied function to a transform; return a transform unchanged."""
    if isinstance(value, Transform):
        return value
    if not callable(value):
        expected = (
            "the transform must be one of weightshare.symmetry, or a function from a tensor to a tensor"
        )
        raise ArgumentError(where, expected, repr(value), "use e.g. translate((0, 1))")
    return Custom(value)  # pyright: ignore[reportArgumentType]


def check_axes(where: str, x: Tensor, axes: int) -> None:
    """Raise an error if a tensor has fewer than `axes` spatial axes after its channels."""
    if x.dim() < axes + 1:
        raise ShapeError(
            where,
            f"the tensor must have {count_axes(axes)} after its channels",
            str(list(x.shape)),
            'use out="invariant" for an output without spatial axes',
        )


def count_axes(n: int) -> str:
    """Return a number of spatial axes as text, e.g. "2 spatial axes"."""
    return f"{n} spatial {'axis' if n == 1 else 'axes'}"


def _check_whole(value: object) -> int:
    try:
        return check_integer("translate", "shift", value, least=-(2**31))
    except ArgumentError as error:
        hint = 'use mode="fractional" for fractions of a pixel'
        raise ArgumentError(error.where, error.expected, error.got, hint) from None


def _shift_by_fraction(x: Tensor, shift: float, axis: int) -> Tensor:
    """Shift a periodic band-limited signal by any distance along one axis."""
    n = x.shape[axis]
    if not x.is_floating_point():
        expected = 'mode="fractional" needs floating-point numbers'
        raise ArgumentError("translate", expected, str(x.dtype), "convert them with .double()")
    shift = shift % n
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    spectrum = torch.fft.rfft(wide, dim=axis)
    frequencies = torch.arange(spectrum.shape[axis], device=x.device, dtype=wide.dtype)
    angles = frequencies * (-2 * torch.pi * shift / n)
    phase = torch.polar(torch.ones_like(angles), angles)
    if n % 2 == 0:  # the coefficient of the highest frequency must stay real
        phase[-1] = torch.cos(angles[-1])
    shape = [1] * x.dim()
    shape[axis] = -1
    return torch.fft.irfft(spectrum * phase.view(shape), n=n, dim=axis).to(x.dtype)
