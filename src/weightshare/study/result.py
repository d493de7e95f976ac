"""The result of a study."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from .._version import __version__
from .data import DataFacts
from .description import Description
from .report.verdict import judge
from .scale import Scale
from .spec import StudySpec
from .summary import RowSummary, summarize
from .table import build_table, format_table
from .trials import Trial


@dataclass(frozen=True)
class StudyResult:
    """The result of a study: one summary per row, and all trials. `str` is the table.

    Args:
        description: What the study is: options, data, metric and rows.
        target: Validation score to reach in `epochs_to_target`.
        summary: One summary per row of the main table, in its order.
        trials: All trials.
        further: One summary per row of the further questions, such as "train_sizes".
        spec: Specification of the study; None if the result was read from records.
        out: Folder that holds records, results and report; None if nothing was written.
    """

    description: Description
    target: float
    summary: tuple[RowSummary, ...]
    trials: tuple[Trial, ...]
    further: tuple[RowSummary, ...] = ()
    spec: StudySpec | None = None
    out: Path | None = None

    @classmethod
    def from_trials(
        cls,
        description: Description,
        trials: Sequence[Trial],
        spec: StudySpec | None = None,
        out: Path | None = None,
    ) -> "StudyResult":
        """Return the result of the trials, of which there may be fewer than planned, but at least one."""
        target, rows = summarize(description.scale, description.rows, trials)
        main = tuple(row for row in rows if not row.question)
        further = tuple(row for row in rows if row.question)
        return cls(description, target, main, tuple(trials), further, spec, out)

    @property
    def data(self) -> DataFacts:
        """Facts about the data."""
        return self.description.data

    @property
    def options(self) -> dict[str, Any]:
        """Options of the study, as JSON values."""
        return self.description.options

    @property
    def scale(self) -> Scale:
        """Scale of the metric."""
        return self.description.scale

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len({trial.seed for trial in self.trials})

    @property
    def verdict(self) -> str:
        """What the study shows, in a few sentences."""
        return judge(self)

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
            "study": self.description.digest,
            "spec": self.options,
            "data": vars(self.data).copy(),
            "environment": self.trials[0].environment,
            "metric": self.scale.name,
            "lower_is_better": self.scale.lower_is_better,
            "verdict": self.verdict,
            "target_accuracy" if self.scale.name == "accuracy" else "target_score": self.target,
            "summary": [row.to_dict() for row in self.summary],
            "questions": [row.to_dict() for row in self.further],
        }

    def to_json(self) -> str:
        """Return the result as strict JSON, without NaN or infinity."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return format_table(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield build_table(self, options.max_width)
