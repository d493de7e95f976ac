"""Statistics over seeds agree with SciPy, and say when they cannot be computed."""

from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from weightshare.study.intervals import compare_means, compute_interval
from weightshare.study.summary import find_epoch


@pytest.mark.parametrize("values", [[0.9, 0.8], [0.91, 0.95, 0.93], [0.5, 0.5, 0.6, 0.4, 0.7]])
def test_intervals_are_those_of_students_t(values):
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert compute_interval(values) == pytest.approx(list(expected))


def test_one_seed_has_no_interval():
    assert compute_interval([0.9]) is None
    found = compare_means([0.9], [0.8, 0.7])
    assert found.mean == pytest.approx(0.15)
    assert found.ci is None
    assert not found.is_clear
    assert not found.constant


def test_differences_are_those_of_welchs_t():
    first, second = [0.9, 0.92, 0.97], [0.8, 0.7, 0.9, 0.85]
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    found = compare_means(first, second)
    assert found.mean == pytest.approx(fmean(first) - fmean(second))
    assert found.ci == pytest.approx([expected.low, expected.high])
    assert not found.is_clear
    assert compare_means([0.9, 0.91], [0.7, 0.71]).is_clear


def test_without_spread_over_the_seeds_there_is_no_interval():
    found = compare_means([0.9, 0.9], [0.8, 0.8])
    assert found.mean == pytest.approx(0.1)
    assert found.ci is None
    assert found.constant
    assert not found.is_clear


def test_epochs_to_a_target():
    assert find_epoch([0.1, 0.5, 0.4, 0.6], 0.5) == 2
    assert find_epoch([0.1], 0.5) is None
