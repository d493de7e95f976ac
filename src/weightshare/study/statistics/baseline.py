"""How good a network is that ignores its input: the least that a study must beat to show anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy import stats

from ..data import DataFacts
from ..summary import RowSummary

#: Probability with which a study that learned nothing may look better than the most frequent class.
LEVEL = 0.05


@dataclass(frozen=True)
class Baseline:
    """The accuracy of the most frequent class, and how the best row compares with it.

    Args:
        majority: Share of the test set that has the most frequent class.
        chance: Accuracy of guessing each class equally often, which is also the balanced accuracy of always
            giving the same answer.
        balanced: Balanced accuracy of the best row: the mean over the classes of the test set. None if it is
            unknown, because the targets are classes at each position.
        is_beaten: Whether a row is clearly more accurate than the most frequent class, by a one-sided
            binomial test of the mean number of correct test examples.
    """

    majority: float
    chance: float
    balanced: float | None
    is_beaten: bool


def find_baseline(data: DataFacts, rows: Sequence[RowSummary]) -> Baseline | None:
    """Return the baseline of a study; None if its targets are not classes or its accuracy is unknown."""
    accuracies = [get_accuracy(data, row) for row in rows]
    best = max((accuracy for accuracy in accuracies if accuracy is not None), default=None)
    if data.majority is None or best is None:
        return None
    test = stats.binomtest(round(best * data.test), data.test, data.majority, alternative="greater")
    balanced = [get_balanced_accuracy(data, row) for row in rows] if data.test_counts else None
    classes = sum(count > 0 for count in data.test_counts) or data.outputs
    return Baseline(
        data.majority, 1 / classes, max(balanced) if balanced else None, bool(test.pvalue < LEVEL / len(rows))
    )


def get_accuracy(data: DataFacts, row: RowSummary) -> float | None:
    """Return the accuracy of a row, whatever its metric is; None if it is unknown."""
    if data.test_counts:
        correct = sum(share * count for share, count in zip(row.class_scores, data.test_counts))
        return correct / sum(data.test_counts)
    return row.score if row.metric == "accuracy" else None


def get_balanced_accuracy(data: DataFacts, row: RowSummary) -> float:
    """Return the mean accuracy over the classes that occur in the test set."""
    return fmean(share for share, count in zip(row.class_scores, data.test_counts) if count)
