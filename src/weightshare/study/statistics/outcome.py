"""What a study has measured, without the sentences about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..data import DataFacts
from ..description import Description
from ..spec import StudySpec
from ..summary import RowSummary, summarize
from ..trials.trial import Trial
from .scale import Scale

T = TypeVar("T", bound="Outcome")


@dataclass(frozen=True)
class Outcome:
    """What a study has measured: one summary per row, and all trials.

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
        cls: type[T],
        description: Description,
        trials: Sequence[Trial],
        spec: StudySpec | None = None,
        out: Path | None = None,
    ) -> T:
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
    def has_new_weights(self) -> bool:
        """Whether all rows start with new weights, and not with those of a trained network."""
        return self.options.get("start") is None

    def __getitem__(self, sharing: str) -> RowSummary:
        """Return the summary of the row with this name."""
        return {row.sharing: row for row in (*self.summary, *self.further)}[sharing]

    @cached_property
    def by_row(self) -> dict[str, list[Trial]]:
        """Trials of each row, in the order of their seeds."""
        rows = (*self.summary, *self.further)
        ordered = sorted(self.trials, key=lambda trial: trial.seed)
        return {row.sharing: [t for t in ordered if t.sharing == row.sharing] for row in rows}
