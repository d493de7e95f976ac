"""Conversions obey their laws for random geometry, in float64, compared to the oracle."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightshare import Local, LowRank, reference, relax, restrict, to_dense
from weightshare.backends import PER_POSITION
from weightshare.errors import ConversionError
from weightshare.testing import check_layer
from weightshare.testing.strategies import layers, sharings, transposed_layers

slow = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))


anything = layers() | transposed_layers()


def find_touching(layer):
    """Return whether each tap touches the input (or transposed output) [P, taps], from the oracle."""
    size = layer.output_size if layer.transposed else layer.input_size
    table = reference.input_table(layer.window, size, layer.padding_mode, layer.position_size)
    return table < torch.Size(size).numel()


def assert_near(got, expected, tolerance=1e-12):
    scale = max(1.0, *expected.abs().flatten().tolist(), 1.0)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * scale)


def draw_finer(data, layer):
    """Draw a sharing that refines that of the layer."""
    sharing = data.draw(sharings(layer.position_size) | st.just(Local()))
    if sharing.refines(layer.sharing, layer.position_size):
        return sharing
    with pytest.raises(ConversionError, match="must refine the current one"):
        relax(layer, sharing)
    return Local()


@slow
@given(anything, st.data())
@torch.no_grad()
def test_relax_keeps_every_kernel_and_bias(layer, data):
    before = copy.deepcopy(layer.state_dict())
    sharing = draw_finer(data, layer)
    relaxed = relax(layer, sharing)
    assert relaxed.sharing == sharing
    exact = (layer.sharing.one_hot and sharing.one_hot) or sharing == layer.sharing
    assert_near(*map(reference.kernels_by_position, (relaxed, layer)), tolerance=0 if exact else 1e-12)
    assert torch.equal(reference.bias_map(relaxed), reference.bias_map(layer))
    x = torch.randn(2, layer.in_channels, *layer.input_size, dtype=torch.float64)
    assert_near(relaxed(x), layer(x), 1e-10)
    with torch.enable_grad():
        check_layer(relaxed, batch=1)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


@slow
@given(anything, st.data())
@torch.no_grad()
def test_restrict_inverts_relax(layer, data):
    relaxed = relax(layer, draw_finer(data, layer))
    result = restrict(relaxed, layer.sharing, bias_sharing=layer.bias_sharing)
    assert result.error < 1e-12
    assert result.bias_error < 1e-12
    assert result.module.sharing == layer.sharing
    assert_near(*map(reference.kernels_by_position, (result.module, layer)))
    assert_near(*map(reference.bias_map, (result.module, layer)))
    if layer.sharing.one_hot:
        assert_near(result.module.weight, layer.weight)


@slow
@given(anything, st.data())
@torch.no_grad()
def test_restrict_to_banks_is_least_squares_over_the_taps_that_touch_the_input(layer, data):
    sharing = data.draw(sharings(layer.position_size, one_hot=True))
    result = restrict(layer, sharing)
    old, new = map(reference.kernels_by_position, (layer, result.module))
    seen = find_touching(layer)[:, None, None]
    lost = torch.where(seen, new - old, 0)
    banks = reference.assignment(sharing, layer.position_size)
    normal = torch.einsum("pk,poct->koct", banks, lost)
    assert_near(normal, torch.zeros_like(normal), 1e-10)
    assert result.error * float((old * seen).norm()) == pytest.approx(float(lost.norm()), rel=1e-9, abs=1e-9)
    for bank in banks.T.bool():
        never = ~find_touching(layer)[bank].any(0)
        assert_near(new[bank][0][..., never], old[bank].mean(0)[..., never])


@slow
@given(layers(padding=0, sharing=Local()), st.integers(0, 3), st.sampled_from(["factorized", "free"]))
@torch.no_grad()
def test_restrict_to_low_rank_is_the_best_approximation(layer, rank, coefficients):
    """Without padding, the theorem of Eckart and Young holds in the span of the coefficients."""
    result = restrict(layer, LowRank(rank, coefficients))
    size = layer.output_size
    kernels = reference.kernels_by_position(layer).flatten(1)
    design = torch.eye(len(kernels), dtype=torch.float64)
    if coefficients == "factorized":
        grid = torch.cartesian_prod(*(torch.arange(n) for n in size)).view(len(kernels), -1)
        design = torch.cat([torch.nn.functional.one_hot(i, n) for i, n in zip(grid.T, size)], 1).double()
    deviations = kernels - kernels.mean(0)
    reachable = design @ torch.linalg.pinv(design) @ deviations
    least = deviations.norm() ** 2 - (torch.linalg.svdvals(reachable)[:rank] ** 2).sum()
    expected = float(least.clamp(min=0).sqrt() / kernels.norm())
    assert result.error == pytest.approx(expected, rel=1e-6, abs=1e-7)


@slow
@given(layers(sharing=Local(), padding_mode="zeros"), st.integers(0, 2), st.booleans())
@torch.no_grad()
def test_taps_on_padding_do_not_affect_a_low_rank_fit(layer, rank, free):
    """The fit is also at least as near as the plain one, which counts all taps."""
    sharing = LowRank(rank, "free" if free else "factorized")
    old, seen = reference.kernels_by_position(layer), find_touching(layer)[:, None, None]
    means = (old * seen).sum(0) / seen.sum(0).clamp(min=1)
    last = restrict(layer, sharing).module
    layer.weight.copy_(PER_POSITION.from_banks(torch.where(seen, old, means).unflatten(3, layer.kernel_size)))
    assert_same_where(seen, restrict(layer, sharing).module, last)
    layer.padding_mode = "replicate"
    first = restrict(layer, sharing).module
    lost = [torch.where(seen, reference.kernels_by_position(made) - old, 0).norm() for made in (last, first)]
    assert lost[0] <= lost[1] + 1e-9


def assert_same_where(seen, *made):
    assert_near(*(torch.where(seen, reference.kernels_by_position(layer), 0) for layer in made), 1e-7)


@slow
@given(anything)
@torch.no_grad()
def test_the_dense_layer_has_the_matrix_of_the_oracle(layer):
    expected = reference.dense_matrix(layer, layer.input_size)
    linear = to_dense(layer)
    assert_near(linear.weight, expected)
    x = torch.randn(2, layer.in_channels, *layer.input_size, dtype=torch.float64)
    assert_near(linear(x.flatten(1)), layer(x).flatten(1), 1e-10)
    sparse = to_dense(layer, sparse=True)
    assert sparse.is_coalesced()
    assert_near(sparse.to_dense(), expected)
    if layer.padding_mode == "zeros":
        per_tap = layer.out_channels * layer.in_channels // layer.groups
        assert sparse.values().numel() == int(find_touching(layer).sum()) * per_tap
