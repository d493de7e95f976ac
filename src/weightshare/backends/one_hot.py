"""Layers whose positions use one bank each, and the two ways of computing them: native code and torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod

from torch import Tensor

from ..geometry import Window
from ..sharing.base import label_positions
from . import exportable, native, operators
from .base import Backend
from .compute import pad_axes
from .layout import to_format_of
from .native.maps import INPUT_GRAD, OUTPUT, WEIGHT_GRAD
from .pieces import Piece, split_pieces
from .portable import Banks, Convolutions, Patches

#: Positions per bank from which one convolution per bank is faster than one kernel per position.
MANY_POSITIONS = 16


@dataclass(frozen=True)
class OneHotBackend(Backend):
    """The backend of all sharings except `Full` and `LowRank`.

    The layer consists of three bilinear maps: the output, and its adjoints in input and weight. The other
    two give the derivatives of each, so the layer is differentiable to any order. `operators` registers
    the maps as torch operators, which receive the backend as a string, its `text`.

    Args:
        padding: Zeros at both ends of each axis.
        parts: For each axis, the ranges of output indices that the banks cover, for sharings that divide each
            axis; else None.
        labels: Bank of each position in row-major order, for `Mapped`; else None.
    """

    padding: tuple[tuple[int, int], ...]
    parts: tuple[tuple[range, ...], ...] | None = None
    labels: tuple[int, ...] | None = None
    #: The backend as JSON, from which `operators.from_text` can rebuild it, even in another process.
    text: str = field(init=False, repr=False, compare=False)
    #: Bank of each position in row-major order; None if each has its own.
    positions: tuple[int, ...] | None = field(init=False, repr=False, compare=False)

    def __call__(self, input: Tensor, weight: Tensor, coefficients: Tensor | None = None) -> Tensor:
        if exportable.is_portable():
            return self._compute_portable_output(input, weight)
        return operators.output(input, weight, self.text)

    def apply_adjoint(
        self, input: Tensor, weight: Tensor, result_shape: Sequence[int], coefficients: Tensor | None = None
    ) -> Tensor:
        if exportable.is_portable():
            return self._compute_portable_input_grad(input, weight, result_shape)
        return operators.input_grad(input, weight, self.text, tuple(result_shape))

    # -- the maps, as the operators call them -------------------------------------------------------------

    def output(self, input: Tensor, weight: Tensor) -> Tensor:
        """Compute [N, out, *output_size] from [N, in, *size] and the weight."""
        if native.is_supported(input, weight):
            shape = (input.shape[0], self.out_channels(weight.shape), *self.output_size)
            return self._compute(OUTPUT, input, self._to_matrices(weight), shape)
        return to_format_of(input, self._compute_portable_output(input, weight))

    def input_grad(self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]) -> Tensor:
        """Compute the adjoint with respect to the input: [N, in, *size] from [N, out, *output_size]."""
        if native.is_supported(grad, weight):
            return self._compute(INPUT_GRAD, grad, self._to_matrices(weight), input_shape)
        return to_format_of(grad, self._compute_portable_input_grad(grad, weight, input_shape))

    def weight_grad(
        self, input: Tensor, grad: Tensor, weight_shape: Sequence[int], weight: Tensor | None = None
    ) -> Tensor:
        """Compute the adjoint with respect to the weight from [N, in, *size] and [N, out, *output_size]."""
        shape = tuple(weight_shape)
        if native.is_supported(input, grad):
            matrices = self._compute(WEIGHT_GRAD, input, grad, self._shape_matrices(shape), weight)
            return self._from_matrices(matrices)
        if self._uses_convolutions(input):
            return self._convolutions.weight_grad(self._pad(input), grad, shape)
        matrices = self._patches.weight_grad(self._pad(input), grad, self._shape_matrices(shape))
        return self._from_matrices(matrices)

    def out_channels(self, weight_shape: Sequence[int]) -> int:
        """Return the number of output channels of a weight of this shape."""
        return weight_shape[-1] if self._is_local else weight_shape[1]

    def count_macs(self, batch: int, weight_shape: Sequence[int]) -> int:
        """Return the number of multiply-accumulates of one of the maps."""
        per_bank = prod(weight_shape) // weight_shape[0]
        return batch * prod(self.output_size) * per_bank

    def _compute(
        self, map: int, first: Tensor, second: Tensor, shape: Sequence[int], weight: Tensor | None = None
    ) -> Tensor:
        geometry = self.window, self.padding, self.output_size, self.groups
        return native.compute(map, first, second, *geometry, tuple(shape), self._table, weight)

    def _compute_portable_output(self, input: Tensor, weight: Tensor) -> Tensor:
        if self._uses_convolutions(input):
            return self._convolutions.output(self._pad(input), weight)
        return self._patches.output(self._pad(input), self._view_matrices(weight))

    def _compute_portable_input_grad(
        self, grad: Tensor, weight: Tensor, input_shape: Sequence[int]
    ) -> Tensor:
        shape = self._pad_shape(input_shape)
        if self._uses_convolutions(grad):
            return self._crop(self._convolutions.input_grad(grad, weight, shape))
        return self._crop(self._patches.input_grad(grad, self._view_matrices(weight), shape))

    # -- padding ------------------------------------------------------------------------------------------

    @property
    def pads_zeros(self) -> bool:
        return True

    @property
    def without_padding(self) -> "OneHotBackend":
        return _drop_padding(self)

    def _pad(self, input: Tensor) -> Tensor:
        return pad_axes(input, self.padding, "zeros")

    def _crop(self, padded: Tensor) -> Tensor:
        return pad_axes(padded, [(-low, -high) for low, high in self.padding], "zeros")

    def _pad_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (*shape[:2], *(n + sum(pair) for n, pair in zip(shape[2:], self.padding)))

    # -- banks --------------------------------------------------------------------------------------------

    @property
    def _is_local(self) -> bool:
        return self.parts is None and self.labels is None

    @cached_property
    def _table(self) -> native.Table | None:
        return None if self.positions is None else native.Table(self.positions)

    def _uses_convolutions(self, tensor: Tensor) -> bool:
        """Return whether to call one torch convolution per bank; on GPUs, so many calls take too long."""
        if self.parts is None or not (tensor.device.type == "cpu" or exportable.is_portable()):
            return False
        return prod(self.output_size) >= MANY_POSITIONS * prod([len(ranges) for ranges in self.parts])

    # Compilers cannot trace cached properties, so exported programs do without them.

    @property
    def _patches(self) -> Patches:
        banks = None if exportable.is_portable() else self._banks
        return Patches(self.window, self.output_size, self.groups, self.positions, banks)

    @cached_property
    def _banks(self) -> Banks | None:
        return None if self.positions is None else Banks(self.positions)

    @property
    def _convolutions(self) -> Convolutions:
        assert self.parts is not None
        pieces = split_pieces(self.window, self.parts) if exportable.is_portable() else self._pieces
        return Convolutions(self.window, self.groups, pieces, self.parts)

    @cached_property
    def _pieces(self) -> list[Piece]:
        assert self.parts is not None
        return split_pieces(self.window, self.parts)

    def _view_matrices(self, weight: Tensor) -> Tensor:
        """View the weight as [K, *kernel_size, in/groups, out]."""
        return weight if self._is_local else weight.movedim((2, 1), (-2, -1))

    def _to_matrices(self, weight: Tensor) -> Tensor:
        return self._view_matrices(weight).contiguous()

    def _from_matrices(self, matrices: Tensor) -> Tensor:
        """Return the weight from contiguous [K, *kernel_size, in/groups, out]."""
        return matrices if self._is_local else matrices.movedim((-2, -1), (2, 1)).contiguous()

    def _shape_matrices(self, shape: Sequence[int]) -> tuple[int, ...]:
        if self._is_local:
            return tuple(shape)
        banks, out, per_group, *kernel_size = shape
        return (banks, *kernel_size, per_group, out)

    # -- text ---------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        window = (self.window.kernel_size, self.window.stride, self.window.dilation)
        parts = self.parts and [[(p.start, p.stop, p.step) for p in axis] for axis in self.parts]
        text = json.dumps([window, self.output_size, self.groups, self.padding, parts, self.labels])
        object.__setattr__(self, "text", text)
        positions = self.labels
        if self.parts is not None:
            positions = tuple(label_positions(self.parts, self.output_size))
        object.__setattr__(self, "positions", positions)

    @classmethod
    def from_text(cls, text: str) -> "OneHotBackend":
        """Return the backend with this `text`."""
        window, output_size, groups, padding, parts, labels = json.loads(text)
        kernel_size, stride, dilation = map(tuple, window)
        return cls(
            Window(kernel_size, stride, 0, dilation, ndim=len(kernel_size)),
            tuple(output_size),
            groups,
            tuple(map(tuple, padding)),
            parts and tuple(tuple(range(*part) for part in axis) for axis in parts),
            labels and tuple(labels),
        )


operators.register_reader(OneHotBackend.from_text)


@lru_cache(maxsize=1024)
def _drop_padding(backend: OneHotBackend) -> OneHotBackend:
    return replace(backend, padding=((0, 0),) * len(backend.padding))
