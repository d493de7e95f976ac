"""What a study is apart from its trials: stored with each record, so that records explain themselves."""

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, cast

from ..views.escape import escape_controls
from ._plan import Plan
from .checks import check_fields
from .data import DataFacts
from .statistics.scale import Scale
from .summary import RowFacts
from .tasks import Metric

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
        keys: Key of each row, in the same order.
        planned: Number of trials of the finished study.
    """

    digest: str
    options: dict[str, Any]
    data: DataFacts
    scale: Scale
    rows: tuple[RowFacts, ...]
    keys: tuple[str, ...]
    planned: int

    @classmethod
    def from_plan(cls, plan: Plan, metric: Metric) -> "Description":
        """Return the description of a planned study."""
        return cls(
            plan.spec.digest(plan.data.digest, plan.start_digest),
            {**plan.spec.to_dict(), "data": escape_controls(plan.spec.name)},
            plan.data,
            Scale.from_metric(metric),
            tuple(map(RowFacts.from_row, plan.rows)),
            tuple(row.key for row in plan.rows),
            plan.trials,
        )

    def to_record(self, sharing: str) -> dict[str, Any]:
        """Return what is stored with each trial of a row, as JSON values."""
        row = next(row for row in self.rows if row.sharing == sharing)
        return {
            "options": self.options,
            "data": asdict(self.data),
            "scale": asdict(self.scale),
            "row": asdict(row),
            "rows": list(self.keys),
            "planned": self.planned,
        }


def parse_facts(kind: type[_T], given: dict[str, Any]) -> _T:
    """Return a dataclass of facts from JSON values. Other keys are ignored, and lists become tuples.

    Raises:
        KeyError, TypeError: If a field is missing or has another type.

    >>> parse_facts(Scale, {"name": "rmse", "lower_is_better": True, "is_fraction": False, "new": 1})
    Scale(name='rmse', lower_is_better=True, is_fraction=False)
    """
    values = {one.name: given[one.name] for one in fields(cast(Any, kind))}
    facts = kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    check_fields(facts)
    return facts
