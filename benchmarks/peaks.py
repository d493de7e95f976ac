"""Measures the peak performance of the machine, in the worker process of torch."""

import time
from collections.abc import Callable
from functools import cache

import torch

#: Numbers of rows of the square matrices, and mebibytes that are read.
PRODUCTS, READ = (1536, 2048, 2560), 256
#: Number of rows of the short product that detects other load on the machine.
SHORT = 512
#: Clock in seconds.
clock = time.perf_counter


def measure_peaks() -> dict[str, float]:
    """Return the peak of float32 matrix products in GFLOP/s, and of summing a large tensor in GB/s."""
    rates = [2e-9 * n**3 / _measure_best(_make_product(n), 2) for n in PRODUCTS]
    large = _ones(READ * 2**18)
    return {"gflops": max(rates), "gb_per_s": 4e-9 * large.numel() / _measure_best(large.sum, 5)}


def time_short_product() -> float:
    """Return the milliseconds of a short product, the best of five."""
    return 1e3 * _measure_best(_make_product(SHORT), 5)


def _make_product(n: int) -> Callable[[], object]:
    factor, out = _ones(n, n), torch.empty(n, n)
    return lambda: torch.mm(factor, factor, out=out)


@cache
def _ones(*size: int) -> torch.Tensor:
    return torch.ones(size)


def _measure_best(call: Callable[[], object], times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        begin = clock()
        call()
        seconds.append(clock() - begin)
    return min(seconds)
