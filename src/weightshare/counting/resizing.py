"""Sizes after layers without parameters, shared by torch and Keras."""

from .._args import is_sequence
from ..errors import ArgumentError, ShapeError
from .block import Shape, format_shape, multiply
from .sizes import check_shape


def count_windows(
    size: int | None, extent: int, stride: int, padding: int, rounds_up: bool = False
) -> int | None:
    """Return the number of windows along an axis, as a pooling layer of torch places them.

    Args:
        rounds_up: Whether a last, incomplete window counts if it begins inside the input.

    >>> count_windows(7, 2, 2, 0), count_windows(7, 2, 2, 0, rounds_up=True)
    (3, 4)
    """
    if size is None:
        return None
    room = size + 2 * padding - extent
    if not rounds_up or room < 0:
        return room // stride + 1
    windows = -(-room // stride) + 1
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


def check_positive(where: str, shape: Shape, output: Shape) -> Shape:
    """Return a size of output.

    Raises:
        ShapeError: If it is empty.
    """
    if any(n is not None and n < 1 for n in output):
        raise ShapeError(
            where,
            "the output must have at least one position on each axis",
            format_shape(output),
            f"use a larger input than {format_shape(shape)}",
        )
    return output


def resolve_sizes(where: str, word: str, sizes: object, total: int | None) -> Shape:
    """Return sizes of which one may be -1, so that their product is `total`.

    >>> resolve_sizes("Reshape", "target_shape", (4, -1), 12)
    (4, 3)
    """
    values = tuple(sizes) if is_sequence(sizes) else (sizes,)
    entries = check_shape(where, word, [None if n == -1 else n for n in values])
    known = [n for n in entries if n is not None]
    product = multiply(known) or 1
    if len(values) - len(known) > 1:
        raise ArgumentError(where, f"{word} must have at most one -1", repr(sizes))
    if total is None:
        return entries
    is_complete = len(known) == len(values)
    if total % product or (is_complete and total != product):
        raise ShapeError(where, f"{word} must have {total:,} elements, like its input", repr(sizes))
    return tuple(total // product if n is None else n for n in entries)
