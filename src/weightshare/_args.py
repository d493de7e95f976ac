"""Normalize arguments once, where they enter the package."""

import difflib
import operator
from collections.abc import Iterable, Sequence

from .errors import ArgumentError

Size = int | Sequence[int]


def integer(where: str, name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`; booleans and floats are refused."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(where, f"{name} must be an integer", repr(value)) from None
    if number < least:
        raise ArgumentError(where, f"{name} must be at least {least}", str(number))
    return number


def is_sequence(value: object) -> bool:
    """Whether `value` gives one entry an axis (a tuple, a list, a `torch.Size`) rather than a scalar."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def per_axis(where: str, name: str, value: object, ndim: int, least: int) -> tuple[int, ...]:
    """`value` as one int for each of `ndim` axes; a scalar means the same on every axis.

    >>> per_axis("Conv2d", "stride", 2, ndim=2, least=1)
    (2, 2)
    """
    if not is_sequence(value):
        return (integer(where, name, value, least),) * ndim
    values = tuple(value)  # type: ignore[arg-type]
    if len(values) != ndim:
        raise ArgumentError(
            where,
            f"{name} must be an integer or a tuple of length {ndim} (one entry per spatial axis)",
            str(values),
        )
    return tuple(integer(where, f"{name}[{axis}]", v, least) for axis, v in enumerate(values))


def times(size: Sequence[int]) -> str:
    """A size as people write it.

    >>> times((55, 55))
    '55 x 55'
    """
    return " x ".join(map(str, size))


def scalar_or_tuple(where: str, name: str, value: object, least: int) -> int | tuple[int, ...]:
    """`value` as an int, or as a tuple of ints where it gives one an axis."""
    if not is_sequence(value):
        return integer(where, name, value, least)
    if not value:
        raise ArgumentError(where, f"{name} must have one entry per spatial axis", "()")
    return per_axis(where, name, value, len(value), least)  # type: ignore[arg-type]


def did_you_mean(name: object, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return a hint that lists the known names closest to `name`, or `otherwise` if none is close.

    >>> did_you_mean("strid", ["stride", "padding"])
    "did you mean 'stride'?"
    """
    by_lower = {word.lower(): word for word in sorted(known)}  # of "Conv2D" and "Conv2d" the latter
    close = difflib.get_close_matches(str(name)[:100].lower(), by_lower, n=3, cutoff=0.5)
    names = ", ".join(repr(by_lower[word]) for word in close)
    return f"did you mean {names}?" if close else otherwise
