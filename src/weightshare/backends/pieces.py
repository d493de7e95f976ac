"""Split a layer whose banks cover regular grids of positions into one strided convolution per bank."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ..geometry import Window


@dataclass(frozen=True)
class Piece:
    """The convolution of one bank.

    Args:
        inputs: The part of the padded input that the bank reads.
        outputs: The part of the output that the bank writes.
        stride: Stride of the convolution per axis.
    """

    inputs: tuple[slice, ...]
    outputs: tuple[slice, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the part of the input per axis."""
        return tuple(part.stop - part.start for part in self.inputs)


def split_pieces(window: Window, parts: Sequence[Sequence[range]]) -> list[Piece]:
    """Return one piece per bank, in the order of the banks.

    Args:
        window: Window of the layer. The input is already padded.
        parts: For each axis, the ranges of output indices that the banks cover.
    """
    return [
        Piece(
            inputs=tuple(
                slice(part.start * s, part[-1] * s + extent)
                for part, s, extent in zip(ranges, window.stride, window.extent)
            ),
            outputs=tuple(slice(part.start, part.stop, part.step) for part in ranges),
            stride=tuple(s * part.step for s, part in zip(window.stride, ranges)),
        )
        for ranges in itertools.product(*parts)
    ]
