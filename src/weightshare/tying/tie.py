"""`Tie`: the source of an alias and the transform between them, as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..errors import ArgumentError


@dataclass(frozen=True)
class Tie:
    """The source of an alias, and the transform from the source to the alias.

    Args:
        source: Name of the parameter that has the elements.
        transform: None (use the source unchanged), "t" (swap the first two axes), "flip" (reverse every axis
            from the third on, as between the kernels of a correlation and a convolution) or "reshape" (to the
            alias's shape).

    Raises:
        ArgumentError: If the source is not text, or there is no such transform.

    Example:
        >>> Tie("enc.weight", transform="t")
        Tie(source='enc.weight', transform='t')
    """

    source: str
    transform: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise ArgumentError("Tie", "source must be the name of a parameter", repr(self.source))
        if self.transform is not None and self.transform not in list(TRANSFORMS):
            known = ", ".join(map(repr, TRANSFORMS))
            raise ArgumentError("Tie", f"transform must be one of None, {known}", repr(self.transform))


def apply_transform(transform: str | None, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what an alias of this shape reads from its source.

    Every transform is its own inverse, so this also maps the values of an alias back to its source.
    """
    return tensor if transform is None else TRANSFORMS[transform](tensor, shape)


def _transpose(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.transpose(0, 1)


def _flip(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.flip(tuple(range(2, tensor.dim())))


def _reshape(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return tensor.reshape(tuple(shape))


#: The transforms by name. Each one is its own inverse.
TRANSFORMS: dict[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "flip": _flip,
    "reshape": _reshape,
    "t": _transpose,
}
