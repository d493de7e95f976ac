"""Measures the overhead of calling a layer, in the worker process of torch."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from weightshare import Full, Local, Regional, Tiled, nn

#: Number of calls per timing.
CALLS = 50


def measure_calls(rounds: int) -> list[dict[str, Any]]:
    """Return the microseconds of a tiny layer, and of its backend alone, for several sharings."""
    x = torch.randn(2, 4, 10, 10)
    rows = []
    for sharing in (Local(), Tiled(2), Regional(2), Full()):
        layer = nn.Conv2d(4, 4, 3, bias=False, sharing=sharing, input_size=10)
        calls = [lambda layer=layer: layer(x), _make_backend_call(layer, x)]
        layer_us, backend_us = _measure_medians(calls, rounds)
        rows.append({"sharing": str(sharing), "layer_us": layer_us, "backend_us": backend_us})
    return rows


def _make_backend_call(layer: Any, x: torch.Tensor) -> Callable[[], object]:
    """Return a call of the layer's backend, without checks and without the dispatch of an operator."""
    backend, weight = layer._backend, layer.weight.detach()
    if backend is None:
        return lambda: F.conv2d(x, weight)
    return lambda: backend.output(x, weight)


@torch.no_grad()
def _measure_medians(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, values in zip(functions, times):
            begin = time.perf_counter()
            for _ in range(CALLS):
                function()
            values.append(1e6 * (time.perf_counter() - begin) / CALLS)
    return [statistics.median(values[1:]) for values in times]
