"""The result of a study."""

import json
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from .._version import __version__
from .report.table import build_table, format_table
from .report.verdict import judge
from .statistics.outcome import Outcome


class StudyResult(Outcome):
    """The result of a study: its outcome with its verdict. `str` is the table."""

    @property
    def verdict(self) -> str:
        """What the study shows, in a few sentences."""
        return judge(self)

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
