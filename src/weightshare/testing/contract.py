"""What every layer must do, as one check."""

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import reference
from ..errors import ArgumentError

#: Relative and absolute tolerance of a comparison with the oracle, by dtype.
TOLERANCES = {torch.float64: (1e-10, 1e-10), torch.float32: (1e-4, 1e-4)}


def check_layer(layer: Any, batch: int = 2) -> None:
    """Check that a layer agrees with the oracle and behaves as a torch module.

    Outputs, the gradients of input and parameters, the dense matrix, input without a batch axis, an empty
    batch, kernels and assignment, a copy, a pickle, and a checkpoint read back with `weights_only=True`.

    Args:
        layer: Built with `input_size`, in float64 or float32, on any device.
        batch: Images in the input.

    Raises:
        AssertionError: names the first thing that fails.
        ArgumentError: a layer without `input_size`, or of another dtype.

    Example:
        >>> from weightshare import Tiled, nn
        >>> check_layer(nn.Conv2d(2, 4, 3, sharing=Tiled(2), input_size=6, dtype=torch.float64))
        >>> check_layer(nn.ConvTranspose1d(2, 4, 3, sharing=Tiled(2), input_size=6, dtype=torch.float64))
    """
    name = type(layer).__name__
    if layer.input_size is None:
        raise ArgumentError(
            name, "check_layer needs a layer with a size", "none", "build it with input_size="
        )
    if layer.weight.dtype not in TOLERANCES:
        given = str(layer.weight.dtype)
        raise ArgumentError(name, "check_layer compares float64 and float32", given, "convert it with .to()")
    layer = copy.deepcopy(layer).requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    like = layer.weight
    input = torch.randn(batch, layer.in_channels, *layer.input_size, generator=generator, dtype=torch.float64)
    input = input.to(like).requires_grad_()
    for check in (_values_and_gradients, _dense_matrix, _batches, _bank_and_assignment, _copies):
        check(layer, input)


def _values_and_gradients(layer: Any, input: Tensor) -> None:
    wanted = reference.output(layer, input)
    got = layer(input)
    _close("output", got, wanted)
    direction = torch.linspace(-1, 1, max(got.numel(), 1), device=got.device, dtype=got.dtype)
    direction = direction[: got.numel()].view_as(got)
    names, parameters = zip(*layer.named_parameters())
    sources = (input, *parameters)
    for name, source, mine, theirs in zip(
        ("input", *names),
        sources,
        torch.autograd.grad(got, sources, direction, allow_unused=True),
        torch.autograd.grad(wanted, sources, direction, allow_unused=True),
    ):
        zero = torch.zeros_like(source)
        _close(f"gradient of {name}", zero if mine is None else mine, zero if theirs is None else theirs)


@torch.no_grad()
def _dense_matrix(layer: Any, input: Tensor) -> None:
    matrix = reference.dense_matrix(layer, layer.input_size)
    got = (input.flatten(1) @ matrix.T).unflatten(1, (layer.out_channels, *layer.output_size))
    _close("dense matrix times input", got + layer.bias_map(), layer(input))


@torch.no_grad()
def _batches(layer: Any, input: Tensor) -> None:
    for image, wanted in zip(input, layer(input)):
        _close("input without a batch axis", layer(image), wanted)
    shape = (0, layer.out_channels, *layer.output_size)
    assert layer(input[:0]).shape == shape, f"an empty batch gives {layer(input[:0]).shape}, wanted {shape}"
    with torch.enable_grad():
        layer(input[:0]).sum().backward()


@torch.no_grad()
def _bank_and_assignment(layer: Any, input: Tensor) -> None:
    matrix = layer.assignment()
    coefficients = dict(layer.named_parameters(recurse=False))
    wanted = reference.assignment(layer.sharing, layer.position_size, coefficients)
    _close("assignment", matrix, wanted.to(matrix))
    near, far = layer.out_channels, layer.in_channels
    if layer.transposed:
        near, far = far, near
    shape = (matrix.shape[1], near, far // layer.groups, *layer.kernel_size)
    assert layer.kernels().shape == shape, f"kernels() is {tuple(layer.kernels().shape)}, wanted {shape}"
    _close("bias_map", layer.bias_map(), reference.bias_map(layer))
    assert all(p.is_contiguous() for p in layer.parameters()), "every parameter must be contiguous"


@torch.no_grad()
def _copies(layer: Any, input: Tensor) -> None:
    wanted = layer(input)
    _same("deepcopy", copy.deepcopy(layer)(input), wanted)
    _same("pickle", _through_file(layer, weights_only=False)(input), wanted)
    other = copy.deepcopy(layer)
    other.reset_parameters()
    other.load_state_dict(_through_file(layer.state_dict(), weights_only=True))
    _same("checkpoint", other(input), wanted)


def _through_file(value: Any, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


def _close(what: str, got: Tensor, wanted: Tensor) -> None:
    relative, absolute = TOLERANCES[wanted.dtype]
    scale = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
    torch.testing.assert_close(got, wanted, rtol=relative, atol=absolute * scale, msg=_named(what))


def _same(what: str, got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=0, atol=0, msg=_named(what))


def _named(what: str) -> Callable[[str], str]:
    return lambda message: f"{what} differs: {message}"
