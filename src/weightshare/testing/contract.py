"""What every layer must do, as one check."""

import copy
from typing import Any

import torch

from .._args import integer
from ..convert.layers import OURS
from ..errors import ArgumentError
from ..nn import SharedLinear
from . import checks, ways
from .case import TOLERANCES, Case


def check_layer(layer: Any, batch: int = 2, *, compile: bool = False) -> None:
    """Check that a layer agrees with the oracle, however it is called, and behaves as a torch module.

    Values: outputs and the gradients of input and parameters, in float64 also second derivatives; the dense
    matrix, input without a batch axis, an empty batch, kernels and assignment. Ways of calling, each with all
    gradients: channels last (and the output then too), input and gradient that are not contiguous,
    `torch.func`, autocast, deterministic algorithms, plain operators of torch, the meta device. Copies: a
    deepcopy, a pickle, and a checkpoint read back with `weights_only=True`. What is about positions is left
    out for a `SharedLinear`.

    The oracle computes in float64 from the layer's own numbers. What is allowed to differ is a share of the
    sum of the absolute values of a result's terms: 1e-10 in float64, 1e-5 in float32, 0.016 in bfloat16 and
    0.002 in float16, two units of the last place of either.

    Args:
        layer: A convolution built with `input_size`, or a `SharedLinear`, on any device; left as it is.
        batch: Images in the input, at least 1.
        compile: Check `torch.compile` in one graph and a round trip through `torch.export` too, which take
            some seconds.

    Raises:
        AssertionError: names the first thing that fails.
        ArgumentError: no layer of ours, one without `input_size`, of another dtype or on the meta
            device; a batch of no image.

    Example:
        >>> from weightshare import Tiled, nn
        >>> check_layer(nn.Conv2d(2, 4, 3, sharing=Tiled(2), input_size=6))
        >>> check_layer(nn.ConvTranspose1d(2, 4, 3, sharing=Tiled(2), input_size=6))
    """
    name = type(layer).__name__
    linear = isinstance(layer, SharedLinear)
    if not linear and not isinstance(layer, OURS):
        expected = "check_layer needs a convolution or SharedLinear of weightshare.nn"
        got = repr(layer) if isinstance(layer, torch.nn.Module) else f"{layer!r}, which is no module"
        raise ArgumentError(name, expected, got, "build one, or use relax() on one of torch.nn")
    batch = integer(name, "batch", batch, least=1)
    if not linear and layer.input_size is None:
        raise ArgumentError(
            name, "check_layer needs a layer with a size", "none", "build it with input_size="
        )
    if layer.weight.dtype not in TOLERANCES:
        expected = "check_layer compares bfloat16, float16, float32 and float64"
        raise ArgumentError(name, expected, str(layer.weight.dtype), "convert it with .to()")
    if layer.weight.is_meta:
        expected = "check_layer needs parameters that hold numbers"
        raise ArgumentError(
            name, expected, "a layer on the meta device", "use .to_empty() and load its weights"
        )
    case = Case(copy.deepcopy(layer).requires_grad_(True), batch)
    both = (*checks.ANY, *ways.ANY) if linear else (*checks.CONVOLUTION, *ways.CONVOLUTION)
    for check in (*both, *(ways.COMPILED if compile else ())):
        check(case)
