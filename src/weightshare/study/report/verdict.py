"""The verdict on a study: what it shows, in one to three sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...views.numbers import format_percent
from .. import words
from ..baseline import Baseline, find_baseline
from .measures import (
    Comparison,
    Measure,
    compare_pairs,
    compare_with,
    describe_needed,
    find_full,
    get_name,
    match_sizes,
    measure_score,
)

if TYPE_CHECKING:
    from ..result import StudyResult


def judge(result: "StudyResult") -> str:
    """Return the verdict.

    It names the sharings that are clearly better or worse than full sharing and, for the better ones, states
    whether their size may be the reason. If no network beats the most frequent class, that is the verdict.
    """
    baseline = find_baseline(result.data, result.summary)
    if baseline is not None and not baseline.is_beaten:
        return _report_baseline(baseline)
    scale, measure = result.scale, measure_score(result.scale)
    best = max(result.summary, key=lambda row: scale.sign * row.score)
    word = "lowest" if scale.lower_is_better else "highest"
    top = f"{get_name(best)} has the {word} {measure.name}, {scale.format(best.score)}"
    if len(result.summary) == 1:
        return f"{top}. A comparison needs a second sharing."
    if result.seeds < 2:
        return f"{top}, with one seed. One seed does not show how much of this is chance; use at least three."
    full, others = find_full(result)
    if full is None or not others:
        return f"{top}. A comparison with full sharing needs the sharing full."
    comparisons = compare_with(result, others, full, measure)
    better, worse, other = _sort(comparisons, scale.sign)
    sentences = [*_list("better", better, measure), *_list("worse", worse, measure)]
    if other:
        rows = words.join([f"{get_name(one.row)} ({describe_needed(one.difference)})" for one in other])
        if sentences:
            sentences.append(f"{rows} {_be(other)} neither clearly better nor clearly worse than full.")
        else:
            sentences.append(f"No sharing is clearly better or worse than full in {measure.name}: {rows}.")
    return " ".join([*sentences, *_judge_size(result, better, measure)])


def _report_baseline(baseline: Baseline) -> str:
    sentence = (
        "No network is clearly more accurate than always predicting the most frequent class, which is "
        f"correct for {format_percent(baseline.majority)}% of the test examples. This study does not show "
        "which sharing is better."
    )
    if baseline.balanced is None:
        return sentence
    return (
        f"{sentence} The highest balanced accuracy (the mean over the classes) is "
        f"{format_percent(baseline.balanced)}%, and chance is {format_percent(baseline.chance)}%."
    )


def _sort(
    comparisons: Sequence[Comparison], sign: int
) -> tuple[list[Comparison], list[Comparison], list[Comparison]]:
    """Return the comparisons whose row is clearly better, whose row is clearly worse, and the others."""
    better = [one for one in comparisons if one.difference.is_clear and sign * one.difference.mean > 0]
    worse = [one for one in comparisons if one.difference.is_clear and sign * one.difference.mean < 0]
    return better, worse, [one for one in comparisons if not one.difference.is_clear]


def _list(quality: str, comparisons: Sequence[Comparison], measure: Measure) -> list[str]:
    """Return a sentence that names the rows of comparisons, with their differences; none without rows."""
    if not comparisons:
        return []
    names: list[str] = []
    for one in comparisons:
        sign = "+" if one.difference.mean > 0 else "-"
        names.append(f"{get_name(one.row)} ({sign}{measure.format_difference(abs(one.difference.mean))})")
    return [f"{words.join(names)} {_be(comparisons)} clearly {quality} than full in {measure.name}."]


def _judge_size(result: "StudyResult", better: Sequence[Comparison], measure: Measure) -> list[str]:
    """Return whether the better rows are also better than fully shared networks of their size."""
    names = [one.row.sharing for one in better]
    pairs = [pair for pair in match_sizes(result) if pair[0].sharing in names]
    matched = compare_pairs(result, pairs, measure)
    also = _sort(matched, result.scale.sign)[0]
    by_size = [one for one in matched if one not in also]
    same = "a fully shared network of the same size"
    sentences: list[str] = []
    if also:
        sentences.append(f"{_name_rows(also)} {_be(also)} also clearly better than {same}.")
    if by_size:
        rows = _name_rows(by_size)
        sentences.append(f"For {rows}, the gain may come from the size: {same} is not clearly worse.")
    return sentences


def _name_rows(comparisons: Sequence[Comparison]) -> str:
    return words.join([get_name(one.row) for one in comparisons])


def _be(comparisons: Sequence[Comparison]) -> str:
    return "is" if len(comparisons) == 1 else "are"
