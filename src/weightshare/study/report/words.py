"""Sentences about a study that its table and its report share."""

from collections.abc import Mapping
from statistics import stdev
from typing import Any

from ...views.escape import escape_controls
from ...views.numbers import format_percent, format_points_per_image
from ..data import DataFacts
from ..statistics.baseline import find_baseline
from ..statistics.comparisons import describe_comparisons
from ..statistics.intervals import have_unequal_spread
from ..statistics.outcome import Outcome


def describe_data(data: DataFacts) -> str:
    """Return the sizes of the splits and of the inputs, and the number of classes or outputs."""
    kind = f"{len(data.class_names)} classes" if data.class_names else count(data.outputs, "output")
    return (
        f"{data.train:,} training, {data.validation:,} validation and {data.test:,} test examples of "
        f"{describe_size(data)}, {kind}"
    )


def describe_size(data: DataFacts) -> str:
    """Return the size of an input, with its unit."""
    size = " x ".join(map(str, data.size))
    return f"{size} {'pixels' if len(data.size) == 2 else 'values'}"


def describe_shift(data: DataFacts, amount: str) -> str:
    """Return the amount of a shift with its unit: pixels for inputs with two axes, otherwise positions."""
    return count(int(amount), "pixel" if len(data.size) == 2 else "position")


def get_shift_unit(data: DataFacts) -> str:
    """Return the unit of shifts, for columns and axes."""
    return "px" if len(data.size) == 2 else "positions"


def describe_shifts(data: DataFacts) -> str:
    """Return how test inputs are shifted, as a noun phrase."""
    most = 2_500
    which = f"{most:,} of the test examples" if data.test > most else "the test examples"
    return f"{which}, shifted in both directions of each axis; the gap is filled with {data.fill}"


def describe_target(result: Outcome) -> str:
    """Return the target score of the validation set, with the name of the metric."""
    scale = result.scale
    if scale.is_fraction:
        return f"{scale.format(result.target)} validation {scale.label}"
    return f"a validation {scale.label} of {scale.format(result.target)}"


def describe_start(result: Outcome) -> str | None:
    """Return the trained network from which all rows start, with its score, as a sentence, or None."""
    score, scale = result.summary[0].start_score, result.scale
    if score is None:
        return None
    name = describe_network(result.options)
    return (
        f"All rows start from the trained network {name}, whose test {scale.label} is {scale.format(score)}."
    )


def describe_network(options: Mapping[str, Any]) -> str:
    """Return the name of the trained network, with the file of its weights if there is one."""
    weights = options["weights"]
    return escape_controls(f"{options['start']}{'' if weights is None else f' with the weights {weights}'}")


def describe_baseline(result: Outcome) -> str | None:
    """Return the share of the most frequent class and the chance level; None without classes."""
    baseline = find_baseline(result.data, result.summary)
    if baseline is None:
        return None
    return (
        f"Always predicting the most frequent class has an accuracy of {format_percent(baseline.majority)}%; "
        f"guessing each class equally often has {format_percent(baseline.chance)}% (chance level)."
    )


def list_notes(result: Outcome) -> list[str]:
    """Return what limits the results, as sentences."""
    rows = result.summary
    notes: list[str] = []
    if rows[0].metric == "accuracy" and result.data.task == "classification":
        point = format_points_per_image(result.data.test)
        notes.append(f"One test example changes the accuracy by {point} percentage points.")
    found = (
        describe_start(result),
        describe_baseline(result),
        describe_comparisons(rows, result.further),
        describe_spread(result),
        describe_limit(result),
        describe_missing(result),
    )
    return [*notes, *(note for note in found if note is not None)]


def describe_equal_scores(result: Outcome) -> str | None:
    """Return why some rows have no interval, as a sentence, or None if all have one."""
    if result.seeds < 2 or all(row.score_ci for row in result.summary):
        return None
    return "A row without ± has the same value with every seed."


def describe_spread(result: Outcome) -> str | None:
    """Return that simultaneous intervals assume the same spread, as a sentence, if it clearly differs."""
    scores = {
        row.base: [t.score for t in result.by_row[row.sharing]] for row in result.summary if not row.matches
    }
    if len(scores) < 3 or not have_unequal_spread(list(scores.values())):
        return None
    spreads = {name: stdev(values) for name, values in scores.items()}
    most, least = max(spreads, key=spreads.__getitem__), min(spreads, key=spreads.__getitem__)
    format_difference = result.scale.format_difference
    return (
        f"The spread over seeds differs between rows: the standard deviation is "
        f"{format_difference(spreads[most])} for {most} and {format_difference(spreads[least])} for {least}. "
        "Simultaneous intervals assume the same spread, so they are too narrow for rows with a larger one."
    )


def describe_limit(result: Outcome) -> str | None:
    """Return how many runs stopped at the epoch limit, as a sentence, or None if there are none."""
    stopped = sum(trial.hit_cap for trial in result.trials)
    if not stopped:
        return None
    limit = f"the {result.options['epochs_max']}-epoch limit"
    return f"{stopped} of {len(result.trials)} runs stopped at {limit} and may not have converged."


def describe_missing(result: Outcome) -> str | None:
    """Return how many trials are missing, as a sentence, or None if the study is finished."""
    planned = result.description.planned
    if len(result.trials) >= planned:
        return None
    return f"The study is not finished: {len(result.trials)} of {planned} trials have a result."


def count(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural.

    >>> count(1, "pixel"), count(2, "pixel")
    ('1 pixel', '2 pixels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join(names: list[str]) -> str:
    """Return names as an enumeration.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
