"""The number of comparisons in a report, and the number of false positives to expect among them."""

from collections.abc import Sequence

from ..summary import RowSummary
from .questions import QUESTIONS

_BY_OPTION = {question.option: question for question in QUESTIONS}


def count_comparisons(rows: Sequence[RowSummary], further: Sequence[RowSummary] = ()) -> int:
    """Return the approximate number of comparisons in a report.

    A report compares the rows with full sharing in the score, the score under shift, the gap and the speed,
    and all rows with the best one. Each of these counts once, because its intervals are simultaneous. It also
    compares each pair of a row and its size-matched row in score and speed. Of the further questions, one
    with settings of its own counts once for each setting, and one that compares settings once for each row.
    """
    requested = [row for row in rows if not row.matches]
    has_full = any(row.layer_sharing == "full" for row in requested)
    with_full = 3 + bool(rows[0].score_shifted) if has_full and len(requested) > 1 else 0
    pairs = sum(len(row.matches) for row in rows)
    asked = {
        (row.question, row.sharing if _BY_OPTION[row.question].compares_settings else row.setting)
        for row in further
    }
    return with_full + 2 * pairs + (len(rows) > 1) + len(asked)


def describe_comparisons(rows: Sequence[RowSummary], further: Sequence[RowSummary] = ()) -> str | None:
    """Return a sentence with the number of comparisons, or None if there are none or only one seed."""
    number = count_comparisons(rows, further)
    if not number or rows[0].seeds < 2:
        return None
    plural = "s" * (number > 1)
    return f"About {number} comparison{plural} at the 95% level: {_expect_false_positives(number)}."


def _expect_false_positives(number: int) -> str:
    """Return how many of these comparisons are expected to be clear by chance alone.

    >>> _expect_false_positives(4), _expect_false_positives(29)
    ('a false positive is possible', 'expect one or two false positives')
    """
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    least = number // 20
    if least == 0:
        return "a false positive is possible"
    if least < len(words):
        return f"expect {words[least - 1]} or {words[least]} false positives"
    return f"expect about {least} false positives"
