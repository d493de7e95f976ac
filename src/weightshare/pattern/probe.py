"""Find the pattern of an unknown linear map from its Jacobian in float64, by clustering equal values."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._args import check_integer
from .._memory import check_fits
from ..errors import ArgumentError, PatternError
from .modules import check_dense, check_module, running_in_float64

_WHERE = "Pattern.probe"
_TOLERANCE = 1e-9  # relative difference below which two values are equal
_ROUNDING = 1e-14  # rounding error of f, relative to its largest value
_SCALES = (1e-3, 1.0, 1e3, 1e6)  # magnitudes of the inputs on which f must be linear
_MAX_BATCH_ELEMENTS = 2**24  # maximum number of elements in an input or output batch of f
_BYTES_PER_PAIR = 180  # per entry: two Jacobians, and their clusters while they are sorted
_NOTE = "found by probing: connections with equal values are assumed to share a weight"

_Map = Callable[[Tensor], Tensor]


@torch.no_grad()
def probe_map(f: Callable[..., Any], in_shape: tuple[int, ...], redraw: bool, seed: int) -> dict[str, Any]:
    """Return the constructor arguments of the `Pattern` of a linear map."""
    if not callable(f):
        expected, hint = "f must be a module or function", "use Pattern(edges, out_shape, in_shape) for edges"
        raise ArgumentError(_WHERE, expected, type(f).__name__, hint)
    generator = torch.Generator().manual_seed(check_integer(_WHERE, "seed", seed, 0) % 2**63)
    redraw = redraw and isinstance(f, torch.nn.Module) and any(True for _ in f.parameters())
    check_module(_WHERE, f)
    if redraw:
        check_dense(_WHERE, f)
    draws = [_differentiate(f, in_shape, redraw, generator) for _ in range(2 if redraw else 1)]
    out_shape = tuple(draws[0][0].shape[1:])
    constants = [constant.flatten().numpy() for constant, _ in draws]
    jacobians = [jacobian for _, jacobian in draws]
    is_connected = np.logical_or.reduce([_find_nonzero(*both) for both in zip(jacobians, constants)])
    output, input_ = np.nonzero(is_connected)
    ids = _cluster([jacobian[output, input_] for jacobian in jacobians], constants)
    return {
        "edges": np.stack([output, input_, ids], axis=1),
        "out_shape": out_shape if len(out_shape) > 1 else prod(out_shape),
        "in_shape": in_shape,
        "bias": _cluster(constants, []) if any(c.any() for c in constants) else None,
        "note": _NOTE,
    }


def _differentiate(
    f: _Map, in_shape: tuple[int, ...], redraw: bool, generator: torch.Generator
) -> tuple[Tensor, np.ndarray]:
    """Return f(0) and the Jacobian [n_out, n_in], with random parameters if `redraw` is true."""
    with running_in_float64(f) as parameters:
        for parameter in parameters if redraw else ():
            numbers = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data = numbers.to(parameter.dtype)
        return _compute_jacobian(f, in_shape, generator)


def _compute_jacobian(
    f: _Map, in_shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Tensor, np.ndarray]:
    """Return f(0) and the Jacobian, computed batch by batch from unit vectors."""
    n_in = prod(in_shape)
    constant = _call(f, torch.zeros(1, *in_shape, dtype=torch.float64))
    n_out = constant.numel()
    _check_memory(n_out, n_in)
    _check_linear(f, in_shape, constant, generator)
    jacobian, step = np.empty((n_out, n_in)), max(1, _MAX_BATCH_ELEMENTS // max(n_out, n_in))
    for start in range(0, n_in, step):
        stop = min(start + step, n_in)
        unit = torch.zeros(stop - start, n_in, dtype=torch.float64)
        unit[torch.arange(stop - start), torch.arange(start, stop)] = 1
        jacobian[:, start:stop] = (_call(f, unit.view(-1, *in_shape)) - constant).flatten(1).T.numpy()
    return constant, jacobian


def _call(f: _Map, input: Tensor) -> Tensor:
    shape = list(input.shape)
    try:
        result = f(input)
    except Exception as error:
        raise PatternError(
            _WHERE,
            f"f must accept a float64 tensor {shape}",
            f"{type(error).__name__}: {str(error)[:200]}",
            "check in_shape, and convert the tensors that f uses to float64",
        ) from error
    if not isinstance(result, Tensor) or result.dim() < 2 or len(result) != len(input) or not result.numel():
        got = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
        expected = f"f must return a non-empty tensor [{len(input)}, ...]"
        raise PatternError(_WHERE, expected, got, "keep the batch as the first axis")
    if result.dtype != torch.float64:
        expected = "f must return float64 for float64 input"
        raise PatternError(_WHERE, expected, str(result.dtype), "keep the dtype of the input")
    return result.cpu()


def _check_linear(f: _Map, in_shape: tuple[int, ...], constant: Tensor, generator: torch.Generator) -> None:
    """Raise `PatternError` unless f minus its constant is linear on inputs of several magnitudes."""
    for scale in _SCALES:
        x, y = scale * torch.randn(2, 1, *in_shape, generator=generator, dtype=torch.float64)
        f_x, f_y, f_both = (_call(f, z) - constant for z in (x, y, 2 * x - 3 * y))
        error = (f_both - 2 * f_x + 3 * f_y).abs().max()
        size = torch.stack([part.abs().max() for part in (f_x, f_y, f_both)]).max()
        if not error <= 1e-6 * size + 10 * _ROUNDING * constant.abs().max():
            raise PatternError(
                _WHERE,
                "f must be linear up to a constant",
                f"f(2x - 3y) and 2f(x) - 3f(y) with a relative difference of {error / size:.1g} at inputs of "
                f"magnitude {scale:g}",
                "probe its linear layers one by one",
            )


def _find_nonzero(jacobian: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Return which entries are nonzero compared to the largest ones of their row and of their column."""
    size = np.abs(jacobian)
    largest = np.minimum(size.max(1, initial=0)[:, None], size.max(0, initial=0))
    return size > _TOLERANCE * largest + _ROUNDING * np.abs(constant)[:, None]


def _cluster(draws: list[np.ndarray], constants: list[np.ndarray]) -> np.ndarray:
    """Return one id for all entries that are equal in every draw, numbered in order of appearance.

    Args:
        draws: Values of the entries for each draw of the parameters.
        constants: f(0) for each draw, which sets the size of rounding errors; empty if there are none.
    """
    ids = np.zeros(len(draws[0]), dtype=np.int64)
    for number, values in enumerate(draws):
        order = np.argsort(values)
        ranked = values[order]
        size = np.maximum(np.abs(ranked[1:]), np.abs(ranked[:-1]))
        rounding = _ROUNDING * max(
            np.abs(v).max(initial=0) for v in (values, *constants[number : number + 1])
        )
        is_new = np.diff(ranked) > _TOLERANCE * size + rounding
        clusters = np.empty(len(values), dtype=np.int64)
        clusters[order] = np.concatenate([[0], np.cumsum(is_new)])[: len(values)]
        ids = np.unique(ids * (len(values) + 1) + clusters, return_inverse=True)[1].ravel()
    first = np.unique(ids, return_index=True)[1]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[ids]


def _check_memory(n_out: int, n_in: int) -> None:
    check_fits(
        PatternError,
        _WHERE,
        "the Jacobian and its clusters",
        _BYTES_PER_PAIR * n_out * n_in,
        f"{n_out:,} x {n_in:,} entries",
        "use a smaller input, or Pattern.of for a layer, which needs no Jacobian",
    )
