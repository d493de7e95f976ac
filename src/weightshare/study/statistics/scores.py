"""Scores under the name of the metric: "accuracy" and the like instead of "score", if that is the metric."""

from dataclasses import asdict
from typing import Any, cast

ACCURACY = "accuracy"
#: A field whose name has "score" in it, but that is not a value of the metric.
_OTHER = "class_scores"


class Scored:
    """Base of dataclasses with scores. With the metric "accuracy", `x.accuracy` is `x.score`, and so on."""

    metric: str

    def __getattr__(self, name: str) -> Any:
        """Return the score called "accuracy", if that is the metric."""
        if ACCURACY in name and vars(self).get("metric") == ACCURACY:
            return vars(self)[name.replace(ACCURACY, "score")]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the names of the metric."""
        values = asdict(cast(Any, self))
        return {to_key(name, self.metric): value for name, value in values.items()}


def to_key(field: str, metric: str) -> str:
    """Return the key of a field in JSON.

    >>> to_key("score_shifted", "accuracy"), to_key("score_shifted", "rmse")
    ('accuracy_shifted', 'score_shifted')
    """
    return field.replace("score", ACCURACY) if metric == ACCURACY and field != _OTHER else field
