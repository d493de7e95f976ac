"""The pattern of an unknown linear map: its Jacobian in float64, equal numbers clustered."""

import copy
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._memory import free_bytes
from ..errors import PatternError

_SAME = 1e-9  # of the largest number: numbers closer than this are one weight
_NOTE = "found by probing: connections with equal numbers count as shared"


@torch.no_grad()
def probed(f: Callable[..., Any], in_shape: tuple[int, ...], redraw: bool, seed: int) -> dict[str, Any]:
    """The arguments of the `Pattern` of a linear map."""
    if isinstance(f, torch.nn.Module):
        f = _in_float64(f, redraw, seed)
    constant = _call(f, torch.zeros(1, *in_shape, dtype=torch.float64))
    out_shape = tuple(constant.shape[1:])
    _check_memory(prod(out_shape), prod(in_shape))
    _check_linear(f, in_shape, constant, seed)
    step = max(1, 2**24 // max(prod(out_shape), prod(in_shape)))
    unit = torch.eye(prod(in_shape), dtype=torch.float64)
    columns = [_call(f, part.view(-1, *in_shape)) - constant for part in unit.split(step)]
    jacobian = torch.cat(columns).flatten(1).T.numpy()
    output, input_ = np.nonzero(np.abs(jacobian) > _SAME * np.abs(jacobian).max(initial=0))
    ids = _clusters(jacobian[output, input_])
    biases = constant.flatten().numpy()
    return {
        "edges": np.stack([output, input_, ids], axis=1),
        "out_shape": out_shape if len(out_shape) > 1 else prod(out_shape),
        "in_shape": in_shape,
        "bias": _clusters(biases) if biases.any() else None,
        "note": _NOTE,
    }


def _in_float64(module: torch.nn.Module, redraw: bool, seed: int) -> torch.nn.Module:
    """A copy in evaluation mode, on the CPU; its parameters random where that is asked."""
    module = copy.deepcopy(module).to("cpu", torch.float64).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters() if redraw else ():
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def _call(f: Callable[..., Any], input: Tensor) -> Tensor:
    result = f(input)
    if not isinstance(result, Tensor) or result.dim() < 2 or len(result) != len(input):
        got = str(tuple(result.shape)) if isinstance(result, Tensor) else type(result).__name__
        raise PatternError(
            "Pattern.probe", f"f must give a tensor [{len(input)}, ...]", got, "keep the batch as first axis"
        )
    return result.to("cpu", torch.float64)


def _check_linear(f: Callable[..., Any], in_shape: tuple[int, ...], constant: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 1, *in_shape, generator=generator, dtype=torch.float64)
    together, apart = _call(f, 2 * x - 3 * y), 2 * _call(f, x) - 3 * _call(f, y) + 2 * constant
    error = (together - apart).abs().max() / apart.abs().max().clamp(min=1e-300)
    if not error < 1e-6:
        raise PatternError(
            "Pattern.probe",
            "f must be linear, but for a constant",
            f"f(2x - 3y) that differs from 2f(x) - 3f(y) by {error:.1g} of its size",
            "probe its linear layers one by one",
        )


def _clusters(values: np.ndarray) -> np.ndarray:
    """An id for every value, one for all that are equal, numbered as they first come."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(values)
    gaps = np.diff(values[order]) > _SAME * np.abs(values).max()
    ids = np.empty(len(values), dtype=np.int64)
    ids[order] = np.concatenate([[0], np.cumsum(gaps)])
    first = np.unique(ids, return_index=True)[1]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[ids]


def _check_memory(n_out: int, n_in: int) -> None:
    needed, limit = 6 * 8 * n_out * n_in, free_bytes()
    if limit is not None and needed > limit:
        raise PatternError(
            "Pattern.probe",
            f"the Jacobian and its clusters must fit {limit:,} bytes of memory",
            f"{n_out:,} x {n_in:,} numbers, which take {needed:,} bytes",
            "use a smaller input, or Pattern.of for a layer, which needs no Jacobian",
        )
