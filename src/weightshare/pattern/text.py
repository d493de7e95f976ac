"""A pattern as text: one line of counts, or a drawing of its matrix."""

from .._args import format_size
from ..errors import PatternError
from ..views.letters import LETTERS
from .data import PatternData

_MAX_DRAWN_PAIRS = 10**6


def describe(pattern: PatternData) -> str:
    """Return the number of inputs, outputs, connections, weights and biases in one line."""
    inputs, outputs = _format_shape(pattern.in_shape), _format_shape(pattern.out_shape)
    counts = f"{len(pattern.edges):,} connections with {_count(pattern.n_weights, 'weight')}"
    biases = f", {_count(pattern.n_biases, 'bias')}" if pattern.n_biases else ""
    note = f" ({pattern.note})" if pattern.note else ""
    return f"{inputs} inputs, {outputs} outputs: {counts}{biases}{note}"


def draw(pattern: PatternData) -> str:
    """Return the matrix of `Pattern.draw`."""
    if pattern.n_in * pattern.n_out > _MAX_DRAWN_PAIRS:
        raise PatternError(
            "Pattern.draw",
            f"the matrix must have at most {_MAX_DRAWN_PAIRS:,} entries",
            f"{pattern.n_out:,} x {pattern.n_in:,}",
            "print the pattern, or draw it for a smaller input",
        )
    rows = [["."] * pattern.n_in for _ in range(pattern.n_out)]
    for output, input_, weight in pattern.edges.tolist():
        is_empty = rows[output][input_] == "."
        rows[output][input_] = LETTERS[weight % len(LETTERS)] if is_empty else "+"
    return "\n".join(" ".join(row) for row in rows)


def _count(number: int, word: str) -> str:
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number:,} {word}{ending}"


def _format_shape(shape: tuple[int, ...]) -> str:
    return format_size(shape[1:] if shape[0] == 1 and len(shape) > 1 else shape)
