"""The pattern of an unknown linear map: its Jacobian in float64, equal numbers clustered."""

import copy
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._args import integer
from .._memory import check_fits
from ..errors import ArgumentError, PatternError

_SAME = 1e-9  # of two numbers: closer than this they are equal
_ROUNDING = 1e-14  # of the largest number: what the arithmetic of f may leave of a zero, or of a difference
_SCALES = (1e-3, 1.0, 1e3, 1e6)  # of the inputs on which a map must be linear
_BLOCK = 2**24  # numbers that pass through f at once
_BYTES = 180  # for a pair of output and input: two Jacobians, and their clusters while they are sorted
_NOTE = "found by probing: connections with equal numbers count as shared"


@torch.no_grad()
def probed(f: Callable[..., Any], in_shape: tuple[int, ...], redraw: bool, seed: int) -> dict[str, Any]:
    """The arguments of the `Pattern` of a linear map."""
    if not callable(f):
        raise ArgumentError(
            "Pattern.probe", "f must be a module or function", type(f).__name__, "use Pattern for edges"
        )
    generator = torch.Generator().manual_seed(integer("Pattern.probe", "seed", seed, 0) % 2**63)
    draws = [_affine(drawn, in_shape, generator) for drawn in _draws(f, redraw, generator)]
    out_shape = tuple(draws[0][0].shape[1:])
    constants = [constant.flatten().numpy() for constant, _ in draws]
    jacobians = [jacobian for _, jacobian in draws]
    output, input_ = np.nonzero(
        np.logical_or.reduce([_connected(*draw) for draw in zip(jacobians, constants)])
    )
    return {
        "edges": np.stack(
            [output, input_, _clusters([j[output, input_] for j in jacobians], constants)], axis=1
        ),
        "out_shape": out_shape if len(out_shape) > 1 else prod(out_shape),
        "in_shape": in_shape,
        "bias": _clusters(constants, []) if any(c.any() for c in constants) else None,
        "note": _NOTE,
    }


def _draws(f: Callable[..., Any], redraw: bool, generator: torch.Generator) -> list[Callable[..., Any]]:
    """Copies of a module in evaluation mode, float64 and on the CPU, two with parameters drawn anew."""
    if not isinstance(f, torch.nn.Module):
        return [f]
    redraw = redraw and any(True for _ in f.parameters())
    copies = [copy.deepcopy(f).to("cpu", torch.float64).eval() for _ in range(2 if redraw else 1)]
    for module in copies if redraw else ():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return list(copies)


def _affine(
    f: Callable[..., Any], in_shape: tuple[int, ...], generator: torch.Generator
) -> tuple[Tensor, np.ndarray]:
    """(f(0), Jacobian [n_out, n_in]), block by block."""
    n_in = prod(in_shape)
    constant = _call(f, torch.zeros(1, *in_shape, dtype=torch.float64))
    n_out = constant.numel()
    _check_memory(n_out, n_in)
    _check_linear(f, in_shape, constant, generator)
    jacobian, step = np.empty((n_out, n_in)), max(1, _BLOCK // max(n_out, n_in))
    for start in range(0, n_in, step):
        stop = min(start + step, n_in)
        unit = torch.zeros(stop - start, n_in, dtype=torch.float64)
        unit[torch.arange(stop - start), torch.arange(start, stop)] = 1
        jacobian[:, start:stop] = (_call(f, unit.view(-1, *in_shape)) - constant).flatten(1).T.numpy()
    return constant, jacobian


def _call(f: Callable[..., Any], input: Tensor) -> Tensor:
    shape = list(input.shape)
    try:
        result = f(input)
    except Exception as error:
        raise PatternError(
            "Pattern.probe",
            f"f must take a float64 tensor {shape}",
            f"{type(error).__name__}: {str(error)[:200]}",
            "check in_shape, and give a function whose numbers are float64",
        ) from error
    if not isinstance(result, Tensor) or result.dim() < 2 or len(result) != len(input) or not result.numel():
        got = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
        raise PatternError(
            "Pattern.probe",
            f"f must give a tensor [{len(input)}, ...] that is not empty",
            got,
            "keep the batch as first axis",
        )
    if result.dtype != torch.float64:
        raise PatternError(
            "Pattern.probe",
            "f must give float64 for a float64 input",
            str(result.dtype),
            "keep the dtype of the input",
        )
    return result.cpu()


def _check_linear(
    f: Callable[..., Any], in_shape: tuple[int, ...], constant: Tensor, generator: torch.Generator
) -> None:
    """On small inputs and large ones; the constant counts for rounding alone."""
    for scale in _SCALES:
        x, y = scale * torch.randn(2, 1, *in_shape, generator=generator, dtype=torch.float64)
        of_x, of_y, both = (_call(f, z) - constant for z in (x, y, 2 * x - 3 * y))
        error = (both - 2 * of_x + 3 * of_y).abs().max()
        size = torch.stack([part.abs().max() for part in (of_x, of_y, both)]).max()
        if not error <= 1e-6 * size + 10 * _ROUNDING * constant.abs().max():
            raise PatternError(
                "Pattern.probe",
                "f must be linear, but for a constant",
                f"f(2x - 3y) that differs from 2f(x) - 3f(y) by {error / size:.1g} of its size at inputs of "
                f"size {scale:g}",
                "probe its linear layers one by one",
            )


def _connected(jacobian: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Which numbers are not zero, next to the others of their output and of their input."""
    size = np.abs(jacobian)
    least = np.minimum(size.max(1, initial=0)[:, None], size.max(0, initial=0))
    return size > _SAME * least + _ROUNDING * np.abs(constant)[:, None]


def _clusters(draws: list[np.ndarray], constants: list[np.ndarray]) -> np.ndarray:
    """An id for every number, one for those that are equal in every draw, numbered as they first come."""
    ids = np.zeros(len(draws[0]), dtype=np.int64)
    for number, values in enumerate(draws):
        order = np.argsort(values)
        ranked = values[order]
        size = np.maximum(np.abs(ranked[1:]), np.abs(ranked[:-1]))
        rounding = _ROUNDING * max(
            np.abs(v).max(initial=0) for v in (values, *constants[number : number + 1])
        )
        own = np.empty(len(values), dtype=np.int64)
        own[order] = np.concatenate([[0], np.cumsum(np.diff(ranked) > _SAME * size + rounding)])[
            : len(values)
        ]
        ids = np.unique(ids * (len(values) + 1) + own, return_inverse=True)[1].ravel()
    first = np.unique(ids, return_index=True)[1]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[ids]


def _check_memory(n_out: int, n_in: int) -> None:
    check_fits(
        PatternError,
        "Pattern.probe",
        "the Jacobian and its clusters",
        _BYTES * n_out * n_in,
        f"{n_out:,} x {n_in:,} numbers",
        "use a smaller input, or Pattern.of for a layer, which needs no Jacobian",
    )
