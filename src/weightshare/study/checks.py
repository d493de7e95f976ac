"""Checks of values that are read back from `records.jsonl`."""

from dataclasses import fields
from math import isfinite
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

#: Largest integer in a record.
LARGEST = 2**63 - 1


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


def check_fields(facts: Any) -> None:
    """Raise a TypeError if a field of a dataclass has another type than it declares."""
    hints = get_type_hints(type(facts))
    if not all(has_type(getattr(facts, one.name), hints[one.name]) for one in fields(facts)):
        raise TypeError


def has_type(value: Any, hint: Any) -> bool:
    """Return whether a value has this type, including the types of its elements. Integers are floats, too.

    >>> has_type((1, 2), tuple[int, ...]), has_type({"a": "b"}, dict[str, float]), has_type(True, int)
    (True, False, False)
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is UnionType:
        return any(has_type(value, one) for one in arguments)
    if kind is float:
        return type(value) is float or has_type(value, int)
    if kind is int:
        return type(value) is int and abs(value) <= LARGEST
    elements = value.values() if isinstance(value, dict) else value
    return isinstance(value, kind) and (
        not arguments or all(has_type(v, arguments[-1 if kind is dict else 0]) for v in elements)
    )
