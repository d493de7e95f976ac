"""What the machine can do, measured in torch's worker."""

import time
from collections.abc import Callable
from functools import cache

import torch

#: Rows of the square products; mebibytes that are read.
PRODUCTS, READ = (1536, 2048, 2560), 256
#: Rows of the short product that tells whether something else computes.
SHORT = 512


def peaks() -> dict[str, float]:
    """The fastest of several float32 products in GFLOP/s, and of sums of a large tensor in GB/s."""
    rates = [2e-9 * n**3 / _best(_product(n), 2) for n in PRODUCTS]
    large = _ones(READ * 2**18)
    return {"gflops": max(rates), "gb_per_s": 4e-9 * large.numel() / _best(large.sum, 5)}


def calibrate() -> float:
    """Milliseconds of a short product, the best of five."""
    return 1e3 * _best(_product(SHORT), 5)


def _product(n: int) -> Callable[[], object]:
    factor, out = _ones(n, n), torch.empty(n, n)
    return lambda: torch.mm(factor, factor, out=out)


@cache
def _ones(*size: int) -> torch.Tensor:
    return torch.ones(size)


def _best(call: Callable[[], object], times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
