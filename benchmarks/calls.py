"""What a call of a layer costs beyond its computation; in torch's worker."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from weightshare import Full, Local, Regional, Tiled, nn

#: Calls of one timing.
CALLS = 50


def calls(rounds: int) -> list[dict[str, Any]]:
    """Microseconds of `layer(x)` on a tiny layer and of its backend's own function alone, by sharing."""
    x = torch.randn(2, 4, 10, 10)
    rows = []
    for sharing in (Local(), Tiled(2), Regional(2), Full()):
        layer = nn.Conv2d(4, 4, 3, bias=False, sharing=sharing, input_size=10)
        microseconds = _medians([lambda layer=layer: layer(x), _kernel_alone(layer, x)], rounds)
        layer_us, kernel_us = microseconds
        rows.append({"sharing": str(sharing), "layer_us": layer_us, "kernel_us": kernel_us})
    return rows


def _kernel_alone(layer: Any, x: torch.Tensor) -> Callable[[], object]:
    """What computes the layer, without checks and without torch's dispatch of an operator."""
    backend, weight = layer._backend, layer.weight.detach()
    if backend is None:
        return lambda: F.conv2d(x, weight)
    return lambda: backend.output(x, weight)


@torch.no_grad()
def _medians(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, taken in zip(functions, times):
            begin = time.perf_counter()
            for _ in range(CALLS):
                function()
            taken.append(1e6 * (time.perf_counter() - begin) / CALLS)
    return [statistics.median(taken[1:]) for taken in times]
