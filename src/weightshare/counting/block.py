"""A layer that is neither a convolution nor linear, or a sequence of layers, with its parameters."""

from collections.abc import Iterable
from dataclasses import dataclass

from .terms import Term

#: Size of one example in the order of its library, without the batch. Unknown sizes are None.
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Block:
    """A layer whose parameters no sharing changes, or a sequence of layers.

    Args:
        text: The layer in the notation of its library. `str` returns it.
        terms: One term per parameter, under the name of the parameter in its library.
        input: Size of the input; None if it is not known.
        output: Size of the output; None if it is not known.
        lines: Sentences that explain the count.
        steps: Names and layers of a sequence, in order; empty for a single layer.
        notes: Notes on how the layer was interpreted.
    """

    text: str
    terms: tuple[Term, ...] = ()
    input: Shape | None = None
    output: Shape | None = None
    lines: tuple[str, ...] = ()
    steps: "tuple[tuple[str, Block], ...]" = ()
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(term.n for term in self.terms)

    def __str__(self) -> str:
        return self.text


def multiply(shape: Iterable[int | None]) -> int | None:
    """Return the product of a size, or None if a part of it is not known.

    >>> multiply((3, 4)), multiply((3, None))
    (12, None)
    """
    product = 1
    for n in shape:
        if n is None:
            return None
        product *= n
    return product


def format_shape(shape: Shape) -> str:
    """Format a size with "?" for an unknown part.

    >>> format_shape((3, None, None))
    '3x?x?'
    """
    return "x".join("?" if n is None else str(n) for n in shape)
