"""The ways of computing a layer: each instruction set of the native backend, and plain torch operators."""

import warnings
from contextlib import contextmanager

import pytest
import torch

from weightshare.backends import native, operators

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)
    with native.force("on"):
        #: Instruction sets of the native backend that this machine can run; none without a C compiler.
        INSTRUCTION_SETS = native.get_status().runnable
#: Values for `computing`.
WAYS = (*INSTRUCTION_SETS, "off")


@contextmanager
def computing(way):
    """Compute layers in one way, with backends that have cached nothing."""
    with native.force(way):
        operators.from_text.cache_clear()
        try:
            yield
        finally:
            operators.from_text.cache_clear()


@contextmanager
def computing_in_blocks(elements, many_positions):
    """Compute layers in torch operators, with other sizes of blocks and another choice of convolutions."""
    with pytest.MonkeyPatch.context() as patch, computing("off"):
        patch.setattr("weightshare.backends.portable.BLOCK", elements)
        patch.setattr("weightshare.backends.low_rank.CHUNK", elements)
        patch.setattr("weightshare.backends.one_hot.MANY_POSITIONS", many_positions)
        yield


def get_results(function, layer, x):
    """Return the output of a function and the gradients of the input and of the layer's parameters."""
    y = function(x)
    direction = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y.dtype).view(y.shape)
    inputs = [x, *(p for p in layer.parameters() if p.numel())]
    return (y, *torch.autograd.grad(y, inputs, direction, allow_unused=True, materialize_grads=True))


def check_close(got, expected, tolerance=1e-10):
    """Compare several tensors, relative to the largest element of each; gradients must be contiguous."""
    for a, b in zip(got, expected, strict=True):
        scale = max(1.0, b.abs().max().item()) if b.numel() else 1.0
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * scale)
    assert all(gradient.is_contiguous() for gradient in got[2:])
