"""What a layer's values must be, and what its copies must hold."""

import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import reference
from .case import Case, out_shape


def values_and_gradients(case: Case) -> None:
    """The oracle's."""
    case.check("", case.layer)


def second_derivatives(case: Case) -> None:
    """The oracle's, of a function that is curved in the output; in float64, where rounding hides nothing."""
    if case.dtype != torch.float64:
        return
    got = _curvature(case.layer, case.layer, case.input)
    expected = _curvature(case.exact, lambda x: reference.output(case.exact, x), case.input)
    sums = _curvature(case.absolute, lambda x: reference.output(case.absolute, x), case.input.detach().abs())
    for name, values in expected.items():
        size = float(sums[name].max()) if values.numel() else 0.0
        case.close(f"second derivative, {name},", got[name], values, size)


def _curvature(layer: Any, function: Callable[[Tensor], Tensor], input: Tensor) -> dict[str, Tensor]:
    """The gradients of the sum of squares of the gradients of the sum of the output's cubes."""
    named = {"input": input.requires_grad_(), **dict(layer.named_parameters())}
    used = {name: source for name, source in named.items() if name != "bias" and source.numel()}
    sources = tuple(used.values())
    first = torch.autograd.grad(function(input).pow(3).sum(), sources, create_graph=True)
    total = torch.stack([gradient.square().sum() for gradient in first]).sum()
    return dict(zip(used, torch.autograd.grad(total, sources)))


@torch.no_grad()
def dense_matrix(case: Case) -> None:
    """Times the input, and the bias map: the output."""
    exact = case.exact
    matrix = reference.dense_matrix(exact, exact.input_size)
    products = case.input.double().flatten(1) @ matrix.T
    by_matrix = products.unflatten(1, (exact.out_channels, *exact.output_size)) + reference.bias_map(exact)
    case.close("output", case.layer(case.input), by_matrix, case.sizes["output"])


@torch.no_grad()
def batches(case: Case) -> None:
    """An image without a batch axis, and no image at all."""
    layer, input = case.layer, case.input
    for image, expected in zip(input, case.expected["output"]):
        case.close("output of input without a batch axis", layer(image), expected, case.sizes["output"])
    shape, expected = layer(input[:0]).shape, (0, *out_shape(layer))
    assert shape == expected, f"an empty batch gives {list(shape)}, expected {list(expected)}"
    with torch.enable_grad():
        layer(input[:0]).sum().backward()


@torch.no_grad()
def bank_and_assignment(case: Case) -> None:
    """Kernels, assignment and bias map are what the sharing's definition says."""
    layer, exact = case.layer, case.exact
    matrix = layer.assignment()
    coefficients = dict(exact.named_parameters(recurse=False))
    expected = reference.assignment(layer.sharing, layer.position_size, coefficients)
    expected = expected.to(matrix.device)
    case.close("assignment()", matrix, expected, float(expected.abs().max()) + layer.window.ndim)
    near, far = layer.out_channels, layer.in_channels
    if layer.transposed:
        near, far = far, near
    shape = (matrix.shape[1], near, far // layer.groups, *layer.kernel_size)
    assert layer.kernels().shape == shape, (
        f"kernels() is {list(layer.kernels().shape)}, expected {list(shape)}"
    )
    _same("bias_map()", layer.bias_map(), reference.bias_map(exact).to(case.dtype))
    assert all(p.is_contiguous() for p in layer.parameters()), "every parameter must be contiguous"


@torch.no_grad()
def copies(case: Case) -> None:
    """A deepcopy, a pickle and a checkpoint give the same output bit for bit."""
    layer, input = case.layer, case.input
    expected = layer(input)
    _same("output of a deepcopy", copy.deepcopy(layer)(input), expected)
    _same("output of a pickle", _through_file(layer, weights_only=False)(input), expected)
    other = copy.deepcopy(layer)
    other.reset_parameters()
    other.load_state_dict(_through_file(layer.state_dict(), weights_only=True))
    _same("output of a checkpoint", other(input), expected)


def _through_file(value: Any, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


def _same(what: str, got: Tensor, expected: Tensor) -> None:
    assert torch.equal(got, expected), f"{what} is not the same bit for bit"


ANY = (values_and_gradients, second_derivatives, batches, copies)
CONVOLUTION = (*ANY, dense_matrix, bank_and_assignment)
