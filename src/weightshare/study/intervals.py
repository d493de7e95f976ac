"""Confidence intervals over seeds, computed by scipy.

Rows share their seeds, and so their initial conditions and data order. Two rows are therefore compared in
pairs, seed by seed, and several rows with one by Dunnett's simultaneous intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def compute_interval(values: Sequence[float]) -> list[float] | None:
    """Return the 95% confidence interval of the mean by Student's t.

    There is none for fewer than two values, nor for equal ones, whose spread is unknown.

    >>> [round(end, 3) for end in compute_interval([0.9, 0.8, 1.0])]
    [0.652, 1.148]
    """
    if len(values) < 2 or len(set(values)) == 1:
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
            already, or if that cannot be estimated.
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
    if np.ptp(differences) < 1e-12:
        return Difference(mean, None, constant=True)
    interval = stats.ttest_rel(first, second).confidence_interval(CONFIDENCE)
    ci = [float(interval.low), float(interval.high)]
    return Difference(mean, ci, seeds_needed=estimate_seeds(differences))


def compare_with_control(rows: Sequence[Sequence[float]], control: Sequence[float]) -> list[Difference]:
    """Return the difference of each row from the control, with Dunnett's simultaneous intervals.

    All intervals together contain the true differences with a probability of 95%. With one row, the
    difference is compared in pairs.
    """
    if len(rows) == 1:
        return [compare_means(rows[0], control)]
    plain = [compare_means(row, control) for row in rows]
    if len(control) < 2 or all(len(set(values)) == 1 for values in (control, *rows)):
        return plain
    test = stats.dunnett(*map(np.asarray, rows), control=np.asarray(control), random_state=0)
    interval = test.confidence_interval(CONFIDENCE)
    return [
        Difference(one.mean, [float(low), float(high)], seeds_needed=one.seeds_needed)
        for one, low, high in zip(plain, interval.low, interval.high)
    ]


def estimate_seeds(differences: Sequence[float]) -> int | None:
    """Return with how many seeds the interval of the mean would probably exclude zero.

    This is the number at which the half-width, with the same spread, is the size of the mean; None if that
    is the case already or the mean is zero.

    >>> estimate_seeds([0.1, 0.3, -0.1, 0.1])
    12
    """
    mean, spread, seeds = abs(fmean(differences)), stdev(differences), len(differences)
    if mean == 0:
        return None
    needed = max(2, ceil((1.96 * spread / mean) ** 2))
    while needed < 10**6 and stats.t.ppf(0.975, needed - 1) * spread / needed**0.5 >= mean:
        needed += max(1, needed // 20)
    return needed if seeds < needed < 10**6 else None
