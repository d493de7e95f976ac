"""Statistics over seeds agree with scipy and with hand calculations, and say when they cannot be computed."""

import math
import warnings
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats

from tests.helpers.results import ACCURACY, RMSE, make_result, make_trial
from weightshare.study.statistics.intervals import (
    compare_means,
    compare_with_chosen,
    compare_with_control,
    compute_interval,
    estimate_seeds,
    have_unequal_spread,
)
from weightshare.study.summary import compute_target, find_epoch

FULL, TILED, LOCAL = [0.95, 0.96, 0.94], [0.93, 0.95, 0.92], [0.80, 0.85, 0.82]


@pytest.mark.parametrize("values", [[0.9, 0.8], [0.91, 0.95, 0.93], [0.5, 0.5, 0.6, 0.4, 0.7]])
def test_intervals_are_those_of_students_t(values):
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert compute_interval(values) == pytest.approx(list(expected))


def test_an_interval_by_hand():
    # mean 0.9, standard deviation 0.1, t(0.975, 2) = 4.302653
    assert compute_interval([0.8, 0.9, 1.0]) == pytest.approx([0.9 - 0.2484, 0.9 + 0.2484], abs=1e-4)


@pytest.mark.parametrize("values", [[0.96, 0.96], [0.1 + 0.2, 0.3, 0.3], [-2.0, -2.0]])
def test_equal_values_have_no_interval(values):
    assert compute_interval(values) is None


def test_one_seed_has_no_interval():
    assert compute_interval([0.9]) is None
    found = compare_means([0.9], [0.8])
    assert found.mean == pytest.approx(0.1)
    assert found.ci is None
    assert not found.is_clear
    assert not found.constant


def test_differences_are_those_of_the_paired_t():
    differences = [a - b for a, b in zip(FULL, TILED)]
    half = stats.t.ppf(0.975, 2) * stdev(differences) / math.sqrt(3)
    found = compare_means(FULL, TILED)
    assert found.mean == pytest.approx(fmean(differences))
    assert found.ci == pytest.approx([found.mean - half, found.mean + half])
    assert found.is_clear
    assert not stats.ttest_ind(FULL, TILED).confidence_interval().low > 0, "unpaired, they are not clear"


def test_several_rows_have_simultaneous_intervals():
    found = compare_with_control([TILED, LOCAL], FULL)
    pooled = math.sqrt(fmean(np.var(values, ddof=1) for values in (FULL, TILED, LOCAL)))
    # two-sided 5% point of Dunnett's distribution for two rows and 6 degrees of freedom: 2.86 (Dunnett, 1964)
    half = 2.86 * pooled * math.sqrt(2 / 3)
    for one, values in zip(found, (TILED, LOCAL)):
        mean = fmean(values) - fmean(FULL)
        assert one.mean == pytest.approx(mean)
        assert one.ci == pytest.approx([mean - half, mean + half], abs=2e-4)
    assert [one.is_clear for one in found] == [False, True]


def test_simultaneous_intervals_are_always_the_same_and_draw_no_random_numbers():
    state = np.random.get_state()[1].copy()
    first = compare_with_control([TILED, LOCAL, FULL[::-1]], FULL)
    assert first == compare_with_control([TILED, LOCAL, FULL[::-1]], FULL)
    assert (np.random.get_state()[1] == state).all()


def test_a_row_chosen_for_its_results_has_tukeys_intervals():
    found = compare_with_chosen([TILED, LOCAL], FULL)
    pooled = math.sqrt(fmean(np.var(values, ddof=1) for values in (FULL, TILED, LOCAL)))
    # upper 5% point of the studentized range of three rows and 6 degrees of freedom: 4.339 (Tukey's table)
    half = 4.339 * pooled / math.sqrt(3)
    for one, values in zip(found, (TILED, LOCAL)):
        mean = fmean(values) - fmean(FULL)
        assert one.ci == pytest.approx([mean - half, mean + half], abs=2e-4)
    assert [one.is_clear for one in found] == [False, True]
    assert found[0].seeds_needed > compare_with_control([TILED, LOCAL], FULL)[0].seeds_needed
    assert compare_with_chosen([TILED], FULL) == [compare_means(TILED, FULL)]


