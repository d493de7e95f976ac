"""The verdict on a study: what it shows, in a few sentences."""

from collections.abc import Sequence

from ...views.numbers import format_percent
from ..statistics.baseline import Baseline, find_baseline
from ..statistics.outcome import Outcome
from . import words
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
    measure_shifted,
)


def judge(result: Outcome) -> str:
    """Return the verdict.

    It names the sharings that are clearly better or worse than full sharing, also on shifted test inputs. For
    the better ones, it states whether their size may be the reason. If no network beats the most frequent
    class, that is the verdict.
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
        return f"{top}. To compare sharings with full sharing, add full."
    comparisons = compare_with(result, others, full, measure)
    sentences = [_describe_clear(comparisons, measure, scale.sign), _describe_unclear(comparisons, measure)]
    sentences.append(_judge_size(result, comparisons, measure))
    if full.score_shifted:
        amount = list(full.score_shifted)[-1]
        shifted = measure_shifted(scale, amount, words.describe_shift(result.data, amount))
        sentences.append(_describe_clear(compare_with(result, others, full, shifted), shifted, scale.sign))
    return " ".join(sentence for sentence in sentences if sentence)


def _report_baseline(baseline: Baseline) -> str:
    what = "positions" if baseline.balanced is None else "examples"
    sentence = (
        "No network is clearly more accurate than always predicting the most frequent class, which is "
        f"correct for {format_percent(baseline.majority)}% of the test {what}. This study does not show "
        "which sharing is better."
    )
    if baseline.balanced is None:
        return sentence
    return (
        f"{sentence} The highest balanced accuracy (the mean over the classes) is "
        f"{format_percent(baseline.balanced)}%, and chance is {format_percent(baseline.chance)}%."
    )


def _describe_clear(comparisons: Sequence[Comparison], measure: Measure, sign: int) -> str:
    """Return which rows are clearly better and worse, with their differences; "" if none is."""
    better, worse = (_choose(comparisons, sign * side) for side in (1, -1))
    phrases: list[str] = []
    for quality, group in (("better", better), ("worse", worse)):
        if group:
            than = "" if phrases else f" than full sharing in {measure.name}"
            phrases.append(f"{_list_differences(group, measure)} {_be(group)} clearly {quality}{than}")
    return f"{', and '.join(phrases)}." if phrases else ""


def _describe_unclear(comparisons: Sequence[Comparison], measure: Measure) -> str:
    """Return which rows are neither clearly better nor worse, with the seeds needed; "" if none is."""
    unclear = [one for one in comparisons if not one.difference.is_clear]
    if not unclear:
        return ""
    rows = words.join([f"{get_name(one.row)} ({describe_needed(one.difference)})" for one in unclear])
    if len(unclear) == len(comparisons):
        return f"No sharing is clearly better or worse than full sharing in {measure.name}: {rows}."
    return f"{rows} {_be(unclear)} neither clearly better nor clearly worse."


def _judge_size(result: Outcome, comparisons: Sequence[Comparison], measure: Measure) -> str:
    """Return how the better rows compare with fully shared networks of their size; "" if there are none."""
    sign = result.scale.sign
    names = [one.row.sharing for one in _choose(comparisons, sign)]
    pairs = [pair for pair in match_sizes(result) if pair[0].sharing in names]
    matched = compare_pairs(result, pairs, measure)
    same = "fully shared networks of the same size"
    unclear = [one for one in matched if not one.difference.is_clear]
    better = _choose(matched, sign)
    groups = (
        (better, f"{{}} {_be(better)} also clearly better than {same}."),
        (unclear, f"For {{}}, the gain may come from the size: {same} are not clearly worse."),
        (_choose(matched, -sign), f"For {{}}, the gain comes from the size: {same} are clearly better."),
    )
    return " ".join(text.format(_name(group)) for group, text in groups if group)


def _choose(comparisons: Sequence[Comparison], sign: int) -> list[Comparison]:
    """Return the comparisons whose difference is clear and has this sign."""
    return [one for one in comparisons if one.difference.is_clear and sign * one.difference.mean > 0]


def _list_differences(comparisons: Sequence[Comparison], measure: Measure) -> str:
    differences = [(get_name(one.row), one.difference.mean) for one in comparisons]
    return words.join(
        [
            f"{name} ({'+' if mean > 0 else '-'}{measure.format_difference(abs(mean))})"
            for name, mean in differences
        ]
    )


def _name(comparisons: Sequence[Comparison]) -> str:
    return words.join([get_name(one.row) for one in comparisons])


def _be(comparisons: Sequence[Comparison]) -> str:
    return "is" if len(comparisons) == 1 else "are"
