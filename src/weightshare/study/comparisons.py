"""The number of comparisons in a report, and the number of false positives to expect among them."""

from collections.abc import Sequence

from .summary import RowSummary


def count_comparisons(rows: Sequence[RowSummary]) -> int:
    """Return the approximate number of comparisons in a report.

    A report compares each row with full sharing in accuracy, accuracy under shift, gap and speed, and with
    its size-matched row in accuracy and speed. It also compares all rows with the best one.
    """
    requested = [row for row in rows if not row.matches]
    pairs = sum(len(row.matches) for row in rows)
    with_full = len(requested) - 1 if any(row.layer_sharing == "full" for row in requested) else 0
    return 4 * with_full + 2 * pairs + len(rows) - 1


def describe_comparisons(rows: Sequence[RowSummary]) -> str | None:
    """Return a sentence with the number of comparisons, or None if there are none or only one seed."""
    number = count_comparisons(rows)
    if not number or rows[0].seeds < 2:
        return None
    return f"About {number} comparisons at the 95% level: {_expect_false_positives(number)}."


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
