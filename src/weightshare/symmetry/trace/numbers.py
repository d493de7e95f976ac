"""Errors as numbers that JSON can represent."""

from math import isfinite


def replace_infinite(value: float | None) -> float | None:
    """Return None instead of a value that JSON cannot represent."""
    return value if value is not None and isfinite(value) else None
