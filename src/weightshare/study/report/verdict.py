"""The verdict on a study: what it shows, in a few sentences."""

from collections.abc import Sequence
from dataclasses import replace

from ...views.numbers import format_percent, format_ratio
from ..statistics.baseline import Baseline, find_baseline
from ..statistics.outcome import Outcome
from ..summary import RowSummary
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

#: Ratio of the numbers of parameters above which a row is called larger.
LARGER = 1.05


def judge(result: Outcome) -> str:
    """Return the verdict.

    It names the sharings that are clearly better or worse than full sharing, also on shifted test inputs. For
    the better ones, it states whether their size may be the reason. It warns if at least half of the runs
    stopped at the epoch limit, and if further training makes a trained network clearly worse. If no network
    beats the most frequent class, that is the verdict.
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
    has_ties = any(row.sharing == f"{full.sharing} (tied)" for row in others)
    reference = "untied full sharing" if has_ties else "full sharing"
    if scale.lower_is_better:
        measure = replace(measure, name=f"{measure.name} (lower is better)")
    sentences = [
        _describe_clear(comparisons, measure, scale.sign, reference),
        _describe_unclear(comparisons, measure, reference),
    ]
    sentences += [_judge_size(result, comparisons, measure), _describe_larger(result, comparisons, full)]
    if full.score_shifted:
        amount = list(full.score_shifted)[-1]
        shifted = measure_shifted(scale, amount, words.describe_shift(result.data, amount))
        moved = compare_with(result, others, full, shifted)
        sentences.append(_describe_clear(moved, shifted, scale.sign, reference))
    sentences += [_describe_limit(result), _describe_start(result, full)]
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


def _describe_clear(comparisons: Sequence[Comparison], measure: Measure, sign: int, reference: str) -> str:
    """Return which rows are clearly better and worse, with their differences; "" if none is."""
    better, worse = (_choose(comparisons, sign * side) for side in (1, -1))
    phrases: list[str] = []
    for quality, group in (("better", better), ("worse", worse)):
        if group:
            than = "" if phrases else f" than {reference} in {measure.name}"
            phrases.append(f"{_list_differences(group, measure)} {_be(group)} clearly {quality}{than}")
    return f"{', and '.join(phrases)}." if phrases else ""


def _describe_unclear(comparisons: Sequence[Comparison], measure: Measure, reference: str) -> str:
    """Return which rows are neither clearly better nor worse, with the seeds needed; "" if none is."""
    unclear = [one for one in comparisons if not one.difference.is_clear]
    if not unclear:
        return ""
    rows = words.join([f"{get_name(one.row)} ({_describe_evidence(one, measure)})" for one in unclear])
    if len(unclear) == len(comparisons):
        return f"No sharing is clearly better or worse than {reference} in {measure.name}: {rows}."
    return f"{rows} {_be(unclear)} neither clearly better nor clearly worse."


def _describe_evidence(comparison: Comparison, measure: Measure) -> str:
    """Return an unclear difference with the seeds needed."""
    needed = describe_needed(comparison.difference)
    has_interval = comparison.difference.ci is not None
    return f"{_format_signed(comparison.difference.mean, measure)}, {needed}" if has_interval else needed


def _judge_size(result: Outcome, comparisons: Sequence[Comparison], measure: Measure) -> str:
    """Return how the better rows compare with fully shared networks of their size; "" if there are none."""
    sign = result.scale.sign
    names = [one.row.sharing for one in _choose(comparisons, sign)]
    pairs = [pair for pair in match_sizes(result) if pair[0].sharing in names]
    matched = compare_pairs(result, pairs, measure)
    unclear = [one for one in matched if not one.difference.is_clear]
    better = _choose(matched, sign)
    worse = _choose(matched, -sign)
    groups = (
        (better, "{name} {be} also clearly better than {same}."),
        (unclear, "For {name}, the gain may come from the size: {same} {be} not clearly worse."),
        (worse, "For {name}, the size alone explains the gain: {same} {be} clearly better."),
    )
    return " ".join(
        text.format(name=_name(group), be=_be(group), same=_name_matched(group))
        for group, text in groups
        if group
    )


def _describe_larger(result: Outcome, comparisons: Sequence[Comparison], full: RowSummary) -> str:
    """Return which of the better rows are larger, but have no size-matched row; "" if there are none."""
    matched = {row.sharing for row, _ in match_sizes(result)}
    larger = [
        one
        for one in _choose(comparisons, result.scale.sign)
        if one.row.sharing not in matched and one.row.parameters > LARGER * full.parameters
    ]
    if not larger:
        return ""
    ratios = [f"{format_ratio(one.row.parameters / full.parameters)} times as many" for one in larger]
    have = "has" if len(larger) == 1 else "have"
    return (
        f"{_name(larger)} {have} {words.join(ratios)} parameters as {get_name(full)}, and no fully shared "
        "network of that size was trained, so the gain may come from the size."
    )


def _describe_limit(result: Outcome) -> str:
    """Return a warning if at least half of the runs in the main table stopped at the epoch limit."""
    stopped, runs = (sum(numbers) for numbers in zip(*((row.hit_cap, row.seeds) for row in result.summary)))
    if 2 * stopped < runs:
        return ""
    share = "All" if stopped == runs else f"{stopped} of {runs}"
    limit = words.count(result.options["epochs_max"], "epoch")
    return (
        f"{share} runs stopped at the limit of {limit}, so a difference may only mean that one network "
        "learns faster than another."
    )


def _describe_start(result: Outcome, full: RowSummary) -> str:
    """Return a warning if further training with full sharing makes a trained network clearly worse."""
    scale, before = result.scale, full.start_score
    best = scale.choose_best(full.score_ci or [full.score])
    if before is None or scale.sign * best >= scale.sign * before:
        return ""
    return (
        f"With full sharing, further training makes the test {scale.label} worse: it is "
        f"{scale.format(before)} before and {scale.format(full.score)} after it. Try a lower learning rate."
    )


def _choose(comparisons: Sequence[Comparison], sign: int) -> list[Comparison]:
    """Return the comparisons whose difference is clear and has this sign."""
    return [one for one in comparisons if one.difference.is_clear and sign * one.difference.mean > 0]


def _list_differences(comparisons: Sequence[Comparison], measure: Measure) -> str:
    return words.join(
        [f"{get_name(one.row)} ({_format_signed(one.difference.mean, measure)})" for one in comparisons]
    )


def _format_signed(mean: float, measure: Measure) -> str:
    return f"{'+' if mean > 0 else '-'}{measure.format_difference(abs(mean))}"


def _name(comparisons: Sequence[Comparison]) -> str:
    return words.join([get_name(one.row) for one in comparisons])


def _name_matched(comparisons: Sequence[Comparison]) -> str:
    one = len(comparisons) == 1
    return f"{'a fully shared network' if one else 'fully shared networks'} of the same size"


def _be(comparisons: Sequence[Comparison]) -> str:
    return "is" if len(comparisons) == 1 else "are"
