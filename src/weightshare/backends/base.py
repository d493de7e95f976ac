"""The interface of all backends."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..geometry import Window


@dataclass(frozen=True)
class Backend(ABC):
    """One way of computing a layer; a frozen value.

    Args:
        window: Window of the layer.
        output_size: Number of positions per spatial axis.
        groups: Number of channel groups.
    """

    window: Window
    output_size: tuple[int, ...]
    groups: int

    @property
    def pads_zeros(self) -> bool:
        """Whether the backend pads with zeros itself, and takes and returns images without padding."""
        return False

    @property
    def without_padding(self) -> "Backend":
        """The backend for inputs that are already padded."""
        return self

    @abstractmethod
    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """Compute the layer without bias; differentiable to any order.

        Args:
            input: Input [N, in, *size], padded unless the backend pads.
            weight: Weight in the layout of the sharing, see `layout_of`.
            coefficients: Coefficients [rank, *output_size], only for `LowRank`.
        """

    @abstractmethod
    def apply_adjoint(
        self, input: Tensor, weight: Tensor, result_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        """Compute the adjoint of the layer with respect to its input; differentiable to any order.

        The channels and sizes are those of the layer, so `input` has the shape of the layer's output.

        Args:
            input: [N, out, *output_size].
            weight: Weight in the layout of the sharing, see `layout_of`.
            result_shape: Shape of the result, [N, in, *size], padded unless the backend pads.
            coefficients: Coefficients [rank, *output_size], only for `LowRank`.
        """
