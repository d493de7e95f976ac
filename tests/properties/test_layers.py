"""Laws that hold for convolutions with any geometry and sharing, compared with the oracle in float64."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.ways import WAYS, check_close, computing, computing_in_blocks, get_results
from weightshare import Full, Local, nn, reference
from weightshare.testing import check_layer
from weightshare.testing.strategies import layers

TORCH = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
OURS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
slow = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
thorough = settings(slow, max_examples=1500)


@slow
@given(layers(any_padding=True), st.integers(1, 3))
def test_a_layer_fulfills_the_contract(layer, batch):
    check_layer(layer, batch)


@pytest.mark.long
@thorough
@given(layers(any_padding=True), st.integers(1, 3), st.sampled_from(WAYS))
def test_a_layer_fulfills_the_contract_thoroughly(layer, batch, way):
    with computing(way):
        check_layer(layer, batch)


@slow
@given(layers(any_padding=True), st.integers(1, 17), st.sampled_from(WAYS))
def test_all_ways_of_computing_a_layer_agree(layer, batch, way):
    """Outputs and both gradients, on each instruction set and in plain torch operators."""
    x = torch.randn(batch, layer.in_channels, *layer.input_size, dtype=torch.float64, requires_grad=True)
    with computing(way):
        got = get_results(layer, layer, x)
    check_close(got, get_results(lambda v: reference.output(layer, v), layer, x))


@slow
@given(layers(), st.integers(1, 2), st.sampled_from([1, 40]), st.sampled_from([0, 1e9]))
def test_blocks_and_convolutions_do_not_change_results(layer, batch, block, many):
    x = torch.randn(batch, layer.in_channels, *layer.input_size, dtype=torch.float64, requires_grad=True)
    with computing_in_blocks(block, many):
        got = get_results(layer, layer, x)
    check_close(got, get_results(lambda v: reference.output(layer, v), layer, x))


@settings(slow, max_examples=25)
@given(layers(any_padding=True))
def test_second_derivatives(layer):
    x = torch.randn(1, layer.in_channels, *layer.input_size, dtype=torch.float64, requires_grad=True)
    parameters = [p for p in (layer.weight, *layer._coefficient_terms()) if p.numel()]

    def curvature(function):
        y = function(x)
        first = torch.autograd.grad((y**3).sum(), [x, *parameters], create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), [x, *parameters])

    for got, expected in zip(curvature(layer), curvature(lambda v: reference.output(layer, v))):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8 * max(1, expected.abs().max().item()))


@slow
@given(layers(sharing=Full(), bias_sharing=Full()))
def test_full_equals_torch_for_any_input_size(layer):
    arguments = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
    ndim = layer.window.ndim
    other = TORCH[ndim](
        *arguments,
        layer.dilation,
        layer.groups,
        layer.bias is not None,
        layer.padding_mode,
        dtype=torch.float64,
    )
    other.load_state_dict(layer.state_dict())
    for more in (0, 3):
        x = torch.randn(2, layer.in_channels, *(n + more for n in layer.input_size), dtype=torch.float64)
        assert torch.equal(layer(x), other(x))


@slow
@given(layers(), st.data())
def test_the_checkpoint_of_a_plain_convolution_computes_the_same_function(layer, data):
    ndim = layer.window.ndim
    plain = TORCH[ndim](
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.bias is not None,
        layer.padding_mode,
        dtype=torch.float64,
    )
    assign = data.draw(st.booleans())
    layer.load_state_dict(plain.state_dict(), assign=assign)
    x = torch.randn(2, layer.in_channels, *layer.input_size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-10, atol=1e-10)
    assert all(p.is_contiguous() for p in layer.parameters())
    check_layer(layer)


@slow
@given(layers(ndim=2, sharing=Local(), bias=False, padding_mode="zeros", padding=0))
def test_local_at_a_position_is_the_convolution_with_its_kernel(layer):
    x = torch.randn(2, layer.in_channels, *layer.input_size, dtype=torch.float64)
    out = layer(x).flatten(2)
    for p, kernel in enumerate(layer.kernels()):
        plain = torch.nn.functional.conv2d(
            x, kernel, None, layer.stride, 0, layer.dilation, layer.groups
        ).flatten(2)
        torch.testing.assert_close(out[..., p], plain[..., p], rtol=1e-10, atol=1e-10)
