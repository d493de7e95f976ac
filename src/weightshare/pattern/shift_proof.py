"""Attribute the violations of a shift to the border of a layer or to its weights, whatever their values."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import nn

from .._args import Size
from ..errors import ShapeError
from .pattern import Pattern
from .proof import PatternProof
from .shifts import PartialShift, keeps_weights


@dataclass(frozen=True)
class ShiftProof:
    """A frozen record of the positions at which a layer is equivariant to a shift, with the cause elsewhere.

    Args:
        partial: Positions at which the shift is exact for all weights, whatever values enter the input.
        control: Proof of the circular shift for the same layer with circular padding; None if the layer has
            no padding, is transposed, or has sizes that allow no circular shift.
        cause: "none", "border" or "structure".
    """

    partial: PartialShift
    control: PatternProof | None
    cause: str

    def __str__(self) -> str:
        reason = {
            "none": "exact at all compared positions",
            "border": "broken only at the border",
            "structure": "broken by weights that differ by position",
        }[self.cause]
        if self.cause == "border" and self.control is not None and self.control.holds:
            reason += " (exact with circular padding)"
        note = f" ({self.partial.note})" if self.partial.note else ""
        return f"{reason}; {self.partial}{note}"


def prove_shift(layer: nn.Module, shift: Size, input_size: Size | None = None) -> ShiftProof:
    """Determine whether a layer's border or its weights break equivariance to a shift.

    The cause is "structure" if the shift moves a connection to one with another weight, although both ends
    stay on their grids, or an output to one with another bias. Otherwise only the border can break
    equivariance, where the shift moves values into the input, or the window of an output reaches over the
    edge of the input.

    Args:
        layer: Any layer that `Pattern.of` accepts.
        shift: Shift of the input in positions, a multiple of the stride.
        input_size: Spatial size of the input; required unless the layer stores it.

    Raises:
        PatternError: If `shift` is not a multiple of the stride.

    Example:
        >>> import torch, weightshare as ws
        >>> from weightshare.symmetry import prove_shift
        >>> print(prove_shift(torch.nn.Conv1d(1, 1, 3, padding=1), 1, input_size=8))
        broken only at the border (exact with circular padding); shift (1,): 5 of 7 positions exact; ...
        >>> prove_shift(ws.nn.LocallyConnected1d(1, 1, 3, padding=1, input_size=8), 1).cause
        'structure'
    """
    pattern = Pattern.of(layer, input_size)
    partial = pattern.partial_shift(shift)
    control = _prove_circular_shift(layer, input_size, partial) if _has_padding(layer) else None
    if not (partial.violations or pattern.note):
        cause = "none"
    elif pattern.note:  # low-rank layers have a note: their corrections differ by position
        cause = "structure"
    else:
        # other padding modes connect an output to inputs that are not under its window
        mode = getattr(layer, "padding_mode", "zeros")
        plain = pattern if mode == "zeros" else Pattern.of(layer, input_size, padding_mode="zeros")
        has_same_weights = keeps_weights(plain, partial.shift, partial.out_shift)
        cause = "border" if has_same_weights else "structure"
    return ShiftProof(partial, control, cause)


def _has_padding(layer: nn.Module) -> bool:
    window = getattr(layer, "window", None)
    if window is not None:
        return any(map(any, window.padding))
    padding: Any = getattr(layer, "padding", 0)
    if isinstance(padding, str):
        kernel_size: Any = layer.kernel_size
        return padding == "same" and max(kernel_size) > 1
    return any(padding) if isinstance(padding, tuple) else bool(padding)


def _prove_circular_shift(
    layer: nn.Module, input_size: Size | None, partial: PartialShift
) -> PatternProof | None:
    """Return the proof for circular padding, or None if the sizes allow no circular shift."""
    if getattr(layer, "transposed", False):
        return None
    try:
        circular = Pattern.of(layer, input_size, padding_mode="circular")
    except ShapeError:  # the padding is larger than the input
        return None
    sizes = zip(circular.in_shape[1:], circular.out_shape[1:], circular.stride)
    if any(n_in != n_out * stride for n_in, n_out, stride in sizes):
        return None
    permutations: list[np.ndarray] = []
    for shape, steps in ((circular.in_shape, partial.shift), (circular.out_shape, partial.out_shift)):
        numbers = np.arange(prod(shape)).reshape(shape)
        permutations.append(np.roll(numbers, [-s for s in steps], tuple(range(1, len(shape)))).ravel())
    return circular.is_equivariant(*permutations)
