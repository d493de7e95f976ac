"""What is done to an input and, in the same way, to an output: shifts, turns, flips, permuted channels.

Tensors are [N, C, *spatial]; a transform of k axes acts on the last k.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from .._args import integer, is_sequence
from ..errors import ArgumentError, ShapeError

MODES = ("circular", "crop", "fractional")


class UndefinedError(Exception):
    """The question has no answer, as for a shift by a part of an output position."""


class Transform(ABC):
    """A symmetry of inputs, and how it acts on outputs of another size."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The transformed tensor."""

    def scaled(self, in_size: Sequence[int], out_size: Sequence[int]) -> "Transform":
        """The same on a map of another size; raises `UndefinedError` where there is none."""
        return self

    def overlap(self, size: Sequence[int]) -> tuple[slice, ...]:
        """Which positions of a map can be compared, by their place after the transform."""
        return tuple(slice(None) for _ in size)


@dataclass(frozen=True)
class Translate(Transform):
    """A shift; made by `translate`."""

    shift: tuple[Any, ...]
    mode: str = "circular"

    def __call__(self, x: Tensor) -> Tensor:
        check_axes("translate", x, len(self.shift))
        axes = tuple(range(-len(self.shift), 0))
        if self.mode != "fractional":
            return torch.roll(x, self.shift, axes)
        for axis, step in zip(axes, self.shift):
            x = _resampled(x, float(step), axis)
        return x

    def scaled(self, in_size: Sequence[int], out_size: Sequence[int]) -> "Translate":
        return Translate(tuple(map(self._scaled, self.shift, in_size, out_size)), self.mode)

    def overlap(self, size: Sequence[int]) -> tuple[slice, ...]:
        if self.mode != "crop":
            return super().overlap(size)
        return tuple(slice(max(0, s), max(0, n + min(0, s))) for s, n in zip(self.shift, size))

    def _scaled(self, shift: Any, n_in: int, n_out: int) -> Any:
        if self.mode == "fractional":
            return shift * n_out / n_in
        stride = infer_stride(n_in, n_out)
        if stride.numerator * n_out != n_in * stride.denominator and self.mode == "circular":
            raise UndefinedError(f"circular shifts of {n_in} positions are none of {n_out}")
        moved = shift / stride
        if moved.denominator != 1:
            raise UndefinedError(
                f"undefined for this stride: a shift by {shift} is {moved} of an output position"
            )
        return int(moved)


@dataclass(frozen=True)
class Rotate90(Transform):
    """Quarter turns; made by `rotate90`."""

    turns: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        check_axes("rotate90", x, 2)
        return torch.rot90(x, self.turns, (-2, -1))


@dataclass(frozen=True)
class Flip(Transform):
    """A mirror image; made by `flip`."""

    axis: int = -1

    def __call__(self, x: Tensor) -> Tensor:
        axis = self.axis if self.axis < 0 else self.axis + 2
        if not 2 - x.dim() <= self.axis < x.dim() - 2:
            expected = f"flip: axis must be one of the {max(0, x.dim() - 2)} spatial axes of {list(x.shape)}"
            raise ArgumentError("flip", expected.removeprefix("flip: "), str(self.axis), "0 is the first")
        return torch.flip(x, (axis,))


@dataclass(frozen=True)
class PermuteChannels(Transform):
    """Permuted channels; made by `permute_channels`."""

    permutation: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[1] != len(self.permutation):
            expected = f"the tensor must have {len(self.permutation)} channels, as the permutation"
            raise ShapeError(
                "permute_channels", expected, str(list(x.shape)), 'use out="invariant" or another out'
            )
        result = torch.empty_like(x)
        result[:, list(self.permutation)] = x
        return result


