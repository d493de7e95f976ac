"""The table of a study, for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...views.escape import visible
from ...views.numbers import percent, percent_with, short, short_points
from ..summary import comparisons

if TYPE_CHECKING:
    from ..result import StudyResult

TEXT_WIDTH = 120
NAME_WIDTH = 24  # what is left for the names before columns are dropped


def as_table(result: StudyResult, width: int = TEXT_WIDTH) -> Table:
    """One line a row, where the width allows it; names from outside are text, never markup.

    Multiply-adds, seconds and the shifts in the middle give way to the names where the width is small.
    """
    facts, seeds = result.data, result.spec.seeds
    size = facts.size
    title = (
        f"{facts.name}: {facts.train:,} images trained on, {facts.validation:,} held out, "
        f"{facts.test:,} tested; {size[0]} x {size[1]} pixels, {len(facts.class_names)} classes, "
        f"{seeds} seed{'s' * (seeds > 1)}"
    )
    table = Table(
        title=Text(visible(title)),
        caption=Text(caption(result)),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    columns = fitting(_columns(result), width)
    table.add_column("sharing", ratio=1, overflow="fold", min_width=12)
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for row, *cells in zip(result.summary, *columns.values()):
        table.add_row(Text(("  " if row.matches else "") + visible(row.sharing)), *cells)
    return table


def _columns(result: StudyResult) -> dict[str, list[str]]:
    """Every column of numbers under its head."""
    rows = result.summary
    shifts = {
        f"shift\n{pixels} px": [percent(row.accuracy_shifted[pixels]) for row in rows]
        for pixels in rows[0].accuracy_shifted
    }
    epochs = [row.epochs_to_target for row in rows]
    return {
        "para-\nmeters": [short(row.parameters) for row in rows],
        "mult-\nadds": [short(row.macs) for row in rows],
        "test\naccuracy": [percent_with(row.accuracy, row.accuracy_ci) for row in rows],
        "train": [percent(row.train_accuracy) for row in rows],
        **shifts,
        "epochs\nto goal": ["-" if epoch is None else f"{epoch:.0f}" for epoch in epochs],
        "seconds": [f"{row.train_seconds:.1f}" for row in rows],
    }


def fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """The columns that leave room for names in so many characters."""
    shifts = [head for head in columns if head.startswith("shift")]
    droppable = ["mult-\nadds", "seconds", *shifts[1:-1]]
    kept = dict(columns)
    while NAME_WIDTH + 3 + sum(map(_width, kept.items())) > width and droppable:
        del kept[droppable.pop(0)]
    return kept


def _width(column: tuple[str, list[str]]) -> int:
    """Characters of a column, the two spaces between it and the next included."""
    head, cells = column
    return 2 + max(map(len, (*head.split("\n"), *cells)))


def caption(result: StudyResult) -> str:
    """What the columns mean."""
    many = result.spec.seeds > 1
    spread = " ± half the 95 % interval over seeds, not over test images" if many else ", one seed"
    capped = sum(row.hit_cap for row in result.summary)
    lines = [
        f"Accuracy in %{spread};",
        f"one test image is worth {short_points(result.data.test)} points; multiply-adds for one image;",
        "shift: test images moved by so many pixels, mean of up, down, left and right;",
        f"goal: {percent(result.target)} % of the validation images; seconds for one training.",
    ]
    if many and (number := comparisons(result.summary)):
        lines.append(f"The report makes about {number} comparisons at 95 %: one in twenty may be chance.")
    if capped:
        lines.append(
            f"{capped} of {len(result.trials)} trainings met the cap of {result.spec.epochs_max} epochs: "
            "they might still improve."
        )
    return "\n".join(lines)


def as_text(result: StudyResult) -> str:
    """The table as plain text."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None)
    console.print(as_table(result))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())
