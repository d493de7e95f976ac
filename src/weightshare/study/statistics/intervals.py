"""Confidence intervals over seeds, computed by scipy.

Rows share their seeds, and so their initial conditions and data order. Two rows are therefore compared in
pairs, seed by seed. Several rows are compared with one by simultaneous intervals: Dunnett's, or Tukey's if
that one was chosen for its results.
"""

import inspect
import warnings
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: Probability with which a difference as large as the measured one becomes clear with `seeds_needed` seeds.
POWER = 0.8
#: Largest number of seeds that is given as needed.
MOST_SEEDS = 1000
#: Spread relative to the values up to which values are the same; only rounding makes them differ.
_ROUNDING = 1e-12
#: The argument of `dunnett` for a random generator, which was renamed in scipy 1.15.
_GENERATOR = "rng" if "rng" in inspect.signature(stats.dunnett).parameters else "random_state"


def compute_interval(values: Sequence[float]) -> list[float] | None:
    """Return the 95% confidence interval of the mean by Student's t.

    There is none for fewer than two values, nor for equal ones, whose spread is unknown.

    >>> [round(end, 3) for end in compute_interval([0.9, 0.8, 1.0])]
    [0.652, 1.148]
    """
    if len(values) < 2 or _are_equal(values, values):
        return None
    interval = stats.ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return [float(interval.low), float(interval.high)]


@dataclass(frozen=True)
class Difference:
    """The difference of two means over seeds.

    Args:
        mean: The difference.
        ci: Its 95% confidence interval, or None if it cannot be computed.
        constant: Whether there is no interval because the difference is the same with every seed. The true
            spread is then unknown.
        seeds_needed: Number of seeds with which the interval would probably exclude zero; None if it does
            already, if there is no interval, or if more than 1,000 seeds are needed.
    """

    mean: float
    ci: list[float] | None
    constant: bool = False
    seeds_needed: int | None = None

    @property
    def is_clear(self) -> bool:
        """Return whether there is an interval and it excludes zero."""
        return self.ci is not None and not self.ci[0] <= 0 <= self.ci[1]


