"""The contract that every layer has to fulfill, as one check."""

import copy

from torch import nn

from .._args import check_integer
from ..errors import ArgumentError
from ..nn import SharedLinear
from ..nn.base import SharedLayer
from . import call_checks, checks
from .case import TOLERANCES, Case


def check_layer(layer: nn.Module, batch: int = 2, *, compile: bool = False) -> None:
    """Check that a layer agrees with the oracle, and that it works with the features of torch.

    The checked values are outputs, gradients of the input and all parameters, second derivatives (in
    float64), the dense matrix, inputs without a batch axis, empty batches, `kernels()`, `assignment()` and
    `bias_map()`.

    Outputs and all gradients are also checked with channels_last, sliced and expanded tensors,
    `torch.func.vmap`, autocast, deterministic algorithms, plain torch operators and the meta device.

    The checked copies are a deepcopy, a pickle, and a checkpoint loaded with `weights_only=True`.

    Checks that concern positions are skipped for a `SharedLinear`.

    The oracle, `weightshare.reference`, computes in float64 from the parameters of the layer. The maximum
    error is relative to the sum of the absolute values of the terms of a result: 1e-10 in float64, 1e-5 in
    float32, 0.016 in bfloat16 and 0.002 in float16, which is two units in the last place of these two
    types.

    Args:
        layer: A convolution or transposed convolution built with `input_size`, or a `SharedLinear`, on any
            device. It is not changed.
        batch: Number of images in the input, at least 1.
        compile: Whether to check `torch.compile` with one graph and a round trip through `torch.export` too,
            which takes a few seconds.

    Raises:
        AssertionError: If a check fails. The message names the first one.
        ArgumentError: If `layer` is not a `weightshare` layer, was built without `input_size`, has another
            dtype or is on the meta device, or if the batch size is invalid.

    Example:
        >>> from weightshare import Tiled, nn
        >>> check_layer(nn.Conv2d(2, 4, 3, sharing=Tiled(2), input_size=6))
        >>> check_layer(nn.ConvTranspose1d(2, 4, 3, sharing=Tiled(2), input_size=6))
    """
    name = type(layer).__name__
    if not isinstance(layer, SharedLayer | SharedLinear):
        expected = "check_layer needs a convolution, transposed convolution or SharedLinear of weightshare.nn"
        raise ArgumentError(name, expected, repr(layer), "convert torch convolutions with relax()")
    batch = check_integer(name, "batch", batch, least=1)
    if isinstance(layer, SharedLayer) and layer.input_size is None:
        expected, got = "check_layer needs a layer built with input_size", "input_size=None"
        raise ArgumentError(name, expected, got)
    if layer.weight.dtype not in TOLERANCES:
        expected = "check_layer needs parameters in bfloat16, float16, float32 or float64"
        raise ArgumentError(name, expected, str(layer.weight.dtype), "convert the layer with .to()")
    if layer.weight.is_meta:
        expected, got = "check_layer needs parameters with values", "a layer on the meta device"
        raise ArgumentError(name, expected, got, "use .to_empty() and load or initialize the parameters")
    if isinstance(layer, SharedLinear):
        selected = (*checks.ANY, *call_checks.ANY)
    else:
        selected = (*checks.CONVOLUTION, *call_checks.CONVOLUTION)
    case = Case(copy.deepcopy(layer).requires_grad_(True), batch)
    for check in (*selected, *(call_checks.COMPILED if compile else ())):
        check(case)
