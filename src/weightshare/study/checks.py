"""Checks of values that are read back from `records.jsonl`."""

from math import isfinite
from typing import Any

import numpy as np


def check_number(value: Any) -> float:
    """Return a finite number as a float. Raise a TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not isfinite(value):
        raise ValueError
    return float(value)


def check_array(nested: Any, ndim: int) -> tuple[int, ...]:
    """Return the shape of nested lists of finite numbers. Raise a ValueError for anything else."""
    array = np.array(nested)
    if array.ndim != ndim or array.dtype.kind not in "if" or not np.isfinite(array).all():
        raise ValueError
    return array.shape
