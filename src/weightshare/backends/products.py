"""Faster batches of small float32 matrix products on the CPU, with oneDNN instead of MKL.

Torch computes float32 products with MKL. It uses oneDNN, which is faster for batches of small matrices,
only if the process permits float32 products to be rounded to bfloat16. On processors without bfloat16
matrix units, oneDNN does not round: the products stay exact float32. `FastProducts` therefore gives this
permission while the products of a layer run, if a test on first use shows that this machine does not round.

Effect on the process: `torch.backends.mkldnn.matmul.fp32_precision` is "bf16" during these products and is
restored afterwards. The setting is not touched if the program has chosen a value for it.
"""

import os
import threading

import torch
from torch import Tensor

_lock = threading.Lock()
_inside = 0  # the number of `FastProducts` blocks that are running, in all threads
_exact: bool | None = None  # the result of the test, once it has run


class FastProducts:
    """A context in which oneDNN computes float32 products on the CPU, if it is exact on this machine.

    It has no effect for other dtypes and devices, and none if the program has chosen a precision. Because
    torch has one setting per process, products in other threads also use oneDNN during this time, with the
    same accuracy, and `torch.get_float32_matmul_precision()` raises an error in those threads.

    Args:
        like: One of the operands.
        enabled: If False, the context has no effect.
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
            if _get_precision() != "none" or not is_onednn_exact():
                return False
            _set_precision("bf16")
        _inside += 1
    return True


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0 and _get_precision() == "bf16":
            _set_precision("none")


def _reset_after_fork() -> None:
    """Reset the state in a child process, where the threads that ran products do not exist."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside and _get_precision() == "bf16":
        _set_precision("none")
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def _get_precision() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]


def _set_precision(value: str) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = value  # pyright: ignore[reportAttributeAccessIssue]


def is_onednn_exact() -> bool:
    """Return whether oneDNN has float32 accuracy on this processor even if it may round to bfloat16."""
    global _exact
    if _exact is None:
        _exact = torch.backends.mkldnn.is_available() and _measure_exactness()
    return _exact


def _measure_exactness() -> bool:
    """Compute a few products with the setting "bf16" and return whether they have float32 accuracy."""
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (torch.randn(4, m, k, generator=generator), torch.randn(4, k, n, generator=generator))
        for m, k, n in ((32, 64, 16), (64, 1300, 64), (300, 16, 17), (1, 512, 64))
    ]
    before = _get_precision()
    _set_precision("bf16")
    try:
        return all(_is_exact(left, right) for left, right in pairs)
    finally:
        _set_precision(before)


def _is_exact(left: Tensor, right: Tensor) -> bool:
    """Return whether the product has float32 accuracy, with and without a transposed operand."""
    exact = left.double() @ right.double()
    allowed = 2e-5 * left.shape[-1] ** 0.5  # bfloat16 and tf32 have errors at least 20 times as large
    results = (torch.bmm(left, right), torch.bmm(left.mT.contiguous().mT, right))
    return all(bool((result - exact).abs().max() < allowed) for result in results)
