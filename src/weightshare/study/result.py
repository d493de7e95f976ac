"""The result of a study."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from .._version import __version__
from ..views.escape import escape_controls
from .data import DataFacts
from .spec import StudySpec
from .summary import RowSummary
from .table import build_table, format_table
from .trials import Trial


@dataclass(frozen=True)
class StudyResult:
    """The result of a study: one summary per row, and all trials. `str` is the table.

    Args:
        spec: Specification of the study.
        data: Facts about the data.
        target: Validation score to reach in `epochs_to_target`.
        summary: One summary per row of the main table, in its order.
        trials: All trials.
        out: Folder that holds records, results and report; None if nothing was written.
        further: One summary per row of the further questions, such as "train_sizes".
    """

    spec: StudySpec
    data: DataFacts
    target: float
    summary: tuple[RowSummary, ...]
    trials: tuple[Trial, ...]
    out: Path | None = None
    further: tuple[RowSummary, ...] = ()

    def __getitem__(self, sharing: str) -> RowSummary:
        """Return the summary of the row with this name."""
        return {row.sharing: row for row in (*self.summary, *self.further)}[sharing]

    @cached_property
    def by_row(self) -> dict[str, list[Trial]]:
        """Trials of each row, in the order of their seeds."""
        rows = (*self.summary, *self.further)
        ordered = sorted(self.trials, key=lambda trial: trial.seed)
        return {row.sharing: [t for t in ordered if t.sharing == row.sharing] for row in rows}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `results.json`."""
        return {
            "version": __version__,
            "study": self.spec.digest(self.data.digest),
            "spec": {**self.spec.to_dict(), "data": escape_controls(self.spec.name)},
            "data": vars(self.data).copy(),
            "environment": self.trials[0].environment,
            "metric": self.summary[0].metric,
            "target_accuracy" if self.summary[0].metric == "accuracy" else "target_score": self.target,
            "summary": [row.to_dict() for row in self.summary],
            "questions": [row.to_dict() for row in self.further],
        }

    def to_json(self) -> str:
        """Return the result as strict JSON, without NaN or infinity."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return format_table(self.spec, self.data, self.target, self.summary)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield build_table(self.spec, self.data, self.target, self.summary, options.max_width)
