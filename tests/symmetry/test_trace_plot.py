"""The picture of a trace shows each operation, the verdict and the first loss."""

import pytest

from tests.helpers.networks import X, net
from weightshare.symmetry import trace_equivariance
from weightshare.views.colors import WARNING


def test_operations_causes_and_the_first_loss_are_named():
    trace = trace_equivariance(net("zeros", "pool"), X)
    axes = trace.plot().axes[0]
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == [f"{row.name}  {row.op}" for row in trace.rows]
    assert [label.get_color() for label in labels].index(WARNING) == 0
    assert [label.get_fontweight() for label in labels] == ["bold"] + ["normal"] * (len(labels) - 1)
    assert axes.texts[0].get_text() == "first loss, padding"
    assert sum(text.get_text() == "pooling" for text in axes.texts) == 2
    assert axes.get_title().replace("\n", " ") == trace.verdict


def test_an_exact_model_has_no_first_loss():
    axes = trace_equivariance(net("circular", "none"), X).plot().axes[0]
    assert not any("first loss" in text.get_text() for text in axes.texts)
    assert axes.get_xticklabels()[0].get_text() == "exact"


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_exact_errors_are_at_the_left(shift):
    trace = trace_equivariance(net("circular", "stride"), X, shift)
    axes = trace.plot().axes[0]
    exact = axes.get_xticks()[0]
    shown = [
        line.get_xdata()[-1] for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())
    ]
    errors = [row.accumulated for row in trace.rows if row.accumulated is not None]
    assert [x == exact for x in shown] == [error <= trace.floor for error in errors]
