"""Checks of values that are read back from `records.jsonl`."""

from math import isfinite
from typing import Any

import numpy as np


def check_number(value: Any, most: float | None = None) -> None:
    """Raise a TypeError or ValueError unless a value is a finite number, and from 0 to `most` if given."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not isfinite(value) or (most is not None and not 0 <= value <= most):
        raise ValueError


def check_array(nested: Any, ndim: int) -> tuple[int, ...]:
    """Return the shape of nested lists of finite numbers. Raise a ValueError for anything else."""
    array = np.array(nested)
    if array.ndim != ndim or array.dtype.kind not in "if" or not np.isfinite(array).all():
        raise ValueError
    return array.shape
