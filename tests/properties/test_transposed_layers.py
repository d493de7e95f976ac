"""Laws that hold for transposed layers with any geometry and sharing, such as being an exact adjoint."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.helpers.ways import WAYS, check_close, computing, computing_in_blocks, get_results
from weightshare import Full, explain, nn, reference
from weightshare.testing import check_layer
from weightshare.testing.strategies import transposed_layers

TORCH = {1: torch.nn.ConvTranspose1d, 2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
slow = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
thorough = settings(slow, max_examples=1500)


def plain(layer):
    """Build the `torch.nn` layer with the same geometry."""
    return TORCH[layer.window.ndim](
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.bias is not None,
        layer.dilation,
        dtype=torch.float64,
    )


def random_input(layer, batch=2):
    return torch.randn(batch, layer.in_channels, *layer.input_size, dtype=torch.float64)


def close(got, expected, tolerance=1e-10):
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * scale)


@slow
@given(transposed_layers(), st.integers(1, 3))
def test_a_layer_fulfills_the_contract(layer, batch):
    check_layer(layer, batch)


@pytest.mark.long
@thorough
@given(transposed_layers(), st.integers(1, 3), st.sampled_from(WAYS))
def test_a_layer_fulfills_the_contract_thoroughly(layer, batch, way):
    with computing(way):
        check_layer(layer, batch)


@slow
@given(transposed_layers(), st.integers(1, 17), st.sampled_from(WAYS))
def test_all_ways_of_computing_a_layer_agree(layer, batch, way):
    """Outputs and both gradients, on each instruction set and in plain torch operators."""
    x = random_input(layer, batch).requires_grad_()
    with computing(way):
        got = get_results(layer, layer, x)
    check_close(got, get_results(lambda v: reference.output(layer, v), layer, x))


@slow
@given(transposed_layers(), st.sampled_from([1, 40]), st.sampled_from([0, 1e9]))
def test_blocks_and_convolutions_do_not_change_results(layer, block, many):
    x = random_input(layer).requires_grad_()
    with computing_in_blocks(block, many):
        got = get_results(layer, layer, x)
    check_close(got, get_results(lambda v: reference.output(layer, v), layer, x))


@settings(slow, max_examples=25)
@given(transposed_layers())
def test_second_derivatives(layer):
    x = random_input(layer, 1).requires_grad_()
    parameters = [p for p in (layer.weight, *layer._coefficient_terms()) if p.numel()]

    def curvature(function):
        y = function(x)
        first = torch.autograd.grad((y**3).sum(), [x, *parameters], create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), [x, *parameters])

    for got, expected in zip(curvature(layer), curvature(lambda v: reference.output(layer, v))):
        close(got, expected, 1e-8)


@slow
@given(transposed_layers(sharing=Full(), bias_sharing=Full()))
def test_full_equals_torch_for_any_input_size_and_output_size(layer):
    other = plain(layer)
    other.load_state_dict(layer.state_dict())
    for more in (0, 3):
        size = tuple(n + more for n in layer.input_size)
        x = torch.randn(2, layer.in_channels, *size, dtype=torch.float64)
        expected = other(x)
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer(x[0]), other(x[0]))
        if all(extra < s for extra, s in zip(layer.output_padding, layer.stride)):
            assert torch.equal(layer(x, output_size=expected.shape), other(x, output_size=expected.shape))


@slow
@given(transposed_layers(), st.booleans())
def test_the_checkpoint_of_a_plain_layer_computes_the_same_function(layer, assign):
    other = plain(layer)
    layer.load_state_dict(other.state_dict(), assign=assign)
    x = random_input(layer)
    close(layer(x), other(x))
    assert all(p.is_contiguous() for p in layer.parameters())
    check_layer(layer)


@slow
@given(transposed_layers(bias_sharing=Full()), st.data())
def test_output_size_sets_the_output_padding(layer, data):
    least = [n - extra for n, extra in zip(layer.output_size, layer.output_padding)]
    size = tuple(n + data.draw(st.integers(0, s - 1)) for n, s in zip(least, layer.stride))
    if min(size) < 1:
        return
    other = plain(layer)
    layer.load_state_dict(other.state_dict())
    x = random_input(layer)
    close(layer(x, output_size=size), other(x, output_size=size))
    close(layer(x[0], output_size=(layer.out_channels, *size)), other(x[0], output_size=size))


@slow
@given(transposed_layers(bias=False))
def test_it_is_the_adjoint_of_the_convolution_with_the_same_weight(layer):
    # with an output padding of at least the stride, the convolution would have more positions
    assume(layer.window.output_size(layer.output_size) == layer.input_size)
    adjoint = CONV[layer.window.ndim](
        layer.out_channels,
        layer.in_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        bias=False,
        dtype=torch.float64,
        sharing=layer.sharing,
        input_size=layer.output_size,
    )
    for name in dict(adjoint.named_parameters()):
        setattr(adjoint, name, getattr(layer, name))
    x = random_input(layer)
    y = torch.randn(2, layer.out_channels, *layer.output_size, dtype=torch.float64, requires_grad=True)
    close((adjoint(y) * x).sum(), (y * layer(x)).sum())
    (gradient,) = torch.autograd.grad(adjoint(y), y, x)
    close(layer(x), gradient)


@slow
@given(transposed_layers())
def test_explain_counts_what_the_layer_allocates(layer):
    answer = explain(layer)
    assert answer.parameters == sum(p.numel() for p in layer.parameters())
    assert answer.input == (layer.in_channels, *layer.input_size)
    assert answer.output == (layer.out_channels, *layer.output_size)
    assert answer.banks == layer.kernels().shape[0]
    assert answer.positions == len(layer.assignment())
    matrix = reference.dense_matrix(layer, layer.input_size)
    assert answer.connections == int((matrix != 0).sum())
