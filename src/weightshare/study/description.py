"""What a study is apart from its trials: stored with each record, so that records explain themselves."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, cast

from ..views.escape import escape_controls
from .data import DataFacts, Examples
from .rows import Row
from .scale import Scale
from .spec import StudySpec
from .summary import RowFacts
from .tasks import find_metric

_T = TypeVar("_T")


@dataclass(frozen=True)
class Description:
    """What a study is apart from its trials.

    Args:
        digest: Digest of the fixed options, the data and the version.
        options: Options as JSON values, as `StudySpec.to_dict` returns them, with a name that is safe to
            print.
        data: Facts about the data.
        scale: Scale of the metric.
        rows: Facts about each row.
        planned: Number of trials of the finished study.
    """

    digest: str
    options: dict[str, Any]
    data: DataFacts
    scale: Scale
    rows: tuple[RowFacts, ...]
    planned: int

    @classmethod
    def from_plan(cls, spec: StudySpec, examples: Examples, rows: Sequence[Row]) -> "Description":
        """Return the description of a study that is about to run."""
        return cls(
            spec.digest(examples.digest),
            {**spec.to_dict(), "data": escape_controls(spec.name)},
            DataFacts.from_examples(examples),
            Scale.from_metric(find_metric(spec.metric, examples.task)),
            tuple(map(RowFacts.from_row, rows)),
            spec.seeds * len(rows),
        )

    def to_record(self, sharing: str) -> dict[str, Any]:
        """Return what is stored with each trial of a row, as JSON values."""
        row = next(row for row in self.rows if row.sharing == sharing)
        return {
            "options": self.options,
            "data": asdict(self.data),
            "scale": asdict(self.scale),
            "row": asdict(row),
            "planned": self.planned,
        }


def parse_facts(kind: type[_T], given: dict[str, Any]) -> _T:
    """Return a dataclass of facts from JSON values. Other keys are ignored, and lists become tuples.

    Raises:
        KeyError, TypeError: If a field is missing.

    >>> parse_facts(Scale, {"name": "rmse", "lower_is_better": True, "is_fraction": False, "new": 1})
    Scale(name='rmse', lower_is_better=True, is_fraction=False)
    """
    values = {one.name: given[one.name] for one in fields(cast(Any, kind))}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
