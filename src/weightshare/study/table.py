"""The table of a study, for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..views.escape import visible
from ..views.numbers import percent, percent_with, short

if TYPE_CHECKING:
    from .result import StudyResult

TEXT_WIDTH = 120


def as_table(result: StudyResult) -> Table:
    """One line a row; names from outside are text, never markup."""
    facts, seeds = result.data, result.spec.seeds
    height, width = facts.size
    title = (
        f"{facts.name}: {facts.train:,} images trained on, {facts.validation:,} held out, "
        f"{facts.test:,} tested; {height} x {width} pixels, {len(facts.class_names)} classes, "
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
    table.add_column("sharing", ratio=1, overflow="fold", min_width=12)
    shifts = list(result.summary[0].accuracy_shifted)
    heads = ("para-\nmeters", "mult-\nadds", "test\naccuracy", "train", *(f"shift\n{p} px" for p in shifts))
    for head in (*heads, "epochs\nto goal", "seconds"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in result.summary:
        table.add_row(
            Text(("  " if row.matches else "") + visible(row.sharing)),
            short(row.parameters),
            short(row.macs),
            percent_with(row.accuracy, row.accuracy_ci),
            percent(row.train_accuracy),
            *(percent(row.accuracy_shifted[p]) for p in shifts),
            "-" if row.epochs_to_target is None else f"{row.epochs_to_target:.0f}",
            f"{row.train_seconds:.1f}",
        )
    return table


def caption(result: StudyResult) -> str:
    """What the columns mean."""
    spread = " ± half the 95 % interval over seeds (Student's t)" if result.spec.seeds > 1 else ", one seed"
    capped = sum(row.hit_cap for row in result.summary)
    lines = [
        f"Accuracy in %{spread}; multiply-adds for one image;",
        "shift: test images moved by so many pixels, mean of up, down, left and right;",
        f"goal: {percent(result.target)} % of the validation images; seconds for one training.",
    ]
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
