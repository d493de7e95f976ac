"""What the numbers say, in sentences.

A difference is called clear only where its 95 % interval over the seeds leaves out zero. Where every seed
gave the same two values there is no interval: then both are named, and nothing is called clear or unclear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...views.numbers import percent, short, times_as_many
from ..result import StudyResult
from ..summary import Difference, RowSummary, difference, epochs_to
from ..trials import Trial

Pair = tuple[RowSummary, RowSummary]


@dataclass(frozen=True)
class Measure:
    """What is compared, and the words for it.

    Args:
        of: The number of a trial.
        verb, unit: As in "full gets 2.0 points more than local".
        where: On which images.
        sign: Behind a single value.
        scale: From the number to the unit.
    """

    of: Callable[[Trial], float]
    verb: str = "gets"
    unit: str = "points"
    where: str = " on the test images"
    sign: str = " %"
    scale: float = 100

    def text(self, value: float) -> str:
        """A number in the unit."""
        return f"{self.scale * value:.1f}"


ACCURACY = Measure(lambda trial: trial.accuracy)
GAP = Measure(lambda trial: trial.train_accuracy - trial.accuracy, "has", where=" of gap", sign=" points")


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
        ("Does sharing learn faster?", _speed(result, full, others)),
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
    found = [(row, _difference(result, (best, row), ACCURACY)) for row in rest]
    apart = [(best, row) for row, one in found if one.fixed and one.mean]
    level = [_name(row) for row, one in found if not one.clear and (best, row) not in apart]
    below = [_name(row) for row, one in found if one.clear]
    if len(below) == len(rest):
        answer += " Every other row is clearly below it."
    elif len(level) == len(rest):
        answer += " No other row is clearly below it."
    elif level:
        answer += f" Not clearly below it: {_listed(level)}."
    return [answer, *(_fixed(result, pair, ACCURACY) for pair in apart)]


def _against_full(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    return _compared(result, [(row, full) for row in others], ACCURACY)


def _at_equal_size(result: StudyResult) -> list[str]:
    return _compared(result, _matched(result), ACCURACY)


def _gaps(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    answers = []
    for row in others:
        found = _difference(result, (row, full), GAP)
        if found.clear:
            word = "wider" if found.mean > 0 else "narrower"
            answers.append(
                f"From training to test images {_name(row)} loses {percent(row.gap)} points and full sharing "
                f"{percent(full.gap)}: the gap is {word} with less sharing."
            )
        elif found.fixed and found.mean:
            answers.append(_fixed(result, (row, full), GAP))
    if not answers and others and result.spec.seeds > 1:
        answers.append("No gap between training and test accuracy differs clearly from full sharing's.")
    return answers


def _shifts(result: StudyResult, full: RowSummary, others: Sequence[RowSummary]) -> list[str]:
    pixels = list(full.accuracy_shifted)[-1]
    before, after = percent(full.accuracy), percent(full.accuracy_shifted[pixels])
    answer = f"Full sharing falls from {before} % to {after} % when the test images move by {pixels} pixels."
    moved = Measure(lambda t: t.accuracy_shifted[pixels], where=f" on images moved by {pixels} pixels")
    return [answer, *_compared(result, [(row, full) for row in others], moved)]


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


def _speed(result: StudyResult, full: RowSummary | None, others: Sequence[RowSummary]) -> list[str]:
    rows = [row for row in result.summary if not row.matches]
    reached = [(row.epochs_to_target, row) for row in rows if row.epochs_to_target is not None]
    reached.sort(key=lambda pair: pair[0])
    if len(rows) < 2 or not reached:
        return []
    listed = _listed([f"{_name(row)} after {epochs:.0f}" for epochs, row in reached])
    answers = [f"{percent(result.target)} % of the validation images are right with {listed} epochs."]
    short_of = [f"{_name(row)} ({row.reached_target} of {row.seeds} seeds)" for row in result.summary
                if row.reached_target < row.seeds]  # fmt: skip
    if short_of:
        answers.append(f"Not every seed gets there, so these are not compared: {_listed(short_of)}.")
    pairs = [*([(row, full) for row in others] if full else []), *_matched(result)]
    pairs = [pair for pair in pairs if all(row.reached_target == row.seeds for row in pair)]
    epochs = Measure(lambda t: epochs_to(t.curve_accuracy, result.target) or 0, "needs", "epochs",
                     " on the way there", " epochs", 1)  # fmt: skip
    if result.spec.seeds < 2 or not pairs:
        return [*answers, "Whether sharing learns faster is not clear from that."]
    return [*answers, *_compared(result, pairs, epochs)]


def _matched(result: StudyResult) -> list[Pair]:
    """Every partly shared row with the wider full network of its size."""
    wide_of = {name: wide for wide in result.summary for name in wide.matches}
    return [(row, wide_of[row.sharing]) for row in result.summary if row.sharing in wide_of]


def _compared(result: StudyResult, pairs: Sequence[Pair], measure: Measure) -> list[str]:
    """A sentence a difference between the two rows of a pair, and one for all pairs without a clear one."""
    answers, unclear, same = [], [], []
    for pair in pairs:
        row, other = map(_name, pair)
        found = _difference(result, pair, measure)
        if found.fixed and found.mean:
            answers.append(_fixed(result, pair, measure))
        elif found.fixed:
            same.append(f"{row} as {other}")
        elif found.ci is None or not found.clear:
            unclear.append(f"{row} against {other}")
        else:
            low, high = sorted(abs(end) for end in found.ci)
            word = "more" if found.mean > 0 else "fewer"
            answers.append(
                f"{row} {measure.verb} {measure.text(abs(found.mean))} {measure.unit} {word} than {other}"
                f"{measure.where} (95 % interval {measure.text(low)} to {measure.text(high)})."
            )
    if unclear and result.spec.seeds > 1:
        answers.append(f"No clear difference{measure.where}: {_listed(unclear)}.")
    if same:
        answers.append(f"The same with every seed{measure.where}: {_listed(same)}.")
    return answers


def _difference(result: StudyResult, pair: Pair, measure: Measure) -> Difference:
    return difference(*([measure.of(trial) for trial in result.by_row[row.sharing]] for row in pair))


def _fixed(result: StudyResult, pair: Pair, measure: Measure) -> str:
    """Both values of a difference to which seeds give no interval."""
    row, other = map(_name, pair)
    ours, theirs = (measure.text(measure.of(result.by_row[row.sharing][0])) for row in pair)
    return (
        f"With every seed {row} {measure.verb} {ours}{measure.sign} and {other} {theirs}{measure.sign}"
        f"{measure.where}: seeds alone cannot give this difference an interval."
    )


def _name(row: RowSummary) -> str:
    return f"full at width {row.width}" if row.matches else row.sharing


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
