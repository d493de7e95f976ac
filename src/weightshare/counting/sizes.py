"""Input sizes: parsing, splitting into channels and spatial size, and formatting."""

from collections.abc import Sequence

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, ShapeError, SpecError

#: Largest number allowed in a layer or an input size. Counts themselves are exact at any size.
MAX_NUMBER = 10**9

#: An input size with channels, by number of spatial axes.
EXAMPLES = {0: "1024", 1: "3x227", 2: "3x227x227", 3: "3x16x112x112"}


def split_size(where: str, ndim: int, input_size: object) -> tuple[int | None, tuple[int, ...]]:
    """Return the channels (None if not given) and the spatial size of an input size.

    >>> split_size("Conv2d", 2, (3, 227, 227)), split_size("Conv2d", 2, 227)
    ((3, (227, 227)), (None, (227, 227)))
    """
    if not is_sequence(input_size):
        number = check_number(where, "input_size", input_size)
        return (number, ()) if ndim == 0 else (None, (number,) * ndim)
    values = tuple(check_number(where, f"input_size[{i}]", v) for i, v in enumerate(input_size))
    if len(values) == ndim:
        return None, values
    if len(values) == ndim + 1:
        return values[0], values[1:]
    lengths = f"{ndim} (the spatial size) or {ndim + 1} (channels first)" if ndim else "1 (the features)"
    raise ShapeError(
        where,
        f"input_size must have length {lengths}",
        format_compact_size(values) or "()",
        "leave out the batch size" if len(values) == ndim + 2 else f"use e.g. {EXAMPLES[ndim]}",
    )


def check_number(where: str, name: str, value: object) -> int:
    """Return `value` as an int from 1 to `MAX_NUMBER`."""
    number = check_integer(where, name, value, least=1)
    if number > MAX_NUMBER:
        raise ArgumentError(where, f"{name} must be at most {MAX_NUMBER:,}", "a larger number")
    return number


def format_compact_size(size: Sequence[int]) -> str:
    """Format a size as on the command line.

    >>> format_compact_size((3, 227, 227))
    '3x227x227'
    """
    return "x".join(map(str, size))


def read_size(text: str) -> int | tuple[int, ...]:
    """Parse a size as written on the command line.

    >>> read_size("3x227x227"), read_size("32")
    ((3, 227, 227), 32)
    """
    parts = text.strip().replace(",", "x").replace("X", "x").split("x") if len(text) <= 100 else []
    if not parts or not all(p.isascii() and p.isdigit() for p in map(str.strip, parts)):
        raise SpecError(
            "input size",
            'must be integers joined by "x"',
            repr(text[:60]),
            "use e.g. 3x227x227 or 227x227",
        )
    sizes = tuple(check_number("input size", f"number {i + 1}", int(part)) for i, part in enumerate(parts))
    return sizes[0] if len(sizes) == 1 else sizes
