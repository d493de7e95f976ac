"""A tie as a value: where an alias takes its weight from, and what is done to it on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import ArgumentError


@dataclass(frozen=True)
class Tie:
    """Where an alias takes its weight from.

    Args:
        source: Name of the parameter that has the elements.
        transform: None where it is used as it is, "t" (the first two axes exchanged), "flip" (every axis from
            the third on reversed: the kernel of a correlation to that of a convolution) or "reshape" (to the
            alias's shape).

    Raises:
        ArgumentError: a transform of another name.

    Example:
        >>> Tie("enc.weight", transform="t")
        Tie(source='enc.weight', transform='t')
    """

    source: str
    transform: str | None = None

    def __post_init__(self) -> None:
        if self.transform is not None and self.transform not in TRANSFORMS:
            known = ", ".join(map(repr, TRANSFORMS))
            raise ArgumentError("Tie", f"transform must be None, {known}", repr(self.transform), "use one")


def transformed(transform: str | None, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """What an alias of this shape reads from its source; and back, since every transform undoes itself."""
    return tensor if transform is None else TRANSFORMS[transform](tensor, shape)


def _transposed(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.transpose(0, 1)


def _flipped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.flip(tuple(range(2, tensor.dim())))


def _reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.reshape(tuple(shape))


#: What a tie may do to its source; each undoes itself.
TRANSFORMS: dict[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "flip": _flipped,
    "reshape": _reshaped,
    "t": _transposed,
}
