"""Prove, from outputs for random integers alone, that a linear layer commutes with a transform."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .._args import Size, check_integer
from ..errors import SymmetryError, WeightshareError, describe_exception
from ..pattern.modules import check_dense, check_module, running_in_float64
from ..pattern.shifts import find_border
from .degree import bound_degree
from .error import Out, choose_out_transform
from .outputs import check_callable, check_tensor, get_name
from .transforms import Transform, UndefinedError, as_transform

_WEIGHTS, _INPUTS = 2**10, 2**20  # limits below which the random integers lie
_EXACT = 2**53  # float64 represents every integer up to this one exactly
_HINT = "prove each of its linear layers, or measure with equivariance_error"


@dataclass(frozen=True)
class Proof:
    """A frozen record of whether a linear layer commutes with a transform; `bool(proof)` is `holds`.

    Args:
        holds: Whether every compared position is exact.
        error_probability: Upper bound on the probability that a layer that is not equivariant passes. A
            negative result is always certain.
        exact: Boolean array [*spatial], true where all channels of a position are exact, and false outside
            `overlap`.
        overlap: Positions that can be compared, as one slice per axis.
    """

    holds: bool
    error_probability: float
    exact: np.ndarray
    overlap: tuple[slice, ...]

    def __bool__(self) -> bool:
        return self.holds

    @property
    def compared(self) -> int:
        """Number of compared positions."""
        return self.exact[self.overlap].size

    @property
    def violations(self) -> int:
        """Number of compared positions that are not exact."""
        return self.compared - int(self.exact.sum())

    @property
    def border(self) -> tuple[tuple[int, int], ...] | None:
        """Widths (low, high) per axis to cut from the overlap so that all remaining positions are exact.

        The border is None if no position would remain.
        """
        return find_border(self.exact[self.overlap])

    def __str__(self) -> str:
        if self.holds:
            return f"equivariant (error probability at most {self.error_probability:.1g})"
        differ = f"{self.violations:,} of {self.compared:,} positions differ"
        return f"not equivariant: {differ}, border {self.border}"


def prove(
    f: Callable[[Tensor], Tensor],
    in_shape: Size,
    transform: Callable[[Tensor], Tensor],
    out: Out = "same",
    *,
    trials: int = 3,
    seed: int = 0,
) -> Proof:
    """Prove that one or several linear layers commute with a transform for all weights and inputs.

    The inputs, and the parameters of a module while it is tested, are random integers in float64. All results
    are exact, so the two sides are either equal or not. If the outputs are polynomials of degree d in the
    weights, a module that is not equivariant passes one trial with a probability of at most
    d / 2**10 + 1 / 2**20, because each weight is drawn from more than 2**10 integers and each input from more
    than 2**20. For a function, whose weights stay the same, d is 0. For a module, an upper bound on d is
    found by adding the degrees of the factors in every product that it computes with torch: 1 for a
    convolution, and 3 for three convolutions in sequence.

    Args:
        f: Function or module that is linear up to a constant, made of convolutions, linear layers, sums and
            operations that only move data. Linearity is checked on numbers of both signs up to 2**20. Buffers
            keep their values.
        in_shape: Shape (channels, *spatial) of one input.
        transform, out: See `equivariance_error`. For a shift with mode "crop", only positions that did not
            wrap around are compared.
        trials: Number of independent draws.
        seed: Random seed of the weights and inputs.

    Raises:
        ArgumentError: If f is not callable, or is a module with lazy, sparse or meta parameters.
        SymmetryError: If f fails or is not linear, if its sums are not exact in float64, if the transform
            does not map integers to integers, or if a shift is not a multiple of the stride.

    Example:
        >>> from weightshare.symmetry import translate
        >>> conv = torch.nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
        >>> print(prove(conv, (2, 8, 8), translate((3, 5))))
        equivariant (error probability at most 9e-10)
        >>> print(prove(torch.nn.Conv2d(1, 1, 3, padding=1), (1, 32, 32), translate((3, 5), "crop")))
        not equivariant: 108 of 783 positions differ, border ((1, 1), (1, 1))

    Source: Freivalds, "Probabilistic machines can use less running time", IFIP 1977; Schwartz, JACM 1980.
    """
    where = "prove"
    check_callable(where, f)
    check_module(where, f)
    check_dense(where, f)
    in_transform = as_transform(where, transform)
    shape = tuple(in_shape) if not isinstance(in_shape, int) else (in_shape,)
    generator = torch.Generator().manual_seed(check_integer(where, "seed", seed, least=0))
    exact, overlap, degree = None, (), 0
    for _ in range(check_integer(where, "trials", trials, least=1)):
        x, other = _draw(generator, _INPUTS, (2, 1, *shape))
        with running_in_float64(f) as parameters:
            for parameter in parameters:
                parameter.data = _draw(generator, _WEIGHTS, parameter.shape).to(parameter.dtype)
            _check_exact(f, x + other)
            _flip_signs([x, other, *parameters], generator)
            output = _call(f, x)
            _check_linear(f, x, other, output)
            degree = max(degree, bound_degree(f, x, parameters))
            out_transform = _choose_out_transform(where, f, in_transform, out, x, output)
            transformed = in_transform(x)
            if not torch.equal(transformed, transformed.round()):
                expected = "the transform must map integers to integers"
                raise SymmetryError(where, expected, "fractions", "measure it with equivariance_error")
            equal = (_call(f, transformed) == out_transform(output))[0]
        equal = equal.all(0) if equal.dim() > 1 else equal
        exact = equal if exact is None else exact & equal
        overlap = out_transform.find_overlap(equal.shape)
    assert exact is not None  # there is at least one trial
    if not exact[overlap].numel():
        raise SymmetryError(
            where,
            "the shift must be smaller than the output, so that positions remain to compare",
            str(list(exact.shape)),
            "use a smaller shift or a larger input",
        )
    inside = torch.zeros_like(exact)
    inside[overlap] = True
    probability = min(1.0, degree / _WEIGHTS + 1 / _INPUTS)
    return Proof(bool(exact[overlap].all()), probability**trials, (exact & inside).numpy(), overlap)


def _call(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    try:
        return check_tensor(f, f(x.clone())).clone()
    except WeightshareError:
        raise
    except Exception as error:
        raise SymmetryError(
            f"prove({get_name(f)})",
            f"f must accept a float64 tensor {list(x.shape)}",
            describe_exception(error),
            "check in_shape, and convert the tensors that f uses to float64",
        ) from error


def _choose_out_transform(
    where: str, f: Callable[[Tensor], Tensor], in_transform: Transform, out: Out, x: Tensor, output: Tensor
) -> Transform:
    try:
        return choose_out_transform(where, f, in_transform, out, x, output)
    except UndefinedError as reason:
        raise SymmetryError(
            where,
            "the shift must be a whole number of output positions",
            str(reason),
            "use a multiple of the stride",
        ) from None


def _draw(generator: torch.Generator, limit: int, shape: Sequence[int]) -> Tensor:
    """Return random positive integers below `limit` in float64."""
    return torch.randint(1, limit, shape, generator=generator).double()


def _flip_signs(tensors: list[Tensor], generator: torch.Generator) -> None:
    """Negate half of the numbers, in order to detect functions that are linear on positive numbers only."""
    for tensor in tensors:
        tensor.data = tensor.data * (torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1)


def _check_exact(f: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise an error if sums may be inexact.

    All numbers are still positive here, so the output bounds every partial sum for any choice of signs.
    """
    output = _call(f, x)
    largest = output.abs().max().item()
    if not largest < _EXACT or not torch.equal(output, output.round()):
        got = f"numbers up to {largest:.2g}" if not largest < _EXACT else "fractions"
        expected = "outputs for integers must be integers below 2**53, which float64 represents exactly"
        raise SymmetryError(f"prove({get_name(f)})", expected, got, _HINT)


def _check_linear(f: Callable[[Tensor], Tensor], x: Tensor, other: Tensor, output: Tensor) -> None:
    total, second, constant = (_call(f, part) for part in (x + other, other, torch.zeros_like(x)))
    if not torch.equal(total - constant, (output - constant) + (second - constant)):
        got = "f(x + y) - f(0) that differs from f(x) + f(y) - 2 f(0)"
        raise SymmetryError(f"prove({get_name(f)})", "f must be linear up to a constant", got, _HINT)
