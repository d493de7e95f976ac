"""From trials to one summary a row: means, and 95 % intervals by Student's t over the seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import fmean, stdev, variance
from typing import Any

from scipy.stats import t as student

from .rows import Row
from .trials import Trial

CONFIDENCE = 0.95
TARGET = 0.95


@dataclass(frozen=True)
class RowSummary:
    """What a row reached over all its seeds. Accuracies are fractions of 1, intervals [low, high].

    An interval says how much the mean may differ with other seeds (initial weights and order of the images),
    not with other images; with one seed it is None.

    Args:
        sharing: Name of the row.
        layer_sharing: The sharing of its convolutions.
        width: Channels of its convolutions.
        matches: The sharings that it has as many parameters as; empty for a row that was asked for.
        parameters, macs: Trained numbers; multiply-adds for one image.
        seeds: Trials that the row is the mean of.
        accuracy, accuracy_ci: On test images.
        train_accuracy, validation_accuracy: On the images trained on, and on those held out of them.
        gap, gap_ci: Training minus test accuracy.
        accuracy_shifted, accuracy_shifted_ci: On test images shifted by so many pixels.
        epochs: Mean passes over the training images.
        epochs_to_target: Mean passes until the validation accuracy reached the study's target, over the
            trials that reached it; None where none did.
        reached_target, hit_cap: How many trials reached the target; how many the cap on epochs ended.
        train_seconds: Mean time of a training.
    """

    sharing: str
    layer_sharing: str
    width: int
    matches: tuple[str, ...]
    parameters: int
    macs: int
    seeds: int
    accuracy: float
    accuracy_ci: list[float] | None
    train_accuracy: float
    validation_accuracy: float
    gap: float
    gap_ci: list[float] | None
    accuracy_shifted: dict[str, float]
    accuracy_shifted_ci: dict[str, list[float] | None]
    epochs: float
    epochs_to_target: float | None
    reached_target: int
    hit_cap: int
    train_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def summarise(rows: Sequence[Row], trials: Sequence[Trial]) -> tuple[float, list[RowSummary]]:
    """The target accuracy, and one summary for every row that has trials."""
    of_row = {row.name: [trial for trial in trials if trial.sharing == row.name] for row in rows}
    target = target_accuracy(list(of_row.values()))
    return target, [_summary(row, of_row[row.name], target) for row in rows if of_row[row.name]]


def target_accuracy(groups: Sequence[Sequence[Trial]]) -> float:
    """95 % of the best validation accuracy that any row reaches (the mean over its seeds)."""
    return TARGET * max(fmean(max(t.curve_accuracy) for t in group) for group in groups if group)


def epochs_to(curve: Sequence[float], target: float) -> int | None:
    """The first epoch, counted from 1, at which a learning curve reaches the target.

    >>> epochs_to([0.2, 0.9, 0.8], 0.85)
    2
    """
    return next((epoch for epoch, accuracy in enumerate(curve, 1) if accuracy >= target), None)


def interval(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean by Student's t; None for fewer than two values.

    >>> [round(end, 3) for end in interval([0.9, 0.8, 1.0])]
    [0.652, 1.148]
    """
    if len(values) < 2:
        return None
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]


@dataclass(frozen=True)
class Difference:
    """Mean of `ours` minus mean of `theirs`.

    Args:
        mean: The difference.
        ci: Its 95 % interval by Welch's t; None where seeds give none.
        fixed: Whether there is no interval because every seed gave one value on our side and one on theirs:
            the two values differ by `mean`, and how far other seeds would move them is unknown.
    """

    mean: float
    ci: list[float] | None
    fixed: bool = False

    @property
    def clear(self) -> bool:
        """Whether there is an interval and it leaves out zero."""
        return self.ci is not None and not self.ci[0] <= 0 <= self.ci[1]


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """The difference of two means over seeds."""
    mean = fmean(ours) - fmean(theirs)
    if min(len(ours), len(theirs)) < 2:
        return Difference(mean, None)
    a, b = variance(ours) / len(ours), variance(theirs) / len(theirs)
    if a + b == 0:
        return Difference(mean, None, fixed=True)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(a + b)
    return Difference(mean, [mean - half, mean + half])


def comparisons(rows: Sequence[RowSummary]) -> int:
    """About how many differences the findings look at.

    Accuracy, shift, gap and speed against full sharing, accuracy and speed against the wider full networks,
    and every row against the best.
    """
    asked = [row for row in rows if not row.matches]
    pairs = sum(len(row.matches) for row in rows)
    against_full = len(asked) - 1 if any(row.layer_sharing == "full" for row in asked) else 0
    return 4 * against_full + 2 * pairs + len(rows) - 1


def _summary(row: Row, trials: Sequence[Trial], target: float) -> RowSummary:
    shifts = list(trials[0].accuracy_shifted)
    by_shift = {pixels: [t.accuracy_shifted[pixels] for t in trials] for pixels in shifts}
    gaps = [t.train_accuracy - t.accuracy for t in trials]
    reached = [epoch for t in trials if (epoch := epochs_to(t.curve_accuracy, target)) is not None]
    return RowSummary(
        sharing=row.name,
        layer_sharing=str(row.sharing),
        width=row.width,
        matches=row.matches,
        parameters=row.parameters,
        macs=row.macs,
        seeds=len(trials),
        accuracy=fmean(t.accuracy for t in trials),
        accuracy_ci=interval([t.accuracy for t in trials]),
        train_accuracy=fmean(t.train_accuracy for t in trials),
        validation_accuracy=fmean(t.validation_accuracy for t in trials),
        gap=fmean(gaps),
        gap_ci=interval(gaps),
        accuracy_shifted={pixels: fmean(values) for pixels, values in by_shift.items()},
        accuracy_shifted_ci={pixels: interval(values) for pixels, values in by_shift.items()},
        epochs=fmean(t.epochs for t in trials),
        epochs_to_target=fmean(reached) if reached else None,
        reached_target=len(reached),
        hit_cap=sum(t.hit_cap for t in trials),
        train_seconds=fmean(t.train_seconds for t in trials),
    )
