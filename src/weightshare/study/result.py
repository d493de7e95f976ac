"""What a study found."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .._version import __version__
from ..views.escape import visible
from .report.table import as_text
from .spec import StudySpec
from .summary import RowSummary
from .trials import Trial


@dataclass(frozen=True)
class DataFacts:
    """The data of a study in numbers, as results and report name them; names are safe to show.

    Args:
        name: What the data are called.
        digest: Tells these images, labels and splits from others.
        channels, size: Of an image.
        class_names: One a label.
        train, validation, test: Numbers of images.
    """

    name: str
    digest: str
    channels: int
    size: tuple[int, int]
    class_names: tuple[str, ...]
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class StudyResult:
    """What a study found: one summary a row, and every trial behind it. Its text is the table.

    Args:
        spec: What was asked.
        data: On which images.
        target: The validation accuracy that `epochs_to_target` counts to.
        summary: One entry a row, in the order of the table.
        trials: All trials.
        out: The folder that was written to; None where nothing was.
    """

    spec: StudySpec
    data: DataFacts
    target: float
    summary: tuple[RowSummary, ...]
    trials: tuple[Trial, ...]
    out: Path | None = None

    def __getitem__(self, sharing: str) -> RowSummary:
        """The summary of a row by its name."""
        return {row.sharing: row for row in self.summary}[sharing]

    @cached_property
    def by_row(self) -> dict[str, list[Trial]]:
        """The trials of every row, in the order of their seeds."""
        ordered = sorted(self.trials, key=lambda trial: trial.seed)
        return {row.sharing: [t for t in ordered if t.sharing == row.sharing] for row in self.summary}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what `results.json` holds."""
        return {
            "version": __version__,
            "study": self.spec.digest(self.data.digest),
            "spec": {**self.spec.to_dict(), "data": visible(self.spec.data)},
            "data": vars(self.data).copy(),
            "target_accuracy": self.target,
            "summary": [row.to_dict() for row in self.summary],
        }

    def to_json(self) -> str:
        """Strict JSON: no NaN, no infinity."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def __str__(self) -> str:
        return as_text(self)
