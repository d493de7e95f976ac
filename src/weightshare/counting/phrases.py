"""Numbers and products of factors in words."""

from collections.abc import Sequence

from .._args import format_size
from .terms import Factor

_SINGULAR = {
    "biases": "bias",
    "channels": "channel",
    "features": "feature",
    "banks": "bank",
    "kernels": "kernel",
    "weights": "weight",
    "coefficients": "coefficient",
    "corrections": "correction",
    "positions": "position",
    "slices": "slice",
    "inputs": "input",
    "outputs": "output",
    "pixels": "pixel",
}


def count_noun(n: int, label: str) -> str:
    """Format a number and its noun.

    >>> count_noun(1, "banks"), count_noun(3025, "banks")
    ('1 bank', '3,025 banks')
    """
    if n == 1:
        label = " ".join(_SINGULAR.get(word, word) for word in label.split(" "))
    return f"{n:,} {label}"


def format_product(factors: Sequence[Factor]) -> str:
    """Format labeled factors as in "11 x 11 kernel x 3 input channels"."""
    kernel = [f.n for f in factors if f.label.startswith("kernel ")]
    parts = [count_noun(f.n, f.label) for f in factors if not f.label.startswith("kernel ")]
    if len(kernel) == 1:
        parts.insert(0, f"{kernel[0]}-tap kernel")
    elif kernel:
        parts.insert(0, f"{format_size(kernel)} kernel")
    return " x ".join(parts)
