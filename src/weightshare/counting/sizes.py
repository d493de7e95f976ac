"""Input sizes: parsing, splitting into channels and spatial size, and formatting."""

import re
from collections.abc import Sequence

from .._args import check_integer, is_sequence
from ..errors import ArgumentError, ShapeError, SpecError
from .block import Shape

#: Largest number allowed in a layer or an input size. Counts themselves are exact at any size.
MAX_NUMBER = 10**9

#: Maximum number of characters of an input size.
MAX_TEXT = 100

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
        "leave out the batch size" if ndim and len(values) == ndim + 2 else f"use e.g. {EXAMPLES[ndim]}",
    )


def check_shape(where: str, name: str, size: object) -> Shape:
    """Return a size as a tuple of integers from 1 to `MAX_NUMBER`, and None where it is not known.

    >>> check_shape("Conv2D", "input_shape", [None, None, 3])
    (None, None, 3)
    """
    values = tuple(size) if is_sequence(size) else (size,)
    if not values:
        raise ArgumentError(where, f"{name} must have at least one number", "()")
    return tuple(None if n is None else check_number(where, f"{name}[{i}]", n) for i, n in enumerate(values))


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
    """Parse a size as written on the command line or in code.

    >>> read_size("3x227x227"), read_size("(3, 227, 227)"), read_size("32")
    ((3, 227, 227), (3, 227, 227), 32)
    """
    size = read_shape(text)
    if any(n is None for n in size):
        raise _not_a_size(text)
    known = tuple(n for n in size if n is not None)
    return known[0] if len(known) == 1 else known


def read_shape(text: str) -> Shape:
    """Parse a size of which parts may be unknown.

    >>> read_shape("(None, None, 3)")
    (None, None, 3)
    """
    bare = text.strip() if len(text) <= MAX_TEXT else ""
    if bare.startswith("torch.Size(") and bare.endswith(")"):
        bare = bare.removeprefix("torch.Size(")[:-1]
    if bare[:1] + bare[-1:] in ("()", "[]"):
        bare = bare[1:-1].strip().removesuffix(",")
    parts = [part.strip() for part in re.split("[xX×,]", bare)]
    if not all(part == "None" or (part.isascii() and part.isdigit()) for part in parts):
        raise _not_a_size(text)
    numbers = enumerate(None if part == "None" else int(part) for part in parts)
    return tuple(None if n is None else check_number("input size", f"number {i + 1}", n) for i, n in numbers)


def _not_a_size(text: str) -> SpecError:
    return SpecError(
        "input size", 'must be integers joined by "x"', repr(text[:60]), "use e.g. 3x227x227 or 227x227"
    )
