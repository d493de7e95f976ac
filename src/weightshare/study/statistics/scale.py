"""How scores are written: in percent if the metric is a fraction, otherwise with significant digits."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, inf, log10

from ...views.figure import shorten
from ...views.numbers import format_percent, format_percent_interval, format_significant
from ..tasks import Metric

_LABELS = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "mean_iou": "mean IoU"}
_MAX_LABEL = 32


@dataclass(frozen=True)
class Scale:
    """The name and the direction of a metric, and how its values are written.

    Args:
        name: Name of the metric.
        lower_is_better: Whether lower values are better.
        is_fraction: Whether values are fractions, which are written in percent.

    Example:
        >>> accuracy, rmse = Scale("accuracy", False, True), Scale("rmse", True, False)
        >>> accuracy.heading, accuracy.format(0.9567), accuracy.format_difference(0.012)
        ('accuracy (%)', '95.7%', '1.2 points')
        >>> rmse.heading, rmse.format(12.345), rmse.format_interval(12.345, [12.3, 12.39])
        ('RMSE', '12.35', '12.345 ± 0.045')
    """

    name: str
    lower_is_better: bool
    is_fraction: bool

    @classmethod
    def from_metric(cls, metric: Metric) -> "Scale":
        """Return the scale of a metric."""
        return cls(metric.name, metric.lower_is_better, metric.is_fraction)

    @property
    def label(self) -> str:
        """Name of the metric in sentences."""
        return _LABELS.get(self.name) or shorten(self.name.replace("_", " "), _MAX_LABEL)

    @property
    def heading(self) -> str:
        """Name of the metric with its unit, for columns and axes."""
        return f"{self.label} (%)" if self.is_fraction else self.label

    @property
    def factor(self) -> float:
        """Factor from a value to the unit of the heading."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest possible value in the unit of the heading; infinite for unknown ones."""
        if self.is_fraction:
            return 0.0, self.factor
        return (0.0 if self.name in ("rmse", "mae") else -inf), (1.0 if self.name == "r2" else inf)

    @property
    def sign(self) -> int:
        """-1 if lower values are better, otherwise 1."""
        return -1 if self.lower_is_better else 1

    def choose_best(self, scores: Iterable[float]) -> float:
        """Return the best of several values."""
        return min(scores) if self.lower_is_better else max(scores)

    def format(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{format_percent(value)}%" if self.is_fraction else format_significant(value)

    def format_cell(self, value: float) -> str:
        """Return a value without its unit."""
        return self.format(value).removesuffix("%")

    def format_interval(self, value: float, ci: list[float] | None) -> str:
        """Return a value without its unit, with the half-width of its interval if there is one."""
        if self.is_fraction or ci is None:
            return format_percent_interval(value, ci) if self.is_fraction else format_significant(value)
        half = (ci[1] - ci[0]) / 2
        decimals = 1 - floor(log10(half))
        if not 0 <= decimals <= 6:
            return f"{format_significant(value)} ± {format_significant(half, 2)}"
        return f"{value:,.{decimals}f} ± {half:.{decimals}f}"

    def format_difference(self, value: float) -> str:
        """Return a difference of two values with its unit."""
        return f"{format_percent(value)} points" if self.is_fraction else format_significant(value, 3)
