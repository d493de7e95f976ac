"""Findings of a study: the questions that it can answer, with an answer in sentences.

A difference is called clear only if its 95% confidence interval over the seeds excludes zero. Several rows
are compared with one by simultaneous intervals. If a difference is the same with every seed, there is no
interval: both values are reported, and nothing is called clear or unclear.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...views.numbers import abbreviate, format_ratio
from ..result import StudyResult
from ..statistics.questions import Answered
from ..summary import RowSummary
from . import words
from .measures import (
    compare_pairs,
    compare_with,
    describe,
    describe_constant,
    describe_needed,
    find_full,
    find_gap,
    get_name,
    match_sizes,
    measure_epochs,
    measure_gap,
    measure_score,
    measure_shifted,
)


@dataclass(frozen=True)
class Finding:
    """A question, and the answers of this study."""

    question: str
    answers: tuple[str, ...]


def collect_findings(result: StudyResult) -> list[Finding]:
    """Return the findings for each question that this study can answer."""
    full, others = find_full(result)
    answers = [
        ("Which network is best?", _rank(result)),
        (
            f"Does sharing improve {result.scale.label}?",
            _compare_scores(result, full, others) if full else [],
        ),
        ("Is it the sharing or the size?", _compare_at_equal_size(result)),
        ("Does sharing reduce overfitting?", _compare_gaps(result, full, others) if full else []),
        ("What if test inputs are shifted?", _compare_shifts(result, full, others) if full else []),
        ("What does it cost?", _compare_costs(full, others) if full else []),
        ("Does sharing speed up training?", _compare_speed(result, full, others)),
    ]
    return [Finding(question, tuple(sentences)) for question, sentences in answers if sentences]


def answer(result: StudyResult, answered: Answered) -> list[str]:
    """Return what a further question shows, in sentences."""
    measure, has_seeds = measure_score(result.scale), result.seeds > 1
    if answered.question.compares_settings:
        pairs = [
            (row, rows[0])
            for rows in answered.rows.values()
            for row in rows[1:]
            if row is not None and rows[0] is not None
        ]
        return describe(compare_pairs(result, pairs, measure), measure, has_seeds)
    sentences: list[str] = []
    for setting, rows in zip(answered.settings, zip(*answered.rows.values())):
        present = [row for row in rows if row is not None and not row.matches]
        full = next((row for row in present if row.layer_sharing == "full"), None)
        if full is not None and full.question:
            others = [row for row in present if row is not full]
            found = describe(compare_with(result, others, full, measure), measure, has_seeds)
            sentences += [f"{setting}: {sentence[0].lower()}{sentence[1:]}" for sentence in found]
    return sentences


def _rank(result: StudyResult) -> list[str]:
    """Name the best row, and the rows that are not clearly worse."""
    scale, measure = result.scale, measure_score(result.scale)
    best, *rest = sorted(result.summary, key=lambda row: -scale.sign * row.score)
    word = "lowest" if scale.lower_is_better else "highest"
    sentence = f"{get_name(best)} has the {word} mean {measure.name}, {scale.format(best.score)}."
    if not rest:
        return [sentence]
    if result.seeds < 2:
        return [f"{sentence} One seed does not show how much of this is chance; use at least three."]
    comparisons = compare_with(result, rest, best, measure, is_chosen=True)
    constant = [one for one in comparisons if one.difference.constant and one.difference.mean]
    clear = [one for one in comparisons if one.difference.is_clear]
    close = [one for one in comparisons if one not in clear and one not in constant]
    if len(clear) == len(rest):
        sentence += f" {'All other rows are' if len(rest) > 1 else 'The other row is'} clearly worse."
    elif len(close) == len(rest):
        sentence += f" {'No other row is' if len(rest) > 1 else 'The other row is not'} clearly worse."
    elif close:
        names = [f"{get_name(one.row)} ({describe_needed(one.difference)})" for one in close]
        sentence += f" Not clearly worse: {words.join(names)}."
    return [sentence, *(describe_constant(one, measure) for one in constant)]


def _compare_scores(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    measure = measure_score(result.scale)
    return describe(compare_with(result, others, full, measure), measure, result.seeds > 1)


def _compare_at_equal_size(result: StudyResult) -> list[str]:
    measure = measure_score(result.scale)
    return describe(compare_pairs(result, match_sizes(result), measure), measure, result.seeds > 1)


def _compare_gaps(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    scale, measure = result.scale, measure_gap(result.scale)
    gaps = {row.sharing: scale.format_difference(find_gap(scale, row)) for row in (full, *others)}
    answers: list[str] = []
    for one in compare_with(result, others, full, measure):
        if one.difference.is_clear:
            word = "larger" if one.difference.mean > 0 else "smaller"
            answers.append(
                f"The gap between training and test {scale.label} is {word} for {get_name(one.row)} "
                f"({gaps[one.row.sharing]}) than for {get_name(full)} ({gaps[full.sharing]})."
            )
        elif one.difference.constant and one.difference.mean:
            answers.append(describe_constant(one, measure))
    if not answers and others and result.seeds > 1:
        answers.append(f"No row differs clearly from {get_name(full)} in {measure.name}.")
    return answers


def _compare_shifts(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    if not full.score_shifted:
        return []
    scale, amount = result.scale, list(full.score_shifted)[-1]
    shift = words.describe_shift(result.data, amount)
    before, after = scale.format(full.score), scale.format(full.score_shifted[amount])
    sentence = (
        f"The test {scale.label} of {get_name(full)} goes from {before} to {after} when test inputs are "
        f"shifted by {shift}."
    )
    measure = measure_shifted(scale, amount, shift)
    comparisons = compare_with(result, others, full, measure)
    return [sentence, *describe(comparisons, measure, result.seeds > 1)]


def _compare_costs(full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    if not others:
        return []
    most = max(others, key=lambda row: row.parameters)
    answers = [
        f"{get_name(most)} has {format_ratio(most.parameters / full.parameters)} times as many parameters as "
        f"{get_name(full)} ({abbreviate(most.parameters)} vs. {abbreviate(full.parameters)})."
    ]
    same = [get_name(row) for row in others if row.macs == full.macs]
    if same:
        answers.append(
            f"{words.join([get_name(full), *same])} compute the same number of MACs per example "
            f"({abbreviate(full.macs)}): sharing saves memory, not arithmetic."
        )
    answers += [
        f"{get_name(row)} computes {format_ratio(row.macs / full.macs)} times as many MACs as "
        f"{get_name(full)}."
        for row in others
        if row.macs > 1.05 * full.macs
    ]
    return answers


def _compare_speed(result: StudyResult, full: RowSummary | None, others: Sequence[RowSummary]) -> list[str]:
    if not result.has_new_weights:
        return []  # a trained network has reached the target already
    rows = [row for row in result.summary if not row.matches]
    reached = [(row.epochs_to_target, row) for row in rows if row.epochs_to_target is not None]
    reached.sort(key=lambda pair: pair[0])
    if len(rows) < 2 or not reached:
        return []
    epochs = ", ".join(f"{epochs:.0f} ({get_name(row)})" for epochs, row in reached)
    answers = [f"Mean epochs to {words.describe_target(result)}: {epochs}."]
    missed = [
        f"{get_name(row)} ({row.reached_target} of {row.seeds})"
        for row in result.summary
        if row.reached_target < row.seeds
    ]
    if missed:
        answers.append(f"Not compared, because not all seeds reached it: {words.join(missed)}.")

    def is_complete(row: RowSummary) -> bool:
        return row.reached_target == row.seeds

    measure = measure_epochs(result.scale, result.target)
    comparisons = compare_pairs(
        result, [pair for pair in match_sizes(result) if all(map(is_complete, pair))], measure
    )
    if full is not None and is_complete(full):
        comparisons = [*compare_with(result, list(filter(is_complete, others)), full, measure), *comparisons]
    if result.seeds < 2 or not comparisons:
        return [*answers, "This does not show whether sharing speeds up training."]
    return [*answers, *describe(comparisons, measure, True)]
