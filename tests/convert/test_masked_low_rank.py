"""The low-rank fit over the taps that touch the input is a minimum, by alternating least squares in numpy."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from weightshare import Local, LowRank, nn, reference, relax, restrict
from weightshare.convert.masked_low_rank import fit_masked
from weightshare.testing.strategies import layers

slow = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def find_touching(layer):
    """Return whether each tap touches the input [P, taps], from the oracle."""
    table = reference.input_table(layer.window, layer.input_size, layer.padding_mode, layer.position_size)
    return (table < np.prod(layer.input_size)).numpy()


def make_design(size, coefficients):
    """Return the allowed coefficients of one correction as the columns of a matrix [P, .]."""
    positions = int(np.prod(size))
    if coefficients == "free":
        return np.eye(positions)
    indices = np.indices(size).reshape(len(size), -1)
    return np.concatenate([np.eye(n)[i] for i, n in zip(indices, size)], 1)


def compute_error(kernels, seen, columns):
    """Return the error of the best banks for given columns [P, k], and these banks [taps, k, weights]."""
    lost, banks = 0.0, []
    for tap in range(seen.shape[1]):
        live = seen[:, tap]
        bank = np.linalg.lstsq(columns[live], kernels[live][:, :, tap], rcond=1e-12)[0]
        lost += np.square(kernels[live][:, :, tap] - columns[live] @ bank).sum()
        banks.append(bank)
    return np.sqrt(lost), np.stack(banks)


def improve(kernels, seen, columns, design, sweeps):
    """Return the columns after alternating least squares: the banks of each tap, then the coefficients."""
    for _ in range(sweeps if seen.any() else 0):
        _, banks = compute_error(kernels, seen, columns)
        rows, targets = [], []
        for position, tap in zip(*np.nonzero(seen)):
            rows.append(np.einsum("d,kw->wkd", design[position], banks[tap, 1:]).reshape(banks.shape[2], -1))
            targets.append(kernels[position, :, tap] - banks[tap, 0])
        theta = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=1e-12)[0]
        columns = np.concatenate([columns[:, :1], design @ theta.reshape(-1, design.shape[1]).T], 1)
    return columns


def compare(layer, rank, coefficients, sweeps=20):
    """Return the error of `restrict`, that after more alternating least squares, and the norm."""
    result = restrict(layer, LowRank(rank, coefficients))
    kernels, seen = reference.kernels_by_position(layer).flatten(1, 2).numpy(), find_touching(layer)
    columns = result.module.assignment().double().numpy()
    error = np.linalg.norm(
        (reference.kernels_by_position(result.module).flatten(1, 2).numpy() - kernels)[
            np.broadcast_to(seen[:, None], kernels.shape)
        ]
    )
    norm = np.linalg.norm(kernels[np.broadcast_to(seen[:, None], kernels.shape)])
    assert result.error * norm == pytest.approx(error, abs=1e-9)
    design = make_design(layer.position_size, coefficients)
    better, _ = compute_error(kernels, seen, improve(kernels, seen, columns, design, sweeps))
    return error, better, norm


@slow
@given(
    layers(sharing=Local(), padding_mode="zeros"), st.integers(1, 3), st.sampled_from(["factorized", "free"])
)
@torch.no_grad()
def test_alternating_least_squares_cannot_improve_the_fit(layer, rank, coefficients):
    """With as many coefficients as weights, the error may have no minimum, only an infimum."""
    positions, weights = layer.position_size, layer.kernels()[0].numel()
    live = find_touching(layer).sum() * weights / prod(layer.kernel_size)
    assume((1 + rank) * weights + rank * (prod(positions) - 1) < live)
    error, better, norm = compare(layer, rank, coefficients, sweeps=3)
    assert error <= better + 1e-3 * norm


@pytest.mark.parametrize("coefficients", ["factorized", "free"])
@pytest.mark.parametrize("padding", [1, 2, (0, 3)])
@torch.no_grad()
def test_the_fit_is_as_near_as_alternating_least_squares_from_the_svd(padding, coefficients):
    torch.manual_seed(0)
    layer = nn.LocallyConnected2d(2, 3, 4, padding=padding, input_size=6, dtype=torch.float64)
    error, better, norm = compare(layer, 2, coefficients)
    assert error <= better + 1e-6 * norm
    kernels, seen = reference.kernels_by_position(layer).flatten(1, 2).numpy(), find_touching(layer)
    design = make_design(layer.position_size, coefficients)
    means = (kernels * seen[:, None]).sum(0) / seen.sum(0).clip(1)
    deviations = ((kernels - means) * seen[:, None]).reshape(len(kernels), -1)
    left, values, _ = np.linalg.svd(design @ np.linalg.pinv(design) @ deviations, full_matrices=False)
    columns = np.concatenate([np.ones((len(kernels), 1)), left[:, :2] * values[:2]], 1)
    started, _ = compute_error(kernels, seen, improve(kernels, seen, columns, design, 100))
    assert error <= started + 1e-4 * norm


@pytest.mark.parametrize("coefficients", ["factorized", "free"])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
@torch.no_grad()
def test_a_low_rank_layer_is_found_whatever_is_on_padding(coefficients, scale):
    torch.manual_seed(0)
    sharing = LowRank(3, coefficients)
    exact = nn.Conv2d(3, 4, 3, padding=1, sharing=sharing, input_size=8, dtype=torch.float64)
    exact.weight.normal_()
    exact.weight[2] *= scale
    layer = relax(exact, Local())
    seen = torch.from_numpy(find_touching(layer)).unflatten(1, (3, 3))
    layer.kernels().permute(0, 3, 4, 1, 2)[~seen] = 100.0
    result = restrict(layer, sharing)
    assert result.error < 1e-6
    torch.testing.assert_close(*map(reference.kernels_by_position, (result.module, exact)), rtol=0, atol=1e-3)


def draw(positions=12, weights=2, taps=4, rank=2, seed=0):
    """Return kernels [P, out, in, taps], and whether a tap touches the input, which is random."""
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(positions, weights, 3, taps, dtype=torch.float64, generator=generator)
    return kernels, torch.rand(positions, taps, generator=generator) > 1 / 3


def test_the_fit_depends_only_on_taps_that_touch_the_input():
    kernels, touches = draw()
    fit = fit_masked(kernels, touches, None, 2)
    changed = torch.where(touches[:, None, None], kernels, torch.randn_like(kernels) * 1e3)
    for one, other in zip(fit, fit_masked(changed, touches, None, 2)):
        torch.testing.assert_close(one, other)


def test_the_fit_is_normalized():
    kernels, touches = draw()
    fit = fit_masked(kernels, touches, None, 3)
    coefficients, corrections = fit.coefficients, fit.corrections
    torch.testing.assert_close(coefficients.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(coefficients.T @ coefficients / 12, torch.eye(3, dtype=torch.float64))
    gram = corrections @ corrections.T
    torch.testing.assert_close(gram, gram.diagonal().diag(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("basis", [None, torch.linalg.qr(torch.eye(12).double()[:, :5] - 1 / 12).Q])
def test_both_ways_to_multiply_are_used_and_agree(basis):
    """With many weights per position, the matrices of products are smaller; with few, the kernels are."""
    kernels, touches = draw(weights=1)
    many = torch.cat([kernels, kernels.new_zeros(12, 40, 3, 4)], 1)
    few, large = fit_masked(kernels, touches, basis, 2), fit_masked(many, touches, basis, 2)
    kept = large.reconstruct().view(12, 41, 3, 4)[:, :1]
    torch.testing.assert_close(few.reconstruct().view_as(kept), kept, atol=1e-4, rtol=0)


def test_taps_that_never_touch_the_input_get_their_mean():
    kernels, touches = draw()
    touches[:, 1] = False
    banks = fit_masked(kernels, touches, None, 2)
    torch.testing.assert_close(banks.mean.view(2, 3, 4)[..., 1], kernels[..., 1].mean(0))
    assert not banks.corrections.view(-1, 2, 3, 4)[..., 1].any()
    nothing = fit_masked(kernels, torch.zeros_like(touches), None, 2)
    torch.testing.assert_close(nothing.mean, kernels.mean(0).flatten())
    assert nothing.corrections.shape == (0, 24)


def test_zero_and_constant_kernels_have_no_corrections():
    kernels, touches = draw()
    for value in (0.0, 2.0):
        fit = fit_masked(torch.full_like(kernels, value), touches, None, 2)
        assert fit.corrections.shape[0] == 0
        torch.testing.assert_close(fit.mean, torch.full_like(fit.mean, value))
