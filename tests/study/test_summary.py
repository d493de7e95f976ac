from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from weightshare.study.summary import difference, epochs_to, interval


@pytest.mark.parametrize("values", [[0.9, 0.8], [0.91, 0.95, 0.93], [0.5, 0.5, 0.6, 0.4, 0.7]])
def test_interval_is_students(values):
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert interval(values) == pytest.approx(list(expected))


def test_one_seed_has_no_interval():
    assert interval([0.9]) is None
    found = difference([0.9], [0.8, 0.7])
    assert found.mean == pytest.approx(0.15)
    assert found.ci is None
    assert not found.clear
    assert not found.fixed


def test_difference_is_welchs():
    ours, theirs = [0.9, 0.92, 0.97], [0.8, 0.7, 0.9, 0.85]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    found = difference(ours, theirs)
    assert found.mean == pytest.approx(fmean(ours) - fmean(theirs))
    assert found.ci == pytest.approx([expected.low, expected.high])
    assert not found.clear
    assert difference([0.9, 0.91], [0.7, 0.71]).clear


def test_seeds_without_spread_give_a_difference_and_no_interval():
    found = difference([0.9, 0.9], [0.8, 0.8])
    assert found.mean == pytest.approx(0.1)
    assert found.ci is None
    assert found.fixed
    assert not found.clear


def test_epochs_to_a_target():
    assert epochs_to([0.1, 0.5, 0.4, 0.6], 0.5) == 2
    assert epochs_to([0.1], 0.5) is None
