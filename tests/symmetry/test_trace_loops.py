"""Positions that a model computes one by one in a loop and joins again are followed."""

import pytest
import torch
from torch import nn

import weightshare as ws
from tests.helpers.networks import picture

X = picture(2, 3, 12)


def join_rows_in_a_buffer(x):
    out = torch.zeros_like(x)
    for k in range(12):
        out[..., k] = 2 * x[..., k].relu()
    return out


def join_rows_first(x):
    out = x.new_zeros(12, 2, 3)
    for k in range(12):
        out[k] = x[..., k]
    return out.permute(1, 2, 0)


def join_backwards(x):
    out = torch.zeros_like(x)
    for k in range(12):
        out[..., 11 - k] = x[..., k]
    return out


def add_up(x):
    out, state = torch.zeros_like(x), 0
    for k in range(12):
        state = 0.5 * state + x[..., k]
        out[..., k] = state
    return out


def join_by_indicators(x):
    return sum(x[..., k : k + 1] * (torch.arange(12) == k) for k in range(12))


def join_every_other(x):
    return torch.stack([x[..., k] for k in range(0, 12, 2)], -1)


def join_means(x):
    return torch.stack([x[..., k : k + 3].mean(-1) for k in range(0, 12, 3)], -1)


def join_around(x):
    return torch.stack([x[..., k] - x[..., k - 1] for k in range(12)], -1)


@pytest.mark.parametrize(
    ("model", "stride", "exact_along"),
    [
        (join_rows_in_a_buffer, 1, 1),
        (join_rows_first, 1, 1),
        (join_backwards, 1, 6),
        (add_up, 1, 0),
        (join_by_indicators, 1, 1),
        (join_every_other, 2, 2),
        (join_means, 3, 3),
        (join_around, 1, 1),
    ],
)
def test_a_loop_over_positions(model, stride, exact_along):
    trace = ws.trace_equivariance(model, X, stride)
    expected = torch.roll(model(X), 1, 2)
    error = (model(torch.roll(X, stride, 2)) - expected).norm() / expected.norm()
    assert trace.followed
    assert trace.error == pytest.approx(error.item(), abs=1e-12)
    assert trace.exact_along == (exact_along,)
    assert (trace.first_loss is None) == (error < 1e-12)


def test_loops_over_two_axes():
    def model(x):
        rows = [torch.stack([x[..., i, j] for j in range(4)], -1) for i in range(6)]
        return torch.stack(rows, -2)

    trace = ws.trace_equivariance(model, picture(2, 3, 6, 4))
    assert (trace.exact_along, trace.first_loss) == ((1, 1), None)


def test_parts_that_do_not_reach_around_an_axis_are_not_followed():
    trace = ws.trace_equivariance(lambda x: torch.stack([x[..., 0], x[..., 5], x[..., 6]], 1), X)
    assert (trace.followed, trace.exact_along, trace.first_loss) == (False, None, None)
    assert trace.verdict == (
        "it is unknown whether shift (1,) is preserved: exact shifts could not be checked; "
        "positions cannot be followed through 'stack'"
    )


def test_the_last_state_of_a_recurrent_layer_has_no_positions():
    lstm = nn.LSTM(3, 5, batch_first=True).double().eval()

    def model(x):
        return lstm(x.mT)[1][0][-1]

    trace = ws.trace_equivariance(model, X)
    error = (model(torch.roll(X, 1, 2)) - model(X)).norm() / model(X).norm()
    assert trace.error == pytest.approx(error.item())
    assert (trace.followed, trace.exact_along, trace.first_loss) == (True, (0,), "LSTM")
    assert trace.rows[1].cause == "recurrence"


def test_an_output_without_known_positions_is_not_followed():
    def model(x):
        return torch.cat([nn.functional.adaptive_max_pool1d(x, size).flatten(1) for size in (1, 2, 4)], 1)

    trace = ws.trace_equivariance(model, X)
    assert (trace.followed, trace.rows[-1].followed, trace.first_loss) == (False, False, None)
    assert "positions cannot be followed through 'cat'" in trace.verdict
