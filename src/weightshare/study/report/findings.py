"""Findings of a study: the questions that it can answer, with an answer in sentences.

A difference is called clear only if its 95% confidence interval over the seeds excludes zero. If neither side
varies over its seeds, there is no interval: both values are reported, and nothing is called clear or unclear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...views.numbers import abbreviate, format_percent, format_ratio
from ..intervals import Difference, compare_means
from ..result import StudyResult
from ..summary import RowSummary, find_epoch
from ..trials import Trial

Pair = tuple[RowSummary, RowSummary]


@dataclass(frozen=True)
class Measure:
    """A number measured in each trial, with the sentences that report it.

    Args:
        value: Function that returns the number for a trial.
        name: Name of the number in sentences.
        more, less: Sentences for a difference, with placeholders {row}, {value}, {other} and {name}.
        unit: Text after a single value.
        scale: Factor from the number to its unit.
    """

    value: Callable[[Trial], float]
    name: str
    more: str = "{row} is {value} points above {other} in {name}"
    less: str = "{row} is {value} points below {other} in {name}"
    unit: str = "%"
    scale: float = 100

    def format(self, value: float) -> str:
        """Return a value as text, without the unit."""
        return f"{self.scale * value:.1f}"


ACCURACY = Measure(lambda trial: trial.score, "test accuracy")
GAP = Measure(
    lambda trial: trial.train_score - trial.score,
    "the gap between training and test accuracy",
    unit=" points",
)


@dataclass(frozen=True)
class Finding:
    """A question, and the answers of this study."""

    question: str
    answers: tuple[str, ...]


def collect_findings(result: StudyResult) -> list[Finding]:
    """Return the findings for each question that this study can answer."""
    rows = [row for row in result.summary if not row.matches]
    full = next((row for row in rows if row.layer_sharing == "full"), None)
    others = [row for row in rows if row is not full]
    answers = [
        ("Which network is most accurate?", _rank(result)),
        ("Does sharing improve accuracy?", _compare_accuracy(result, full, others) if full else []),
        ("Is it the sharing or the size?", _compare_at_equal_size(result)),
        ("Does sharing reduce overfitting?", _compare_gaps(result, full, others) if full else []),
        ("What if test images are shifted?", _compare_shifts(result, full, others) if full else []),
        ("What does it cost?", _compare_costs(full, others) if full else []),
        ("Does sharing speed up training?", _compare_speed(result, full, others)),
    ]
    return [Finding(question, tuple(sentences)) for question, sentences in answers if sentences]


def _rank(result: StudyResult) -> list[str]:
    """Name the most accurate row, and the rows that are not clearly less accurate."""
    ranked = sorted(result.summary, key=lambda row: -row.score)
    best, rest = ranked[0], ranked[1:]
    answer = f"{_name(best)} has the highest mean test accuracy, {format_percent(best.score)}%."
    if not rest:
        return [answer]
    if result.spec.seeds < 2:
        return [f"{answer} One seed does not show how much of this is chance; use at least three."]
    differences = [(row, _difference(result, (best, row), ACCURACY)) for row in rest]
    constant = [row for row, one in differences if one.constant and one.mean]
    close = [_name(row) for row, one in differences if not one.is_clear and row not in constant]
    below = [_name(row) for row, one in differences if one.is_clear]
    if len(below) == len(rest):
        answer += " All other rows are clearly lower."
    elif len(close) == len(rest):
        answer += " No other row is clearly lower."
    elif close:
        answer += f" Not clearly lower: {_join(close)}."
    return [answer, *(_report_constant(result, (best, row), ACCURACY) for row in constant)]


def _compare_accuracy(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    return _compare(result, [(row, full) for row in others], ACCURACY)


def _compare_at_equal_size(result: StudyResult) -> list[str]:
    return _compare(result, _match_sizes(result), ACCURACY)


def _compare_gaps(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    answers: list[str] = []
    for row in others:
        difference = _difference(result, (row, full), GAP)
        if difference.is_clear:
            word = "larger" if difference.mean > 0 else "smaller"
            answers.append(
                f"The gap between training and test accuracy is {word} for {_name(row)} "
                f"({format_percent(row.gap)} points) than for {_name(full)} "
                f"({format_percent(full.gap)} points)."
            )
        elif difference.constant and difference.mean:
            answers.append(_report_constant(result, (row, full), GAP))
    if not answers and others and result.spec.seeds > 1:
        answers.append(
            f"No row differs clearly from {_name(full)} in the gap between training and test accuracy."
        )
    return answers


def _compare_shifts(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    pixels = list(full.score_shifted)[-1]
    before, after = format_percent(full.score), format_percent(full.score_shifted[pixels])
    shift = f"{pixels} pixel{'s' * (pixels != '1')}"
    answer = f"{_name(full)} drops from {before}% to {after}% when test images are shifted by {shift}."
    shifted = Measure(lambda trial: trial.score_shifted[pixels], f"accuracy on images shifted by {shift}")
    return [answer, *_compare(result, [(row, full) for row in others], shifted)]


def _compare_costs(full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    if not others:
        return []
    most = max(others, key=lambda row: row.parameters)
    answers = [
        f"{_name(most)} has {format_ratio(most.parameters / full.parameters)} times as many parameters as "
        f"{_name(full)} ({abbreviate(most.parameters)} vs. {abbreviate(full.parameters)})."
    ]
    same = [_name(row) for row in others if row.macs == full.macs]
    if same:
        answers.append(
            f"{_join([_name(full), *same])} compute the same number of MACs per image "
            f"({abbreviate(full.macs)}): sharing saves memory, not arithmetic."
        )
    answers += [
        f"{_name(row)} computes {format_ratio(row.macs / full.macs)} times as many MACs as {_name(full)}."
        for row in others
        if row.macs > 1.05 * full.macs
    ]
    return answers


def _compare_speed(result: StudyResult, full: RowSummary | None, others: Sequence[RowSummary]) -> list[str]:
    rows = [row for row in result.summary if not row.matches]
    reached = [(row.epochs_to_target, row) for row in rows if row.epochs_to_target is not None]
    reached.sort(key=lambda pair: pair[0])
    if len(rows) < 2 or not reached:
        return []
    epochs = ", ".join(f"{epochs:.0f} ({_name(row)})" for epochs, row in reached)
    answers = [f"Mean epochs to {format_percent(result.target)}% validation accuracy: {epochs}."]
    missed = [
        f"{_name(row)} ({row.reached_target} of {row.seeds})"
        for row in result.summary
        if row.reached_target < row.seeds
    ]
    if missed:
        answers.append(f"Not compared, because not all seeds reached it: {_join(missed)}.")
    pairs = [*([(row, full) for row in others] if full else []), *_match_sizes(result)]
    pairs = [pair for pair in pairs if all(row.reached_target == row.seeds for row in pair)]
    if result.spec.seeds < 2 or not pairs:
        return [*answers, "This does not show whether sharing speeds up training."]
    measure = Measure(
        lambda trial: find_epoch(trial.curve_score, result.target) or 0,
        "the number of epochs to target",
        more="{row} needs {value} more epochs than {other}",
        less="{row} needs {value} fewer epochs than {other}",
        unit="",
        scale=1,
    )
    return [*answers, *_compare(result, pairs, measure)]


def _match_sizes(result: StudyResult) -> list[Pair]:
    """Return each partly shared row with its size-matched row."""
    matched = {name: row for row in result.summary for name in row.matches}
    return [(row, matched[row.sharing]) for row in result.summary if row.sharing in matched]


def _compare(result: StudyResult, pairs: Sequence[Pair], measure: Measure) -> list[str]:
    """Return one sentence per clear difference within a pair, and one for all pairs without any."""
    answers: list[str] = []
    unclear: list[str] = []
    same: list[str] = []
    for pair in pairs:
        row, other = map(_name, pair)
        difference = _difference(result, pair, measure)
        if difference.constant and difference.mean:
            answers.append(_report_constant(result, pair, measure))
        elif difference.constant:
            same.append(f"{row} vs. {other}")
        elif difference.ci is None or not difference.is_clear:
            unclear.append(f"{row} vs. {other}")
        else:
            low, high = (measure.format(end) for end in sorted(map(abs, difference.ci)))
            sentence = measure.more if difference.mean > 0 else measure.less
            value = measure.format(abs(difference.mean))
            text = sentence.format(row=row, value=value, other=other, name=measure.name)
            answers.append(f"{text} (95% CI {low} to {high}).")
    if unclear and result.spec.seeds > 1:
        answers.append(f"No clear difference in {measure.name}: {_join(unclear)}.")
    if same:
        answers.append(f"No difference in {measure.name} with any seed: {_join(same)}.")
    return answers


def _difference(result: StudyResult, pair: Pair, measure: Measure) -> Difference:
    first, second = ([measure.value(trial) for trial in result.by_row[row.sharing]] for row in pair)
    return compare_means(first, second)


def _report_constant(result: StudyResult, pair: Pair, measure: Measure) -> str:
    """Return both values of a difference that has no interval, since neither side varies."""
    row, other = map(_name, pair)
    first, second = (measure.format(measure.value(result.by_row[row.sharing][0])) for row in pair)
    return (
        f"With every seed, {measure.name} is {first}{measure.unit} for {row} and {second}{measure.unit} for "
        f"{other}, so this difference has no confidence interval."
    )


def _name(row: RowSummary) -> str:
    return f"full at width {row.width}" if row.matches else row.sharing


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
