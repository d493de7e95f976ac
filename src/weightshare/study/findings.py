"""What the numbers say, in sentences. A difference is named only where its 95 % interval leaves out zero."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..views.numbers import percent, short, times_as_many
from .result import StudyResult
from .summary import RowSummary, difference
from .trials import Trial

Measure = Callable[[Trial], float]


@dataclass(frozen=True)
class Finding:
    """A question, and what these data answer."""

    question: str
    answers: tuple[str, ...]


def findings(result: StudyResult) -> list[Finding]:
    """Every question that this study can answer."""
    rows = [row for row in result.summary if not row.matches]
    full = next((row for row in rows if row.layer_sharing == "full"), None)
    others = [row for row in rows if row is not full]
    found = [
        ("Which network is most accurate?", _best(result)),
        ("Does sharing help or hold back?", _against_full(result, full, others) if full else []),
        ("Is it the sharing or the size?", _at_equal_size(result)),
        ("Does sharing regularise?", _gaps(result, full, others) if full else []),
        ("What if the image moves?", _shifts(result, full, others) if full else []),
        ("What does it cost?", _costs(full, others) if full else []),
        ("Does sharing learn faster?", _speed(result)),
    ]
    return [Finding(question, tuple(map(_unbroken, answers))) for question, answers in found if answers]


def _unbroken(answer: str) -> str:
    """Numbers stay on the line of their sign."""
    return answer.replace(" %", "\u00a0%")


def _best(result: StudyResult) -> list[str]:
    ranked = sorted(result.summary, key=lambda row: -row.accuracy)
    best, rest = ranked[0], ranked[1:]
    answer = f"The highest mean is that of {_name(best)}: {percent(best.accuracy)} % of the test images."
    if not rest:
        return [answer]
    if result.spec.seeds < 2:
        return [answer + " With one seed nothing says how far that is luck; run it with three."]
    level = [_name(row) for row in rest if not _clear(result, best, row, lambda t: t.accuracy)]
    if not level:
        return [answer + " Every other row is clearly below it."]
    if len(level) == len(rest):
        return [answer + " No other row is clearly below it: on these data the seeds decide as much."]
    return [answer + f" Not clearly below it: {_listed(level)}."]


def _against_full(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    return _compared(result, [(row, full) for row in others], lambda t: t.accuracy, "on the test images")


def _at_equal_size(result: StudyResult) -> list[str]:
    wide_of = {name: wide for wide in result.summary for name in wide.matches}
    pairs = [(row, wide_of[row.sharing]) for row in result.summary if row.sharing in wide_of]
    return _compared(result, pairs, lambda t: t.accuracy, "on the test images")


def _gaps(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    answers = []
    for row in others:
        found = _clear(result, row, full, lambda t: t.train_accuracy - t.accuracy)
        if found is not None:
            word = "wider" if found > 0 else "narrower"
            answers.append(
                f"From training to test images {_name(row)} loses {percent(row.gap)} points and full sharing "
                f"{percent(full.gap)}: the gap is {word} with less sharing."
            )
    if not answers and others and result.spec.seeds > 1:
        answers.append("No gap between training and test accuracy differs clearly from full sharing's.")
    return answers


def _shifts(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    pixels = list(full.accuracy_shifted)[-1]
    before, after = percent(full.accuracy), percent(full.accuracy_shifted[pixels])
    answer = f"Full sharing falls from {before} % to {after} % when the test images move by {pixels} pixels."
    there = f"on images moved by {pixels} pixels"
    pairs = [(row, full) for row in others]
    return [answer, *_compared(result, pairs, lambda t: t.accuracy_shifted[pixels], there)]


def _costs(full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    if not others:
        return []
    most = max(others, key=lambda row: row.parameters)
    answers = [
        f"{_name(most)} has {times_as_many(most.parameters / full.parameters)} times the parameters of full "
        f"sharing ({short(most.parameters)} against {short(full.parameters)})."
    ]
    same = [_name(row) for row in others if row.macs == full.macs]
    if same:
        answers.append(
            f"An image takes the same {short(full.macs)} multiply-adds with full sharing as with "
            f"{_listed(same)}: sharing saves memory, not arithmetic."
        )
    answers += [
        f"{_name(row)} needs {times_as_many(row.macs / full.macs)} times the multiply-adds of full sharing."
        for row in others
        if row.macs > 1.05 * full.macs
    ]
    return answers


def _speed(result: StudyResult) -> list[str]:
    rows = [row for row in result.summary if not row.matches]
    reached = [(row.epochs_to_target, row) for row in rows if row.epochs_to_target is not None]
    reached.sort(key=lambda pair: pair[0])
    if len(rows) < 2 or not reached:
        return []
    listed = _listed([f"{_name(row)} after {epochs:.0f}" for epochs, row in reached])
    answers = [f"{percent(result.target)} % of the validation images are right with {listed} epochs."]
    short_of = [f"{_name(row)} ({row.reached_target} of {row.seeds} seeds)" for row in rows
                if row.reached_target < row.seeds]  # fmt: skip
    if short_of:
        answers.append(f"Not every seed gets there: {_listed(short_of)}.")
    return answers


def _compared(
    result: StudyResult, pairs: Sequence[tuple[RowSummary, RowSummary]], measure: Measure, where: str
) -> list[str]:
    """A sentence a clear difference between the two rows of a pair, and one for all the others."""
    answers, unclear = [], []
    for row, other in pairs:
        mean, ci = difference(*([measure(t) for t in result.by_row[r.sharing]] for r in (row, other)))
        if ci is None or ci[0] <= 0 <= ci[1]:
            unclear.append(f"{_name(row)} against {_name(other)}")
            continue
        low, high = sorted(abs(end) for end in ci)
        word = "more" if mean > 0 else "fewer"
        answers.append(
            f"{_name(row)} gets {percent(abs(mean))} points {word} than {_name(other)} {where} "
            f"(95 % interval {percent(low)} to {percent(high)})."
        )
    if unclear and result.spec.seeds > 1:
        answers.append(f"No clear difference {where}: {_listed(unclear)}.")
    return answers


def _clear(result: StudyResult, row: RowSummary, other: RowSummary, measure: Measure) -> float | None:
    """The difference of two rows where its interval leaves out zero."""
    mean, ci = difference(*([measure(t) for t in result.by_row[r.sharing]] for r in (row, other)))
    return None if ci is None or ci[0] <= 0 <= ci[1] else mean


def _name(row: RowSummary) -> str:
    return f"full at width {row.width}" if row.matches else row.sharing


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
