"""`Suggestion`: the part of the result of a sharing test that `relax` and `restrict` apply."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..sharing import Sharing


@runtime_checkable
class Suggestion(Protocol):
    """A plan with values for the coefficients of `LowRank` layers, such as a `SharingTest`.

    `relax` applies it to the layers whose new sharing is not `Full`, and `restrict` to the others.
    """

    @property
    def plan(self) -> Mapping[str, Sharing]:
        """New sharing of each layer, by its name in the model."""
        ...

    @property
    def coefficients(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Values of coefficients, by the name of the layer and of the parameter."""
        ...

    @property
    def untie(self) -> Sequence[str]:
        """Names that get parameters of their own."""
        ...

    @property
    def example(self) -> Tensor:
        """Input of the model."""
        ...