def test_spreads_that_differ():
    assert have_unequal_spread([[0.1, 0.2, 0.3], [0.2, 0.2, 0.2]])
    assert not have_unequal_spread([[0.2, 0.2, 0.2], [0.3, 0.3, 0.3]])
    assert not have_unequal_spread([FULL, TILED, LOCAL])
    assert not have_unequal_spread([[0.1], [0.2]])


def test_one_row_is_compared_in_pairs():
    assert compare_with_control([TILED], FULL) == [compare_means(TILED, FULL)]


def test_rows_without_spread():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = compare_with_control([[0.9, 0.9, 0.9], LOCAL], FULL)
        assert one.ci is not None
        assert other.ci is not None
        one, other = compare_with_control([[0.9, 0.9], [0.8, 0.8]], [0.8, 0.8])
    assert one.constant
    assert one.mean == pytest.approx(0.1)
    assert other.constant
    assert other.mean == 0


def test_differences_without_spread_have_no_interval():
    found = compare_means([0.9, 0.9], [0.8, 0.8])
    assert found.mean == pytest.approx(0.1)
    assert found.ci is None
    assert found.constant
    assert not found.is_clear
    assert compare_means([0.1 + 0.2, 0.5], [0.3, 0.5]).mean == 0, "a difference by rounding is none"


def test_the_seeds_needed_give_a_clear_difference_in_four_of_five_studies():
    mean, spread = 0.02, 0.03
    needed = estimate_seeds(mean, spread, seeds=3)
    power = stats.nct.sf(stats.t.ppf(0.975, needed - 1), needed - 1, mean / spread * math.sqrt(needed))
    assert power == pytest.approx(0.8, abs=0.02)


def test_seeds_needed():
    assert estimate_seeds(0.1, 0.01, 4) is None, "clear already"
    assert estimate_seeds(0.0, 0.01, 4) is None, "never"
    assert estimate_seeds(1e-4, 0.1, 4) is None, "more than 1,000"
    assert estimate_seeds(-0.1, 0.16, 4) == estimate_seeds(0.1, 0.16, 4)
    assert estimate_seeds(0.1, 0.16, 4, 5, rows=6) > estimate_seeds(0.1, 0.16, 4)
    unclear = compare_with_control([TILED, LOCAL], FULL)[0]
    assert 3 < unclear.seeds_needed < 100
    assert compare_means(FULL, TILED).seeds_needed is None


def test_epochs_to_a_target():
    assert find_epoch([0.1, 0.5, 0.4, 0.6], 0.5) == 2
    assert find_epoch([0.1], 0.5) is None
    assert find_epoch([9.0, 4.0, 2.0], 4.0, lower_is_better=True) == 2


def test_targets():
    curves = ([0.5, 0.8], [0.6, 0.9])
    trials = [make_trial("full", i, 0.9, curve_score=curve) for i, curve in enumerate(curves)]
    assert compute_target([trials], ACCURACY) == pytest.approx(0.95 * 0.85)
    curves = ([10.0, 2.0], [12.0, 4.0])
    trials = [make_trial("full", i, 3.0, RMSE, curve_score=curve) for i, curve in enumerate(curves)]
    assert compute_target([trials], RMSE) == pytest.approx(11 - 0.9 * (11 - 3)), "90% of the way from 11 to 3"


def test_means_of_a_row():
    row = make_result({"full": [0.9, 0.7]})["full"]
    assert (row.score, row.accuracy, row.train_accuracy) == pytest.approx((0.8, 0.8, 0.8))
    assert row.accuracy_ci == pytest.approx(compute_interval([0.9, 0.7]))
    assert row.accuracy_shifted == pytest.approx({"1": 0.8, "2": 0.8})
    assert row.class_scores == pytest.approx([0.8, 0.8])
    assert make_result({"full": [3.0, 5.0]}, scale=RMSE)["full"].to_dict()["score"] == 4.0
