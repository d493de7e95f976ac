"""The summary of each row: means and 95% confidence intervals over its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from .rows import Row
from .statistics.intervals import compute_interval
from .statistics.scale import Scale
from .statistics.scores import Scored
from .trials.trial import Trial

#: The earlier name of `compute_interval`.
interval = compute_interval
#: Fraction of the best row's validation score that is the target of a fraction, such as the accuracy.
TARGET = 0.95
#: The same for other metrics: share of the way from the first epoch's score to the best one.
PROGRESS = 0.9


@dataclass(frozen=True)
class RowFacts:
    """What is known about a row before it is trained. It is stored with each record.

    Args:
        sharing: Name of the row.
        layer_sharing: Sharing of its convolutions.
        width: Output channels of its convolutions.
        matches: Sharings that a size-matched row is matched to; empty for a requested sharing.
        question, setting: Option whose question the row answers, and its value; empty in the main table.
        parameters, macs: Number of parameters, and multiply-accumulates per example.
    """

    sharing: str
    layer_sharing: str
    width: int
    matches: tuple[str, ...]
    question: str
    setting: str
    parameters: int
    macs: int

    @classmethod
    def from_row(cls, row: Row) -> "RowFacts":
        """Return the facts about a row."""
        return cls(
            row.name,
            str(row.sharing),
            row.width,
            row.matches,
            row.question,
            row.setting,
            row.parameters,
            row.macs,
        )


@dataclass(frozen=True)
class RowSummary(Scored):
    """The results of a row over all its seeds. Scores are values of the metric; intervals are [low, high].

    An interval shows how far the mean may vary with other seeds (initial weights and order of the examples),
    not with other examples. With one seed, or the same value for all seeds, it is None.

    If the metric is the accuracy, every score is also available as "accuracy", such as `accuracy_ci`.

    Args:
        sharing: Name of the row.
        layer_sharing: Sharing of its convolutions.
        width: Output channels of its convolutions.
        matches: Sharings that a size-matched row is matched to; empty for a requested sharing.
        question, setting: Option whose question the row answers, and its value; empty in the main table.
        metric: Name of the metric.
        parameters, macs: Number of parameters, and multiply-accumulates per example.
        seeds: Number of trials.
        start_score: Mean score of the trained network on the test set before it was trained further; None for
            new weights.
        score, score_ci: Score on the test set.
        train_score, validation_score: Score on the training set and the validation set.
        gap, gap_ci: Training score minus test score.
        score_shifted, score_shifted_ci: Score on shifted test inputs, by shift.
        class_scores: Share of the test examples of each class that are classified correctly.
        epochs: Mean number of epochs.
        epochs_to_target: Mean number of epochs until the validation score reached the target, over the
            trials that reached it; None if no trial did.
        reached_target, hit_cap: Number of trials that reached the target, and number that stopped at the
            epoch limit.
        train_seconds: Mean time of a training run.
    """

    sharing: str
    layer_sharing: str
    width: int
    matches: tuple[str, ...]
    question: str
    setting: str
    metric: str
    parameters: int
    macs: int
    seeds: int
    start_score: float | None
    score: float
    score_ci: list[float] | None
    train_score: float
    validation_score: float
    gap: float
    gap_ci: list[float] | None
    score_shifted: dict[str, float]
    score_shifted_ci: dict[str, list[float] | None]
    class_scores: list[float]
    epochs: float
    epochs_to_target: float | None
    reached_target: int
    hit_cap: int
    train_seconds: float

    @property
    def base(self) -> str:
        """Name of the row without the setting of a further question."""
        return self.sharing.removesuffix(f" [{self.setting}]") if self.question else self.sharing


def summarize(
    scale: Scale, rows: Sequence[RowFacts], trials: Sequence[Trial]
) -> tuple[float, list[RowSummary]]:
    """Return the target score, and one summary for each row that has trials."""
    by_row = {row.sharing: [trial for trial in trials if trial.sharing == row.sharing] for row in rows}
    main = [by_row[row.sharing] for row in rows if not row.question]
    target = compute_target([group for group in main if group] or [list(trials)], scale)
    return target, [
        _summarize_row(row, by_row[row.sharing], target, scale) for row in rows if by_row[row.sharing]
    ]


def compute_target(groups: Sequence[Sequence[Trial]], scale: Scale) -> float:
    """Return 95% of the best row's validation score; if the metric is not a fraction, 90% of the way to it.

    The score of a row is the mean over its trials, each at its best epoch. The way begins at the mean score
    after the first epoch.
    """
    best = scale.choose_best(fmean(scale.choose_best(t.curve_score) for t in group) for group in groups)
    if scale.is_fraction and not scale.lower_is_better:
        return TARGET * best
    first = fmean(t.curve_score[0] for group in groups for t in group)
    return first + PROGRESS * (best - first)


def find_epoch(curve: Sequence[float], target: float, lower_is_better: bool = False) -> int | None:
    """Return the first epoch, counted from 1, at which a learning curve reaches the target.

    >>> find_epoch([0.2, 0.9, 0.8], 0.85)
    2
    """
    sign = -1 if lower_is_better else 1
    return next((epoch for epoch, score in enumerate(curve, 1) if sign * score >= sign * target), None)


def _summarize_row(row: RowFacts, trials: Sequence[Trial], target: float, scale: Scale) -> RowSummary:
    shifts = list(trials[0].score_shifted)
    by_shift = {pixels: [t.score_shifted[pixels] for t in trials] for pixels in shifts}
    gaps = [t.train_score - t.score for t in trials]
    found = [find_epoch(t.curve_score, target, scale.lower_is_better) for t in trials]
    starts = [t.start_score for t in trials if t.start_score is not None]
    reached = [epoch for epoch in found if epoch is not None]
    return RowSummary(
        **vars(row),
        metric=scale.name,
        seeds=len(trials),
        start_score=fmean(starts) if starts else None,
        score=fmean(t.score for t in trials),
        score_ci=compute_interval([t.score for t in trials]),
        train_score=fmean(t.train_score for t in trials),
        validation_score=fmean(t.validation_score for t in trials),
        gap=fmean(gaps),
        gap_ci=compute_interval(gaps),
        score_shifted={pixels: fmean(values) for pixels, values in by_shift.items()},
        score_shifted_ci={pixels: compute_interval(values) for pixels, values in by_shift.items()},
        class_scores=[fmean(shares) for shares in zip(*(t.class_scores for t in trials))],
        epochs=fmean(t.epochs for t in trials),
        epochs_to_target=fmean(reached) if reached else None,
        reached_target=len(reached),
        hit_cap=sum(t.hit_cap for t in trials),
        train_seconds=fmean(t.train_seconds for t in trials),
    )
