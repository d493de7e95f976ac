"""Numbers measured in each trial, and the differences between rows in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..statistics.intervals import (
    MOST_SEEDS,
    Difference,
    compare_means,
    compare_with_chosen,
    compare_with_control,
)
from ..statistics.outcome import Outcome
from ..statistics.scale import Scale
from ..summary import RowSummary, find_epoch
from ..trials.trial import Trial
from . import words

Pair = tuple[RowSummary, RowSummary]


@dataclass(frozen=True)
class Measure:
    """A number measured in each trial, with the sentences that report it.

    Args:
        value: Function that returns the number for a trial.
        name: Name of the number in sentences.
        format: Function that returns a value as text.
        format_difference: Function that returns a difference of values as text.
        more, less: Sentences for a difference, with placeholders {row}, {value}, {other} and {name}.
    """

    value: Callable[[Trial], float]
    name: str
    format: Callable[[float], str]
    format_difference: Callable[[float], str]
    more: str = "{row} is {value} above {other} in {name}"
    less: str = "{row} is {value} below {other} in {name}"


def measure_score(scale: Scale) -> Measure:
    """Return the score on the test set."""
    return Measure(lambda t: t.score, f"test {scale.label}", scale.format, scale.format_difference)


def measure_shifted(scale: Scale, amount: str, shift: str) -> Measure:
    """Return the score on test inputs that are shifted by this amount, which is called `shift`."""
    name = f"{scale.label} on test examples shifted by {shift}"
    return Measure(lambda t: t.score_shifted[amount], name, scale.format, scale.format_difference)


def measure_gap(scale: Scale) -> Measure:
    """Return how much better the score is on the training set than on the test set."""
    name = f"the gap between training and test {scale.label}"
    return Measure(lambda t: find_gap(scale, t), name, scale.format_difference, scale.format_difference)


def find_gap(scale: Scale, scored: Trial | RowSummary) -> float:
    """Return how much better the score is on the training set than on the test set."""
    return scale.sign * (scored.train_score - scored.score)


def measure_epochs(scale: Scale, target: float) -> Measure:
    """Return the number of epochs to the target; 0 for a trial that did not reach it."""
    return Measure(
        lambda t: find_epoch(t.curve_score, target, scale.lower_is_better) or 0,
        "the number of epochs to target",
        "{:.1f}".format,
        "{:.1f}".format,
        more="{row} needs {value} more epochs than {other}",
        less="{row} needs {value} fewer epochs than {other}",
    )


@dataclass(frozen=True)
class Comparison:
    """The difference of a row from another one in a measure.

    Args:
        row, other: The rows.
        difference: The difference of their means.
        values: The means of both rows.
    """

    row: RowSummary
    other: RowSummary
    difference: Difference
    values: tuple[float, float]

    @property
    def names(self) -> tuple[str, str]:
        """Names of both rows, without a setting that they share."""
        if self.row.setting == self.other.setting:
            return get_name(self.row), get_name(self.other)
        return _get_full_name(self.row), _get_full_name(self.other)

    @property
    def pair(self) -> str:
        """Names of both rows in one text."""
        return " vs. ".join(self.names)


def compare_pairs(result: Outcome, pairs: Sequence[Pair], measure: Measure) -> list[Comparison]:
    """Compare the rows of each pair, seed by seed."""
    comparisons: list[Comparison] = []
    for pair in pairs:
        if groups := collect_values(result, pair, measure):
            first, second = groups
            difference = compare_means(first, second)
            comparisons.append(Comparison(*pair, difference, (_mean(first), _mean(second))))
    return comparisons


def compare_with(
    result: Outcome,
    rows: Sequence[RowSummary],
    control: RowSummary,
    measure: Measure,
    *,
    is_chosen: bool = False,
) -> list[Comparison]:
    """Compare several rows with one, by simultaneous intervals.

    Args:
        is_chosen: Whether the one was chosen for its values of the measure.
    """
    compare = compare_with_chosen if is_chosen else compare_with_control
    groups = collect_values(result, (control, *rows), measure)
    if not groups:
        return []
    first, *others = groups
    return [
        Comparison(row, control, difference, (_mean(values), _mean(first)))
        for row, values, difference in zip(rows, others, compare(others, first))
    ]


def collect_values(result: Outcome, rows: Sequence[RowSummary], measure: Measure) -> list[list[float]]:
    """Return the values of each row with the seeds that all of them have; empty if there is no such seed."""
    groups = [{trial.seed: trial for trial in result.by_row[row.sharing]} for row in rows]
    seeds = sorted(set(groups[0]).intersection(*groups))
    return [[measure.value(group[seed]) for seed in seeds] for group in groups] if seeds else []


def describe(comparisons: Sequence[Comparison], measure: Measure, has_seeds: bool) -> list[str]:
    """Return one sentence per clear difference, and one for all others.

    Args:
        has_seeds: Whether there are several seeds.
    """
    answers: list[str] = []
    unclear: list[str] = []
    same: list[str] = []
    for one in comparisons:
        difference = one.difference
        if difference.constant and difference.mean:
            answers.append(describe_constant(one, measure))
        elif difference.constant:
            same.append(one.pair)
        elif difference.ci is None or not difference.is_clear:
            unclear.append(f"{one.pair} ({describe_needed(difference)})")
        else:
            low, high = (measure.format_difference(end) for end in sorted(map(abs, difference.ci)))
            sentence = measure.more if difference.mean > 0 else measure.less
            value = measure.format_difference(abs(difference.mean))
            row, other = one.names
            text = sentence.format(row=row, value=value, other=other, name=measure.name)
            answers.append(f"{text} (95% CI {low.removesuffix(' points')} to {high}).")
    if unclear and has_seeds:
        answers.append(f"No clear difference in {measure.name}: {words.join(unclear)}.")
    if same:
        answers.append(f"No difference in {measure.name} with any seed: {words.join(same)}.")
    return answers


def describe_constant(one: Comparison, measure: Measure) -> str:
    """Return both values of a difference that has no interval, since it is the same with every seed."""
    row, other = (f"{name} (mean {measure.format(value)})" for name, value in zip(one.names, one.values))
    return (
        f"With every seed, {measure.name} differs by the same amount between {row} and {other}, so this "
        "difference has no confidence interval."
    )


def describe_needed(difference: Difference) -> str:
    """Return how many seeds would probably make a difference clear, or why that is unknown."""
    if difference.constant:
        return "the same difference with every seed" if difference.mean else "no difference with any seed"
    if difference.ci is None:
        return "one seed"
    number = difference.seeds_needed
    return f"{f'more than {MOST_SEEDS:,}' if number is None else f'about {number}'} seeds needed"


def get_name(row: RowSummary) -> str:
    """Return the name of a row in sentences, without its setting."""
    return f"full at width {row.width}" if row.matches else row.base


def find_full(result: Outcome) -> tuple[RowSummary | None, list[RowSummary]]:
    """Return the row with full sharing, if there is one, and the other requested rows."""
    rows = [row for row in result.summary if not row.matches]
    full = next((row for row in rows if row.layer_sharing == "full"), None)
    return full, [row for row in rows if row is not full]


def match_sizes(result: Outcome) -> list[Pair]:
    """Return each partly shared row with its size-matched row."""
    matched = {name: row for row in result.summary for name in row.matches}
    return [(row, matched[row.sharing]) for row in result.summary if row.sharing in matched]


def _get_full_name(row: RowSummary) -> str:
    return f"{get_name(row)} [{row.setting}]" if row.question else get_name(row)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
