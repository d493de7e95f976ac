"""The summary of each row: means and 95% confidence intervals over its trials."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from .intervals import compute_interval
from .rows import Row
from .trials import Trial

TARGET = 0.95  # fraction of the best row's validation accuracy


@dataclass(frozen=True)
class RowSummary:
    """The results of a row over all its seeds. Accuracies are fractions; intervals are [low, high].

    An interval shows how far the mean may vary with other seeds (initial weights and order of the images),
    not with other images. With one seed it is None.

    Args:
        sharing: Name of the row.
        layer_sharing: Sharing of its convolutions.
        width: Output channels of its convolutions.
        matches: Sharings that a size-matched row is matched to; empty for a requested sharing.
        parameters, macs: Number of parameters, and multiply-accumulates per image.
        seeds: Number of trials.
        accuracy, accuracy_ci: Accuracy on the test set.
        train_accuracy, validation_accuracy: Accuracy on the training set and the validation set.
        gap, gap_ci: Training accuracy minus test accuracy.
        accuracy_shifted, accuracy_shifted_ci: Accuracy on shifted test images, by shift in pixels.
        epochs: Mean number of epochs.
        epochs_to_target: Mean number of epochs until the validation accuracy reached the target, over the
            trials that reached it; None if no trial did.
        reached_target, hit_cap: Number of trials that reached the target, and number that stopped at the
            epoch limit.
        train_seconds: Mean time of a training run.
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
        """Return the summary as JSON values."""
        return asdict(self)


def summarize(rows: Sequence[Row], trials: Sequence[Trial]) -> tuple[float, list[RowSummary]]:
    """Return the target accuracy, and one summary for each row that has trials."""
    by_row = {row.name: [trial for trial in trials if trial.sharing == row.name] for row in rows}
    target = compute_target(list(by_row.values()))
    return target, [_summarize_row(row, by_row[row.name], target) for row in rows if by_row[row.name]]


def compute_target(groups: Sequence[Sequence[Trial]]) -> float:
    """Return 95% of the best row's validation accuracy.

    The accuracy of a row is the mean over its trials, each at its best epoch.
    """
    return TARGET * max(fmean(max(t.curve_accuracy) for t in group) for group in groups if group)


def find_epoch(curve: Sequence[float], target: float) -> int | None:
    """Return the first epoch, counted from 1, at which a learning curve reaches the target.

    >>> find_epoch([0.2, 0.9, 0.8], 0.85)
    2
    """
    return next((epoch for epoch, accuracy in enumerate(curve, 1) if accuracy >= target), None)


def _summarize_row(row: Row, trials: Sequence[Trial], target: float) -> RowSummary:
    shifts = list(trials[0].accuracy_shifted)
    by_shift = {pixels: [t.accuracy_shifted[pixels] for t in trials] for pixels in shifts}
    gaps = [t.train_accuracy - t.accuracy for t in trials]
    reached = [epoch for t in trials if (epoch := find_epoch(t.curve_accuracy, target)) is not None]
    return RowSummary(
        sharing=row.name,
        layer_sharing=str(row.sharing),
        width=row.width,
        matches=row.matches,
        parameters=row.parameters,
        macs=row.macs,
        seeds=len(trials),
        accuracy=fmean(t.accuracy for t in trials),
        accuracy_ci=compute_interval([t.accuracy for t in trials]),
        train_accuracy=fmean(t.train_accuracy for t in trials),
        validation_accuracy=fmean(t.validation_accuracy for t in trials),
        gap=fmean(gaps),
        gap_ci=compute_interval(gaps),
        accuracy_shifted={pixels: fmean(values) for pixels, values in by_shift.items()},
        accuracy_shifted_ci={pixels: compute_interval(values) for pixels, values in by_shift.items()},
        epochs=fmean(t.epochs for t in trials),
        epochs_to_target=fmean(reached) if reached else None,
        reached_target=len(reached),
        hit_cap=sum(t.hit_cap for t in trials),
        train_seconds=fmean(t.train_seconds for t in trials),
    )