def compare_means(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return the mean of `first` minus the mean of `second`, with the interval of the paired t-test.

    Args:
        first, second: Values with the same seeds, in the same order.
    """
    mean = fmean(first) - fmean(second)
    if len(first) != len(second) or len(first) < 2:
        return Difference(mean, None)
    differences = [a - b for a, b in zip(first, second)]
    scale = (*first, *second)
    if _are_equal(differences, scale):
        return Difference(0.0 if _are_equal((mean, 0.0), scale) else mean, None, constant=True)
    interval = stats.ttest_rel(first, second).confidence_interval(CONFIDENCE)
    needed = estimate_seeds(mean, stdev(differences), len(first))
    return Difference(mean, [float(interval.low), float(interval.high)], seeds_needed=needed)


def compare_with_control(rows: Sequence[Sequence[float]], control: Sequence[float]) -> list[Difference]:
    """Return the difference of each row from the control, with Dunnett's simultaneous intervals.

    All intervals together contain the true differences with a probability of 95%. With one row, the
    difference is compared in pairs. Dunnett's intervals assume the same spread in all rows.

    Args:
        rows: Values of each row, with the same seeds as the control.
        control: Values of the row with which the others are compared.
    """
    return _compare_simultaneously(rows, control, _compute_dunnett, len(rows))


def compare_with_chosen(rows: Sequence[Sequence[float]], chosen: Sequence[float]) -> list[Difference]:
    """Return the difference of each row from one that was chosen for its results, such as the best one.

    The choice favors large differences, and so the intervals are those of Tukey, which hold for all pairs of
    rows together. Otherwise like `compare_with_control`.
    """
    return _compare_simultaneously(rows, chosen, _compute_tukey, len(rows) * (len(rows) + 1) // 2)


_Interval = tuple[np.ndarray, np.ndarray]


def _compare_simultaneously(
    rows: Sequence[Sequence[float]],
    control: Sequence[float],
    compute: Callable[[list[np.ndarray], np.ndarray], _Interval],
    comparisons: int,
) -> list[Difference]:
    plain = [compare_means(row, control) for row in rows]
    everything = (control, *rows)
    if len(rows) < 2 or len(control) < 2 or all(_are_equal(values, values) for values in everything):
        return plain
    with warnings.catch_warnings():  # rows without spread are fine
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = compute([np.asarray(row) for row in rows], np.asarray(control))
    spread = (2 * fmean(stdev(values) ** 2 for values in everything)) ** 0.5
    return [
        Difference(
            one.mean,
            [float(low), float(high)],
            seeds_needed=None
            if low > 0 or high < 0
            else estimate_seeds(one.mean, spread, len(control), comparisons, len(everything)),
        )
        for one, low, high in zip(plain, *interval)
    ]


def _compute_dunnett(rows: list[np.ndarray], control: np.ndarray) -> _Interval:
    generator: dict[str, Any] = {
        _GENERATOR: np.random.default_rng(0)
    }  # the quantile is found by a random integration
    interval = stats.dunnett(*rows, control=control, **generator).confidence_interval(CONFIDENCE)
    return interval.low, interval.high


def _compute_tukey(rows: list[np.ndarray], control: np.ndarray) -> _Interval:
    interval = stats.tukey_hsd(*rows, control).confidence_interval(CONFIDENCE)
    return interval.low[:-1, -1], interval.high[:-1, -1]


def have_unequal_spread(rows: Sequence[Sequence[float]]) -> bool:
    """Return whether the spread clearly differs between rows, by Bartlett's test at the 5% level.

    >>> have_unequal_spread([[0.1, 0.2, 0.3], [0.11, 0.21, 0.29], [0.2001, 0.2002, 0.2003]])
    True
    """
    if any(len(values) < 2 for values in rows) or all(_are_equal(values, values) for values in rows):
        return False
    with np.errstate(divide="ignore", invalid="ignore"):  # a row without spread
        return bool(stats.bartlett(*rows).pvalue < 1 - CONFIDENCE)


def estimate_seeds(mean: float, spread: float, seeds: int, comparisons: int = 1, rows: int = 1) -> int | None:
    """Return with how many seeds the interval of a difference would exclude zero, with a probability of 80%.

    The estimate assumes that the mean and the spread are the true ones.

    Args:
        mean: Mean difference.
        spread: Standard deviation of the difference with one seed.
        seeds: Number of seeds so far.
        comparisons: Number of simultaneous comparisons. Several need Bonferroni's quantile, which is a little
            above those of Dunnett and Tukey.
        rows: Number of rows from which the spread is estimated; 1 for the differences of a pair.

    Returns:
        A number above `seeds`. None if the interval excludes zero already, or if more than 1,000 are needed.

    >>> estimate_seeds(0.1, 0.16, 4), estimate_seeds(0.1, 0.16, 4, 3, rows=4), estimate_seeds(0.1, 0.01, 4)
    (23, 28, None)
    """

    def is_probable(number: int, power: float) -> bool:
        freedom = rows * (number - 1)
        level = (1 - CONFIDENCE) / comparisons
        quantile = stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(power, freedom)
        return bool(quantile * spread / number**0.5 < abs(mean))

    if is_probable(seeds, power=0.5):  # the interval itself
        return None
    numbers = range(seeds + 1, MOST_SEEDS + 1)
    needed = seeds + 1 + bisect_left(numbers, True, key=lambda number: is_probable(number, POWER))
    return needed if needed <= MOST_SEEDS else None


def _are_equal(values: Sequence[float], scale: Sequence[float]) -> bool:
    """Return whether values differ by no more than rounding, relative to the largest value in `scale`."""
    return bool(np.ptp(values) <= _ROUNDING * np.abs(scale).max())
