"""Check the arguments of public functions, and convert them to one form."""

import difflib
import operator
from collections.abc import Iterable, Sequence
from math import inf
from numbers import Real
from typing import Any, TypeGuard

from .errors import ArgumentError

#: A spatial size: one int for all axes, or one per axis.
Size = int | Sequence[int]
#: Largest size, stride, dilation, padding and number of channels of a layer.
LARGEST = 2**31 - 1


def check_integer(where: str, name: str, value: object, least: int) -> int:
    """Return `value` as an int.

    Raises:
        ArgumentError: If the value is not an integer (booleans and floats are rejected), or is below `least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ArgumentError(where, f"{name} must be an integer", repr(value)) from None
    if number < least:
        raise ArgumentError(where, f"{name} must be at least {least}", str(number))
    return number


def check_amount(where: str, name: str, value: object, least: float = 0) -> float:
    """Return `value` as a float.

    Raises:
        ArgumentError: If the value is not a finite number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) < inf:
        raise ArgumentError(where, f"{name} must be a number of at least {least}", repr(value))
    return float(value)


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Return whether `value` is a sequence, such as a tuple, list or `torch.Size`, rather than a scalar."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def check_per_axis(where: str, name: str, value: object, ndim: int, least: int) -> tuple[int, ...]:
    """Return `value` as one int per axis; a scalar is repeated for each of the `ndim` axes.

    Raises:
        ArgumentError: If a tuple has another length, or an entry is not an integer of at least `least`.

    >>> check_per_axis("Conv2d", "stride", 2, ndim=2, least=1)
    (2, 2)
    """
    if not is_sequence(value):
        return (check_integer(where, name, value, least),) * ndim
    values = tuple(value)
    if len(values) != ndim:
        raise ArgumentError(
            where,
            f"{name} must be an integer or a tuple of length {ndim} (one entry per spatial axis)",
            str(values),
        )
    return tuple(check_integer(where, f"{name}[{axis}]", v, least) for axis, v in enumerate(values))


def check_scalar_or_per_axis(where: str, name: str, value: object, least: int) -> int | tuple[int, ...]:
    """Return an integer as an int, and a non-empty sequence as a tuple of ints.

    Raises:
        ArgumentError: If the sequence is empty, or an entry is not an integer of at least `least`.
    """
    if not is_sequence(value):
        return check_integer(where, name, value, least)
    if not value:
        raise ArgumentError(where, f"{name} must have one entry per spatial axis", "()")
    return check_per_axis(where, name, value, len(value), least)


def check_largest(where: str, **values: Any) -> None:
    """Raise `ArgumentError` if an integer, or one in nested tuples, is above `LARGEST`.

    >>> check_largest("Conv2d", stride=(2, 2), padding=((1, 1), (0, 2)))
    """
    for name, value in values.items():
        if is_sequence(value):
            for entry in value:
                check_largest(where, **{name: entry})
        elif value > LARGEST:
            raise ArgumentError(where, f"{name} must be at most {LARGEST:,}", f"{value:,}")


def format_size(size: Sequence[int]) -> str:
    """Return a size with its axes joined by "x".

    >>> format_size((55, 55))
    '55 x 55'
    """
    return " x ".join(map(str, size))


def did_you_mean(name: object, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return a hint that lists the known names closest to `name`, or `otherwise` if none is close.

    >>> did_you_mean("strid", ["stride", "padding"])
    "did you mean 'stride'?"
    """
    by_lower = {word.lower(): word for word in sorted(known)}  # "Conv2d" wins over "Conv2D"
    close = difflib.get_close_matches(str(name)[:100].lower(), by_lower, n=3, cutoff=0.5)
    names = ", ".join(repr(by_lower[word]) for word in close)
    return f"did you mean {names}?" if close else otherwise
