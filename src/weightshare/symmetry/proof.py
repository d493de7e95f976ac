"""Prove that a linear layer, as a black box, commutes with a transform, by random integers."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._args import Size, integer
from .._running import evaluating
from ..errors import SymmetryError
from ..pattern.shifts import border_of
from .error import choose_out_transform
from .outputs import check_tensor, get_name
from .transforms import Transform, UndefinedError, as_transform

_WEIGHTS, _INPUTS = 2**10, 2**20  # as large as numbers are drawn
_EXACT = 2**53  # up to which every integer is a float64


@dataclass(frozen=True)
class Proof:
    """Whether a linear layer commutes with a transform; true in a condition where it does.

    Args:
        holds: At every position that can be compared.
        error_probability: At most so likely it holds by chance although the layer is not equivariant. Where
            it does not hold there is no doubt.
        exact: [*spatial] whether a position (every channel) is exact; false outside of `overlap`.
        overlap: Which positions can be compared.
    """

    holds: bool
    error_probability: float
    exact: np.ndarray
    overlap: tuple[slice, ...]

    def __bool__(self) -> bool:
        return self.holds

    @property
    def compared(self) -> int:
        """Positions that can be compared."""
        return self.exact[self.overlap].size

    @property
    def violations(self) -> int:
        """Positions of these that are not exact."""
        return self.compared - int(self.exact.sum())

    @property
    def border(self) -> tuple[tuple[int, int], ...] | None:
        """Widths (low, high) to cut from every axis of the overlap so that all that is left is exact; None
        where nothing is left."""
        return border_of(self.exact[self.overlap])

    def __str__(self) -> str:
        if self.holds:
            return f"equivariant, but for a probability of at most {self.error_probability:.1g}"
        differ = f"{self.violations:,} of {self.compared:,} positions differ"
        return f"not equivariant: {differ}, border {self.border}"


def prove(
    f: Callable[..., Any],
    in_shape: Size,
    transform: Any,
    out: Any = "same",
    *,
    trials: int = 3,
    seed: int = 0,
) -> Proof:
    """Prove that a linear layer, or several, commutes with a transform for all weights and inputs.

    Weights (of a module: in a copy) and inputs are random integers in float64, whose sums are exact, so that
    the two sides are equal or not. A layer that is not equivariant passes one trial with a probability of at
    most 1/1024 + 1/2**20 (a function, whose weights are its own, 1/2**20).

    Args:
        f: Linear but for a constant: convolutions, linear layers, sums, data movement. Whether it is linear
            is tried on numbers up to 2**20 of both signs; its buffers stay as they are.
        in_shape: (channels, *spatial) of one input.
        transform, out: As of `equivariance_error`; a shift with mode "crop" compares what stays on the map.
        trials: Independent draws.

    Raises:
        SymmetryError: a function that is not linear, or whose sums cannot be exact.

    Example:
        >>> from weightshare.symmetry import translate
        >>> conv = torch.nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
        >>> print(prove(conv, (2, 8, 8), translate((3, 5))))
        equivariant, but for a probability of at most 9e-10
        >>> print(prove(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 32, 32), translate((3, 5), "crop")))
        not equivariant: 108 of 783 positions differ, border ((1, 1), (1, 1))

    Source: Freivalds, "Probabilistic machines can use less running time", IFIP 1977; Schwartz, JACM 1980.
    """
    where = "prove"
    moving = as_transform(where, transform)
    shape = tuple(in_shape) if not isinstance(in_shape, int) else (in_shape,)
    generator = torch.Generator().manual_seed(integer(where, "seed", seed, least=0))
    exact, overlap = None, ()
    for _ in range(integer(where, "trials", trials, least=1)):
        drawn = _of_integers(f, generator)
        x, other = torch.randint(1, _INPUTS, (2, 1, *shape), generator=generator).double()
        with evaluating(drawn):
            _check_exact(f, drawn, x + other)
            _flip_signs([x, other, *_parameters(drawn)], generator)
            output = check_tensor(drawn, drawn(x))
            _check_linear(f, drawn, x, other, output)
            acting = _acting(where, moving, out, x, output)
            moved = moving(x)
            if not torch.equal(moved, moved.round()):
                expected = "the transform must give integers for integers"
                raise SymmetryError(where, expected, "fractions", "measure it with equivariance_error")
            agrees = (check_tensor(drawn, drawn(moved)) == acting(output))[0]
        agrees = agrees.all(0) if agrees.dim() > 1 else agrees
        exact = agrees if exact is None else exact & agrees
        overlap = acting.overlap(agrees.shape)
    assert exact is not None  # there is at least one trial
    if not exact[overlap].numel():
        raise SymmetryError(
            where, "the shift must leave some of the output", str(list(exact.shape)), "shift by less"
        )
    inside = torch.zeros_like(exact)
    inside[overlap] = True
    chance = 1 / _INPUTS + (1 / _WEIGHTS if isinstance(f, nn.Module) else 0)
    found = (exact & inside).numpy()
    return Proof(bool(exact[overlap].all()), chance**trials, found, overlap)


def _acting(where: str, moving: Transform, out: Any, x: Tensor, output: Tensor) -> Transform:
    try:
        return choose_out_transform(where, moving, out, x, output)
    except UndefinedError as why:
        raise SymmetryError(
            where, "the shift must be whole at the output", str(why), "use a multiple"
        ) from None


def _of_integers(f: Callable[..., Any], generator: torch.Generator) -> Callable[..., Any]:
    """A copy of a module in float64 with random integers from 1 on as parameters; a function as it is."""
    if not isinstance(f, nn.Module):
        return f
    module = copy.deepcopy(f).to("cpu", torch.float64).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(1, _WEIGHTS, parameter.shape, generator=generator))
    return module


def _parameters(drawn: Callable[..., Any]) -> list[Tensor]:
    return list(drawn.parameters()) if isinstance(drawn, nn.Module) else []


def _flip_signs(numbers: list[Tensor], generator: torch.Generator) -> None:
    """Make half of the numbers negative, so that what is linear for positive ones alone is found out."""
    for tensor in numbers:
        tensor.mul_(torch.randint(0, 2, tensor.shape, generator=generator).double() * 2 - 1)


def _check_exact(f: Any, drawn: Any, x: Tensor) -> None:
    """All numbers are positive here, so the output bounds every partial sum, whatever signs follow."""
    output = check_tensor(f, drawn(x))
    largest = output.abs().max().item()
    if not largest < _EXACT or not torch.equal(output, output.round()):
        got = f"numbers up to {largest:.2g}" if not largest < _EXACT else "numbers with a fraction"
        raise SymmetryError(
            f"prove({get_name(f)})",
            "outputs of integers must be integers below 2**53, which float64 has exactly",
            got,
            "prove its layers one by one, or measure with equivariance_error",
        )


def _check_linear(f: Any, drawn: Any, x: Tensor, other: Tensor, output: Tensor) -> None:
    both, second, constant = (
        check_tensor(f, drawn(part)) for part in (x + other, other, torch.zeros_like(x))
    )
    if not torch.equal(both - constant, (output - constant) + (second - constant)):
        raise SymmetryError(
            f"prove({get_name(f)})",
            "it must be linear, but for a constant",
            "f(x + y) that is not f(x) + f(y) - f(0)",
            "prove its linear layers one by one, or measure with equivariance_error",
        )
