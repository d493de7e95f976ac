"""Confidence intervals over seeds: of a mean (Student's t) and of a difference of two means (Welch's t)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev, variance

from scipy.stats import t as student

CONFIDENCE = 0.95


def compute_interval(values: Sequence[float]) -> list[float] | None:
    """Return the 95% confidence interval of the mean by Student's t, or None for fewer than two values.

    >>> [round(end, 3) for end in compute_interval([0.9, 0.8, 1.0])]
    [0.652, 1.148]
    """
    if len(values) < 2:
        return None
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]


@dataclass(frozen=True)
class Difference:
    """The difference of two means over seeds.

    Args:
        mean: The difference.
        ci: Its 95% confidence interval by Welch's t, or None if it cannot be computed.
        constant: Whether there is no interval because neither side varies over its seeds. The true spread is
            then unknown.
    """

    mean: float
    ci: list[float] | None
    constant: bool = False

    @property
    def is_clear(self) -> bool:
        """Return whether there is an interval and it excludes zero."""
        return self.ci is not None and not self.ci[0] <= 0 <= self.ci[1]


def compare_means(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return the mean of `first` minus the mean of `second`, with its confidence interval."""
    mean = fmean(first) - fmean(second)
    if min(len(first), len(second)) < 2:
        return Difference(mean, None)
    a, b = variance(first) / len(first), variance(second) / len(second)
    if a + b == 0:
        return Difference(mean, None, constant=True)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(a + b)
    return Difference(mean, [mean - half, mean + half])
