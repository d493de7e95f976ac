"""Checks of a layer's values, derivatives and copies."""

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import reference
from .case import Case, get_output_shape


def check_values_and_gradients(case: Case) -> None:
    """Check the output and all gradients."""
    case.check("", case.layer)


def check_second_derivatives(case: Case) -> None:
    """Check second derivatives of a nonlinear function of the output, in float64 only."""
    if case.dtype != torch.float64:
        return
    got = _compute_curvature(case.layer, case.layer, case.input)
    expected = _compute_curvature(case.exact, lambda x: reference.output(case.exact, x), case.input)
    absolute, input = case.absolute, case.input.detach().abs()
    sums = _compute_curvature(absolute, lambda x: reference.output(absolute, x), input)
    for name, values in expected.items():
        magnitude = float(sums[name].max()) if values.numel() else 0.0
        case.check_close(f"second derivative with respect to {name}", got[name], values, magnitude)


def _compute_curvature(layer: Any, function: Callable[[Tensor], Tensor], input: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the squared norm of the gradients of sum(output**3)."""
    named = {"input": input.requires_grad_(), **dict(layer.named_parameters())}
    used = {name: source for name, source in named.items() if name != "bias" and source.numel()}
    sources = tuple(used.values())
    first = torch.autograd.grad(function(input).pow(3).sum(), sources, create_graph=True)
    total = torch.stack([gradient.square().sum() for gradient in first]).sum()
    return dict(zip(used, torch.autograd.grad(total, sources)))


@torch.no_grad()
def check_dense_matrix(case: Case) -> None:
    """Check that the output is the dense matrix times the input, plus the bias map."""
    exact = case.exact
    matrix = reference.dense_matrix(exact, exact.input_size)
    products = case.input.double().flatten(1) @ matrix.T
    expected = products.unflatten(1, (exact.out_channels, *exact.output_size)) + reference.bias_map(exact)
    case.check_close("output", case.layer(case.input), expected, case.magnitudes["output"])


@torch.no_grad()
def check_batches(case: Case) -> None:
    """Check inputs without a batch axis and empty batches."""
    layer, input, magnitude = case.layer, case.input, case.magnitudes["output"]
    for image, expected in zip(input, case.expected["output"]):
        case.check_close("output for an input without a batch axis", layer(image), expected, magnitude)
    shape, expected = layer(input[:0]).shape, (0, *get_output_shape(layer))
    assert shape == expected, f"output for an empty batch must have shape {list(expected)}, got {list(shape)}"
    with torch.enable_grad():
        layer(input[:0]).sum().backward()


@torch.no_grad()
def check_banks_and_assignment(case: Case) -> None:
    """Check `kernels()`, `assignment()` and `bias_map()`, and that all parameters are contiguous."""
    layer, exact = case.layer, case.exact
    matrix = layer.assignment()
    coefficients = dict(exact.named_parameters(recurse=False))
    expected = reference.assignment(layer.sharing, layer.position_size, coefficients)
    expected = expected.to(matrix.device)
    magnitude = float(expected.abs().max()) + layer.window.ndim
    case.check_close("assignment()", matrix, expected, magnitude)
    position_side, window_side = layer.out_channels, layer.in_channels
    if layer.transposed:
        position_side, window_side = window_side, position_side
    shape = [matrix.shape[1], position_side, window_side // layer.groups, *layer.kernel_size]
    got = list(layer.kernels().shape)
    assert got == shape, f"kernels() must have shape {shape}, got {got}"
    _check_equal(
        "bias_map()",
        layer.bias_map(),
        reference.bias_map(exact).to(case.dtype),
        "the bias of each output position",
    )
    for name, parameter in layer.named_parameters():
        assert parameter.is_contiguous(), f"parameter {name} must be contiguous"


@torch.no_grad()
def check_copies(case: Case) -> None:
    """Check that a deepcopy, a pickle and a checkpoint compute exactly the same output."""
    layer, input = case.layer, case.input
    expected, original = layer(input), "the output of the layer"
    _check_equal("output of a deepcopy", copy.deepcopy(layer)(input), expected, original)
    unpickled = _save_and_load(layer, weights_only=False)
    _check_equal("output after pickling", unpickled(input), expected, original)
    other = copy.deepcopy(layer)
    other.reset_parameters()
    other.load_state_dict(_save_and_load(layer.state_dict(), weights_only=True))
    _check_equal("output after loading a checkpoint", other(input), expected, original)


def _save_and_load(value: Any, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


def _check_equal(what: str, got: Tensor, expected: Tensor, other: str) -> None:
    assert torch.equal(got, expected), f"{what} must be exactly equal to {other}"


#: The checks for every layer, and those for convolutions and transposed convolutions.
ANY = (check_values_and_gradients, check_second_derivatives, check_batches, check_copies)
CONVOLUTION = (*ANY, check_dense_matrix, check_banks_and_assignment)
