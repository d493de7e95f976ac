"""The table of a study, for a terminal."""

import io

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...views.escape import escape_controls
from ...views.numbers import abbreviate
from ..statistics.outcome import Outcome
from ..statistics.questions import Answered, collect_answered
from ..statistics.scale import Scale
from . import words
from .verdict import judge

TEXT_WIDTH = 120
NAME_WIDTH = 24  # with more columns than fit beside such names, a table has several parts
LEAST_NAME_WIDTH = 12


def build_table(result: Outcome, width: int = TEXT_WIDTH) -> Group:
    """Return the title, the verdict, the table and its caption. Names are shown as plain text.

    A table that is wider than `width` has several parts, each with the names.
    """
    names = [("  " if row.matches else "") + row.sharing for row in result.summary]
    parts: list[RenderableType] = [
        Text(escape_controls(describe_title(result))),
        Text(),
        Text(escape_controls(judge(result))),
        *_build_parts(names, _make_columns(result), width),
        Text(describe_columns(result)),
    ]
    for answered in collect_answered(result):
        heading = f"{answered.question.title}: test {result.scale.heading} by {answered.question.axis}"
        columns = _make_settings(answered, result.scale)
        parts += [Text(f"\n{heading}"), *_build_parts(list(answered.rows), columns, width)]
    return Group(*parts)


def format_table(result: Outcome) -> str:
    """Return the table as plain text."""
    text = io.StringIO()
    console = Console(file=text, width=TEXT_WIDTH, color_system=None)
    console.print(build_table(result))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def describe_title(result: Outcome) -> str:
    """Return the title of the table: name and sizes of the data, and the number of seeds."""
    return (
        f"{result.data.name}: {words.describe_data(result.data)}, "
        f"{words.count(result.options['seeds'], 'seed')}"
    )


def describe_columns(result: Outcome) -> str:
    """Return the caption of the table: what the columns mean, and what limits the results."""
    heading, data = result.scale.heading, result.data
    spread = " ± half-width of the 95% CI over seeds (not over test examples)" if result.seeds > 1 else ""
    better = "; lower is better" if result.scale.lower_is_better else ""
    target = f"epochs to target: epochs to {words.describe_target(result)}; "
    lines = [
        f"{heading[:1].upper()}{heading[1:]}{spread}{better}.",
        f"MACs: per example; {target if result.has_new_weights else ''}seconds: per training run.",
    ]
    if equal := words.describe_equal_scores(result):
        lines.append(equal)
    if result.summary[0].score_shifted:
        lines.append(f"shift: mean over {words.describe_shifts(data)}.")
    if "seeds needed" in judge(result):
        lines.append(
            "Seeds needed: an estimate; with so many, a difference of this size is clear with a probability "
            "of 80%."
        )
    notes = () if result.has_new_weights else data.notes
    return "\n".join([*lines, *words.list_notes(result), *notes])


def split_columns(columns: dict[str, list[str]], width: int) -> list[dict[str, list[str]]]:
    """Return the columns in parts that fit in `width`, in order; each part has at least one column."""
    parts: list[dict[str, list[str]]] = [{}]
    left = width
    for heading, cells in columns.items():
        needed = 2 + max(map(len, (*heading.split("\n"), *cells)))
        if parts[-1] and needed > left:
            parts.append({})
        if not parts[-1]:
            left = width
        parts[-1][heading] = cells
        left -= needed
    return parts


def _build_parts(names: list[str], columns: dict[str, list[str]], width: int) -> list[Table]:
    longest = max(LEAST_NAME_WIDTH, *(len(escape_controls(name)) for name in names))
    parts = split_columns(columns, width - min(longest, NAME_WIDTH) - 3)
    return [_build_part(names, part) for part in parts]


def _build_part(names: list[str], columns: dict[str, list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    lines = max(heading.count("\n") for heading in columns)
    table.add_column(lines * "\n" + "sharing", ratio=1, overflow="fold", min_width=LEAST_NAME_WIDTH)
    for heading in columns:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for name, *cells in zip(names, *columns.values()):
        table.add_row(Text(escape_controls(name)), *map(Text, cells))
    return table


def _make_columns(result: Outcome) -> dict[str, list[str]]:
    """Return the cells of each column of numbers by its heading."""
    rows, scale = result.summary, result.scale
    has_pixels = words.get_shift_unit(result.data) == "px"
    shifts = {
        f"shift\n{amount} px" if has_pixels else f"shift\nby {amount}": [
            scale.format_cell(row.score_shifted[amount]) for row in rows
        ]
        for amount in rows[0].score_shifted
    }
    counts = ["-" if row.epochs_to_target is None else f"{row.epochs_to_target:.0f}" for row in rows]
    epochs = {"epochs\nto target": counts} if result.has_new_weights else {}
    return {
        "para-\nmeters": [abbreviate(row.parameters) for row in rows],
        "\nMACs": [abbreviate(row.macs) for row in rows],
        f"test\n{scale.label}": [scale.format_interval(row.score, row.score_ci) for row in rows],
        f"training\n{scale.label}": [scale.format_cell(row.train_score) for row in rows],
        **shifts,
        **epochs,
        "\nseconds": [f"{row.train_seconds:.1f}" for row in rows],
    }


def _make_settings(answered: Answered, scale: Scale) -> dict[str, list[str]]:
    """Return the scores of each row by setting."""
    return {
        escape_controls(setting): [
            "-" if row is None else scale.format_interval(row.score, row.score_ci) for row in rows
        ]
        for setting, rows in zip(answered.settings, zip(*answered.rows.values()))
    }
