"""The table of a study, for a terminal."""

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..views.escape import escape_controls
from ..views.numbers import abbreviate, format_percent, format_percent_interval, format_points_per_image
from .comparisons import describe_comparisons
from .data import DataFacts
from .spec import StudySpec
from .summary import RowSummary

TEXT_WIDTH = 120
NAME_WIDTH = 24  # columns are dropped until the names have this many characters


def build_table(
    spec: StudySpec, data: DataFacts, target: float, rows: Sequence[RowSummary], width: int = TEXT_WIDTH
) -> Group:
    """Return the table with its title and caption. Names are shown as plain text, never as markup.

    If `width` is too small, MACs, seconds and the middle shifts are left out.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns = fit_columns(_make_columns(rows), width)
    table.add_column("\nsharing", ratio=1, overflow="fold", min_width=12)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row, *cells in zip(rows, *columns.values()):
        table.add_row(Text(("  " if row.matches else "") + escape_controls(row.sharing)), *cells)
    return Group(Text(describe_data(spec, data)), table, Text(describe_columns(spec, data, target, rows)))


def format_table(spec: StudySpec, data: DataFacts, target: float, rows: Sequence[RowSummary]) -> str:
    """Return the table as plain text."""
    text = io.StringIO()
    console = Console(file=text, width=TEXT_WIDTH, color_system=None)
    console.print(build_table(spec, data, target, rows))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def describe_data(spec: StudySpec, data: DataFacts) -> str:
    """Return the title of the table: split sizes, image size, classes and seeds."""
    return escape_controls(
        f"{data.name}: {data.train:,} training, {data.validation:,} validation and "
        f"{data.test:,} test images; "
        f"{data.size[0]} x {data.size[1]} pixels, {len(data.class_names)} classes, "
        f"{spec.seeds} seed{'s' * (spec.seeds > 1)}"
    )


def describe_columns(spec: StudySpec, data: DataFacts, target: float, rows: Sequence[RowSummary]) -> str:
    """Return the caption of the table: what the columns mean, and what limits the results."""
    spread = " ± half-width of the 95% CI over seeds (not over test images)" if spec.seeds > 1 else ""
    lines = [
        f"Accuracy (%){spread}; one test image = {format_points_per_image(data.test)} percentage points.",
        "MACs: per image; shift: mean accuracy on test images shifted up, down, left and right.",
        f"epochs to target: epochs to reach {format_percent(target)}% validation accuracy; "
        "seconds: per training run.",
    ]
    if comparisons := describe_comparisons(rows):
        lines.append(comparisons)
    if limit := describe_limit(spec, rows):
        lines.append(limit)
    return "\n".join(lines)


def describe_limit(spec: StudySpec, rows: Sequence[RowSummary]) -> str | None:
    """Return how many runs stopped at the epoch limit, as a sentence, or None if there are none."""
    stopped = sum(row.hit_cap for row in rows)
    if not stopped:
        return None
    runs = sum(row.seeds for row in rows)
    limit = f"the {spec.epochs_max}-epoch limit"
    return f"{stopped} of {runs} runs stopped at {limit} and may not have converged."


def fit_columns(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Return the columns that leave enough of `width` for the names."""
    shifts = [heading for heading in columns if heading.startswith("shift")]
    droppable = ["\nMACs", "\nseconds", *shifts[1:-1]]
    fitting = dict(columns)
    while NAME_WIDTH + 3 + sum(map(_column_width, fitting.items())) > width and droppable:
        del fitting[droppable.pop(0)]
    return fitting


def _make_columns(rows: Sequence[RowSummary]) -> dict[str, list[str]]:
    """Return the cells of each column of numbers by its heading."""
    shifts = {
        f"shift\n{pixels} px": [format_percent(row.score_shifted[pixels]) for row in rows]
        for pixels in rows[0].score_shifted
    }
    epochs = [row.epochs_to_target for row in rows]
    return {
        "para-\nmeters": [abbreviate(row.parameters) for row in rows],
        "\nMACs": [abbreviate(row.macs) for row in rows],
        "test\naccuracy": [format_percent_interval(row.score, row.score_ci) for row in rows],
        "training\naccuracy": [format_percent(row.train_score) for row in rows],
        **shifts,
        "epochs\nto target": ["-" if epoch is None else f"{epoch:.0f}" for epoch in epochs],
        "\nseconds": [f"{row.train_seconds:.1f}" for row in rows],
    }


def _column_width(column: tuple[str, list[str]]) -> int:
    """Return the width of a column in characters, including the two spaces after it."""
    heading, cells = column
    return 2 + max(map(len, (*heading.split("\n"), *cells)))
