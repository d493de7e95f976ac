"""The further questions of a study, each with its rows ordered by setting."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..summary import RowSummary
from .outcome import Outcome


@dataclass(frozen=True)
class Question:
    """A further question, which is asked by an option.

    Args:
        option: Name of the option.
        title: Heading of its section.
        axis: Name of its settings, for an axis.
        main: Setting of the rows of the main table.
        is_log: Whether the axis is logarithmic.
        compares_settings: Whether each row is compared with itself in the main table; otherwise, the rows
            with the same setting are compared with each other.
    """

    option: str
    title: str
    axis: str
    main: str
    is_log: bool = False
    compares_settings: bool = False


QUESTIONS = (
    Question("train_sizes", "Fewer training examples", "training examples", "all", is_log=True),
    Question("widths", "Other widths", "width in channels", "width {width}", is_log=True),
    Question("augment", "Random shifts in training", "largest random shift in training", "none"),
    Question("layers", "Layers that share less", "layers", "all of them", compares_settings=True),
    Question(
        "schedules",
        "Full sharing at the start",
        "epochs with full sharing at the start",
        "none",
        compares_settings=True,
    ),
)


@dataclass(frozen=True)
class Answered:
    """A question with the rows that answer it.

    Args:
        question: The question.
        settings: Each setting, that of the main table included.
        values: Position of each setting on an axis; for layers, which have none, its number.
        rows: For each row of the main table, by name, the row with each setting; None if it has no trials.
    """

    question: Question
    settings: tuple[str, ...]
    values: tuple[int, ...]
    rows: dict[str, tuple[RowSummary | None, ...]]


def collect_answered(result: Outcome) -> list[Answered]:
    """Return the questions that a study was asked, in a fixed order."""
    return [
        _collect(question, result, asked)
        for question in QUESTIONS
        if (asked := [row for row in result.further if row.question == question.option])
    ]


def _collect(question: Question, result: Outcome, asked: Sequence[RowSummary]) -> Answered:
    width = result.options["width"]
    settings = {row.setting: _find_number(row.setting) for row in asked}
    if question.option == "layers":
        settings = {setting: number for number, setting in enumerate(settings, 1)}
    value = {"train_sizes": result.data.train, "widths": width}.get(question.option, 0)
    main = question.main.format(width=width)
    ordered = sorted({**settings, main: value}.items(), key=lambda item: item[1])
    by_place = {(row.base, row.setting): row for row in asked}
    by_place |= {(row.sharing, main): row for row in result.summary}
    names = dict.fromkeys(row.base for row in asked)
    return Answered(
        question,
        tuple(setting for setting, _ in ordered),
        tuple(number for _, number in ordered),
        {name: tuple(by_place.get((name, setting)) for setting, _ in ordered) for name in names},
    )


def _find_number(setting: str) -> int:
    """Return the number in a setting such as "300 examples"; 0 without one."""
    found = re.search(r"\d+", setting)
    return int(found[0]) if found else 0
