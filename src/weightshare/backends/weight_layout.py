"""The layouts in which a layer stores its banks in its `weight`, one value per layout."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..sharing import Full, Local, Sharing


class WeightLayout(ABC):
    """A layout of the banks [K, out, in/groups, *kernel_size] in one contiguous tensor; a frozen value."""

    @abstractmethod
    def shape(self, banks: int, kernel_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of a weight of K banks with kernels of shape [out, in/groups, *kernel_size]."""

    @abstractmethod
    def to_banks(self, weight: Tensor) -> Tensor:
        """Return the banks as a view of the weight."""

    @abstractmethod
    def from_banks(self, banks: Tensor) -> Tensor:
        """Return the weight that holds these banks."""


@dataclass(frozen=True)
class _OneKernel(WeightLayout):
    """The layout [out, in/groups, *kernel_size] of torch.nn, with one bank."""

    def shape(self, banks: int, kernel_shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(kernel_shape)

    def to_banks(self, weight: Tensor) -> Tensor:
        return weight.unsqueeze(0)

    def from_banks(self, banks: Tensor) -> Tensor:
        return banks[0]


@dataclass(frozen=True)
class _Banks(WeightLayout):
    """The layout [K, out, in/groups, *kernel_size]."""

    def shape(self, banks: int, kernel_shape: Sequence[int]) -> tuple[int, ...]:
        return (banks, *kernel_shape)

    def to_banks(self, weight: Tensor) -> Tensor:
        return weight

    def from_banks(self, banks: Tensor) -> Tensor:
        return banks


@dataclass(frozen=True)
class _PerPosition(WeightLayout):
    """The layout [P, *kernel_size, in/groups, out]: one matrix per position, multiplied without a copy."""

    def shape(self, banks: int, kernel_shape: Sequence[int]) -> tuple[int, ...]:
        out, per_group, *kernel_size = kernel_shape
        return (banks, *kernel_size, per_group, out)

    def to_banks(self, weight: Tensor) -> Tensor:
        return weight.movedim((-2, -1), (2, 1))

    def from_banks(self, banks: Tensor) -> Tensor:
        return banks.movedim((2, 1), (-2, -1)).contiguous()


ONE_KERNEL: WeightLayout = _OneKernel()
BANKS: WeightLayout = _Banks()
PER_POSITION: WeightLayout = _PerPosition()


def layout_of(sharing: Sharing) -> WeightLayout:
    """Return the layout of the weight of a layer with this sharing."""
    layouts: dict[Sharing, WeightLayout] = {Full(): ONE_KERNEL, Local(): PER_POSITION}
    return layouts.get(sharing, BANKS)
