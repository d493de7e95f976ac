"""Input sizes: split into channels and space, bounded, written as text."""

from collections.abc import Sequence
from math import prod

from .._args import integer, is_sequence
from ..errors import ArgumentError, ShapeError, SpecError

#: No single number of a spec or an input size may be larger; counts themselves are exact at any size.
MAX_NUMBER = 10**9


def split_size(where: str, ndim: int, input_size: object) -> tuple[int | None, tuple[int, ...]]:
    """Channels (None where not given) and spatial size of an input size.

    >>> split_size("Conv2d", 2, (3, 227, 227)), split_size("Conv2d", 2, 227)
    ((3, (227, 227)), (None, (227, 227)))
    """
    if not is_sequence(input_size):
        number = bounded(where, "input_size", input_size)
        return (number, ()) if ndim == 0 else (None, (number,) * ndim)
    values = tuple(bounded(where, f"input_size[{i}]", v) for i, v in enumerate(input_size))  # type: ignore
    if len(values) == ndim:
        return None, values
    if len(values) == ndim + 1:
        return values[0], values[1:]
    spatial = f"{ndim} (the spatial size) or {ndim + 1} (channels in front)" if ndim else "1 (its features)"
    raise ShapeError(
        where,
        f"input_size must have {spatial} numbers",
        f"{len(values)}: {size_text(values)}",
        "leave out the batch" if len(values) == ndim + 2 else f"write it as in {'3x32x32'[: 1 + 3 * ndim]}",
    )


def bounded(where: str, name: str, value: object) -> int:
    """`value` as an int from 1 to `MAX_NUMBER`."""
    number = integer(where, name, value, least=1)
    if number > MAX_NUMBER:
        raise ArgumentError(
            where, f"{name} must be at most {MAX_NUMBER:,}", "a larger number", "use a smaller one"
        )
    return number


def size_text(size: Sequence[int]) -> str:
    """A size as the command line takes it.

    >>> size_text((3, 227, 227))
    '3x227x227'
    """
    return "x".join(map(str, size))


def volume(channels: int, size: Sequence[int]) -> int:
    """Neurons of a volume."""
    return channels * prod(size)


def read_size(text: str) -> int | tuple[int, ...]:
    """A size as the command line takes it.

    >>> read_size("3x227x227"), read_size("32")
    ((3, 227, 227), 32)
    """
    parts = text.strip().replace(",", "x").replace("X", "x").split("x") if len(text) <= 100 else []
    if not parts or not all(p.isascii() and p.isdigit() for p in map(str.strip, parts)):
        raise SpecError(
            "input size",
            "must be numbers joined by x",
            repr(text[:60]),
            "write it as in 3x227x227 or 227x227",
        )
    sizes = tuple(bounded("input size", f"number {i + 1}", int(part)) for i, part in enumerate(parts))
    return sizes[0] if len(sizes) == 1 else sizes
