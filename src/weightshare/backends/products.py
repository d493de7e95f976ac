"""Many small matrix products on the CPU.

Torch computes float32 products by MKL, and by oneDNN only where it may round to bfloat16
(`torch.backends.mkldnn.matmul.fp32_precision`). Without matrix units for bfloat16, oneDNN computes those
products in full float32 all the same, and batches of small ones faster than MKL does. So it is allowed to for
the time of our own products, where a test at first use finds them exact.
"""

import os
import threading

import torch
from torch import Tensor

_lock = threading.Lock()
_inside = 0
_exact: bool | None = None


class FastProducts:
    """Inside, float32 products on the CPU run by oneDNN, if that keeps float32's accuracy on this machine.

    Nothing is changed where anybody has chosen a precision. The setting is the process's: for this time other
    threads' products run so too, as exactly, and `torch.get_float32_matmul_precision()` raises in them.
    """

    def __init__(self, like: Tensor, enabled: bool = True):
        self.enabled = enabled and like.dtype == torch.float32 and like.device.type == "cpu"

    def __enter__(self) -> None:
        if self.enabled:
            self.enabled = _enter()

    def __exit__(self, *error: object) -> None:
        if self.enabled:
            _leave()


def _enter() -> bool:
    global _inside
    with _lock:
        if _inside == 0:
            if _precision() != "none" or not keeps_float32():
                return False
            _set_precision("bf16")
        _inside += 1
    return True


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0 and _precision() == "bf16":
            _set_precision("none")


def _after_fork() -> None:
    """A child has none of the threads that were inside."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside and _precision() == "bf16":
        _set_precision("none")
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _precision() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]


def _set_precision(value: str) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = value  # type: ignore[attr-defined]


def keeps_float32() -> bool:
    """Whether products that may round to bfloat16 are computed in float32 on this processor all the same."""
    global _exact
    if _exact is None:
        _exact = torch.backends.mkldnn.is_available() and _probe()
    return _exact


def _probe() -> bool:
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (torch.randn(4, m, k, generator=generator), torch.randn(4, k, n, generator=generator))
        for m, k, n in ((32, 64, 16), (64, 1300, 64), (300, 16, 17), (1, 512, 64))
    ]
    before = _precision()
    _set_precision("bf16")
    try:
        return all(_is_exact(left, right) for left, right in pairs)
    finally:
        _set_precision(before)


def _is_exact(left: Tensor, right: Tensor) -> bool:
    """Whether the product, and that of a transposed operand, are as near as float32 gets."""
    exact = left.double() @ right.double()
    allowed = 2e-5 * left.shape[-1] ** 0.5  # bfloat16 and tf32 are wrong by 20 times that and more
    results = (torch.bmm(left, right), torch.bmm(left.mT.contiguous().mT, right))
    return all(bool((result - exact).abs().max() < allowed) for result in results)