@dataclass(frozen=True)
class Identity(Transform):
    """Nothing is moved: what an invariant output does."""

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Own(Transform):
    """A function of the user's."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        result = self.function(x)
        if not isinstance(result, Tensor):
            raise ArgumentError("transform", "it must give a tensor", type(result).__name__, "return one")
        return result


def translate(shift: Any, mode: str = "circular") -> Transform:
    """A shift by so many pixels, for every spatial axis.

    Args:
        shift: A number for each spatial axis (of a signal one number); positive is down and right.
        mode: "circular": what leaves at one end enters at the other. "crop": the same input, but only
            positions are compared that stand on the map before and after, as in two crops of one picture.
            "fractional": circular by any part of a pixel, by band-limited resampling.

    Raises:
        ArgumentError: an unknown mode, or a shift by parts of a pixel in another mode than "fractional".

    Example:
        >>> translate(1)(torch.tensor([[[1, 2, 3]]])).tolist()
        [[[3, 1, 2]]]
        >>> translate(0.5, "fractional")(torch.tensor([[[0.0, 1, 0, -1]]])).abs().max().item()
        0.7071067690849304

    Source: for the resampling Oppenheim and Schafer, "Discrete-Time Signal Processing", section 4.
    """
    if mode not in MODES:
        raise ArgumentError(
            "translate", f"mode must be one of {', '.join(MODES)}", repr(mode), "use one of these"
        )
    values = tuple(shift) if is_sequence(shift) else (shift,)
    if mode != "fractional":
        values = tuple(_whole(v) for v in values)
    elif not all(isinstance(v, Real) and abs(float(v)) < float("inf") for v in values):
        raise ArgumentError(
            "translate", "shift must be numbers", repr(shift), "give one for every spatial axis"
        )
    return Translate(values, mode)


def rotate90(turns: int = 1) -> Transform:
    """Quarter turns of the last two axes, counter-clockwise.

    >>> rotate90()(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[2, 4], [1, 3]]]]
    """
    if abs(integer("rotate90", "turns", turns, least=-(2**31))) > 3:
        raise ArgumentError(
            "rotate90", "turns must be quarter turns, from -3 to 3", str(turns), "1 is 90 degrees"
        )
    return Rotate90(turns)


def flip(axis: int = -1) -> Transform:
    """A mirror image along one spatial axis; 0 is the first, negatives count from the end.

    >>> flip()(torch.tensor([[[1, 2, 3]]])).tolist()
    [[[3, 2, 1]]]
    """
    return Flip(integer("flip", "axis", axis, least=-(2**31)))


def permute_channels(permutation: Sequence[int]) -> Transform:
    """Channel i becomes channel permutation[i].

    >>> permute_channels([1, 2, 0])(torch.tensor([[[7], [8], [9]]])).flatten().tolist()
    [9, 7, 8]
    """
    values = tuple(int(v) for v in permutation)
    if sorted(values) != list(range(len(values))):
        expected = "permutation must have every number from 0 to channels - 1 once"
        raise ArgumentError("permute_channels", expected, str(values), "g[i] is where channel i goes")
    return PermuteChannels(values)


def as_transform(where: str, value: object) -> Transform:
    """A transform, or a function of the user's as one."""
    if isinstance(value, Transform):
        return value
    if not callable(value):
        expected = "the transform must be one of weightshare.symmetry or a function of a tensor"
        raise ArgumentError(where, expected, repr(value), "use translate((0, 1)), for one")
    return Own(value)  # type: ignore[arg-type]


def infer_stride(n_in: int, n_out: int) -> Fraction:
    """Input positions from one output position to the next, as the sizes of the maps say."""
    if n_in % n_out == 0 or n_out % n_in == 0:
        return Fraction(n_in, n_out)
    return Fraction(round(n_in / n_out)) if n_in > n_out else Fraction(1, round(n_out / n_in))


def check_axes(where: str, x: Tensor, axes: int) -> None:
    """Refuse a tensor that has not `axes` spatial axes at its end."""
    if x.dim() < axes + 1:
        expected = f"the tensor must have {axes} spatial {'axis' if axes == 1 else 'axes'} after its channels"
        raise ShapeError(where, expected, str(list(x.shape)), 'use out="invariant" for an output without')


def _whole(value: object) -> int:
    try:
        return integer("translate", "shift", value, least=-(2**31))
    except ArgumentError as error:
        hint = 'use mode="fractional" for parts of a pixel'
        raise ArgumentError(error.where, error.expected, error.got, hint) from None


def _resampled(x: Tensor, shift: float, axis: int) -> Tensor:
    """A periodic band-limited signal moved by any distance along one axis."""
    n = x.shape[axis]
    if not x.is_floating_point():
        expected = 'mode="fractional" needs floating point numbers'
        raise ArgumentError("translate", expected, str(x.dtype), "convert them with .double()")
    shift = shift % n
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    spectrum = torch.fft.rfft(wide, dim=axis)
    turns = torch.arange(spectrum.shape[axis], device=x.device, dtype=wide.dtype) * (
        -2 * torch.pi * shift / n
    )
    phase = torch.polar(torch.ones_like(turns), turns)
    if n % 2 == 0:  # the highest frequency of a real signal has no sign
        phase[-1] = torch.cos(turns[-1])
    shape = [1] * x.dim()
    shape[axis] = -1
    return torch.fft.irfft(spectrum * phase.view(shape), n=n, dim=axis).to(x.dtype)
