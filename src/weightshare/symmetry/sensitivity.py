"""How far the outputs of a model move with every shift of its input."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import integer
from .._running import evaluating
from ..errors import ArgumentError, ShapeError
from ._consistency import check_images, check_numbers, squares
from .outputs import check_repeatable

WHERE = "sensitivity_map"
PADDING = {"circular": "circular", "zeros": "constant"}
SHOWN = 4  # rows and columns on either side of the middle


@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """The mean distance of the outputs for a picture and the picture shifted, for every shift.

    Args:
        values: [2r + 1, 2r + 1], float64; `values[r + dy, r + dx]` for a shift by (dy, dx), down and right.
        mode: What came in at the border.
        distance: Which.
        images: How many.
    """

    values: np.ndarray
    mode: str
    distance: str
    images: int

    @property
    def max_shift(self) -> int:
        """The largest shift on either axis, r."""
        return len(self.values) // 2

    def radial(self) -> np.ndarray:
        """[r + 1]: the mean over all shifts of one rounded length; the corners are left out."""
        along = np.arange(-self.max_shift, self.max_shift + 1)
        radius = np.rint(np.hypot(along[:, None], along)).astype(int)
        return np.array([self.values[radius == r].mean() for r in range(self.max_shift + 1)])

    def __str__(self) -> str:
        step = max(1, ceil(self.max_shift / SHOWN))
        shifts = range(-(self.max_shift // step) * step, self.max_shift + 1, step)
        lines = ["dy \\ dx" + "".join(f"{dx:8d}" for dx in shifts)]
        for dy in shifts:
            row = self.values[self.max_shift + dy]
            lines.append(f"{dy:7d}" + "".join(f"{row[self.max_shift + dx]:8.4f}" for dx in shifts))
        radial = self.radial()[::step]
        lines.append("radius " + "".join(f"{r * step:8d}" for r in range(len(radial))))
        lines.append("mean   " + "".join(f"{value:8.4f}" for value in radial))
        return "\n".join([f"{self.distance} distance, {self.mode} shifts, {self.images:,} images", *lines])


def sensitivity_map(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    max_shift: int,
    *,
    mode: Literal["circular", "zeros"] = "circular",
    distance: Literal["cosine", "relative"] = "cosine",
    batch_size: int = 250,
) -> SensitivityMap:
    """Measure how far a model's outputs move for each shift by up to `max_shift` pixels.

    Args:
        model: [N, C, H, W] -> [N, ...]: logits, or the features of any layer that should not move. A module
            runs in evaluation mode and is left as it was; (2 max_shift + 1)^2 + 2 times on every picture.
        images: [N, C, H, W].
        max_shift: In pixels, below the side of the pictures.
        mode: What comes in at the border: "circular" what left at the other side, "zeros" zeros.
        distance: "cosine" is 1 - cosine of the angle, so 0 to 2; "relative" the length of the difference over
            the root mean square of the two lengths. Both are 0 for two zero outputs.
        batch_size: Pictures at once.

    Raises:
        ArgumentError: an argument out of its range, or outputs that are not finite or differ from run to run.
        ShapeError: images or outputs of another shape.

    Example:
        >>> picture = torch.zeros(1, 1, 4, 4)
        >>> picture[..., 1] = 1
        >>> print(sensitivity_map(lambda x: x[:, :, :2, :2], picture, 1))
        cosine distance, circular shifts, 1 images
        dy \\ dx      -1       0       1
             -1  1.0000  0.0000  1.0000
              0  1.0000  0.0000  1.0000
              1  1.0000  0.0000  1.0000
        radius        0       1
        mean     0.0000  0.7500

    Source: Kauderer-Abrams, "Quantifying translation-invariance in convolutional neural networks", 2017.
    """
    check_images(WHERE, images)
    if images.dim() != 4:
        raise ShapeError(WHERE, "images must be [N, C, H, W]", f"shape {tuple(images.shape)}", "give them so")
    _check_option("mode", mode, PADDING)
    _check_option("distance", distance, DISTANCES)
    batch_size = integer(WHERE, "batch_size", batch_size, least=1)
    r, side = integer(WHERE, "max_shift", max_shift, least=1), min(images.shape[2:])
    if r >= side:
        hint = "use a smaller one"
        raise ArgumentError(WHERE, f"max_shift must be below the {side} pixels of a side", f"{r}", hint)
    values = np.zeros((2 * r + 1, 2 * r + 1))
    with evaluating(model):
        for part in images.split(batch_size):
            around = F.pad(part, [r] * 4, mode=PADDING[mode])
            height, width = part.shape[2:]
            still = _outputs(model, part)
            check_repeatable(WHERE, still, _outputs(model, part))
            for dy in range(-r, r + 1):
                for dx in range(-r, r + 1):
                    moved = around[:, :, r - dy : r - dy + height, r - dx : r - dx + width].contiguous()
                    values[r + dy, r + dx] += DISTANCES[distance](still, _outputs(model, moved)).sum().item()
    return SensitivityMap(values / len(images), mode, distance, len(images))


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """[N]; 1 where one output alone is zero."""
    a, b = one.flatten(1).double(), other.flatten(1).double()
    lengths = a.norm(dim=1) * b.norm(dim=1)
    both_zero = (a == 0).all(1) & (b == 0).all(1)
    cosine = torch.where(lengths > 0, (a * b).sum(1) / lengths, both_zero.double())
    return (1 - cosine).clamp(min=0)


def _relative(one: Tensor, other: Tensor) -> Tensor:
    """[N]."""
    moved, length = squares(one, other)
    return torch.where(length > 0, moved / length, 0.0).sqrt()


DISTANCES = {"cosine": _cosine, "relative": _relative}


def _outputs(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    outputs = model(images)
    if not isinstance(outputs, Tensor):
        got = type(outputs).__name__
        raise ArgumentError(WHERE, "the model must return a tensor", got, "wrap it so that it gives one")
    if outputs.dim() < 2 or len(outputs) != len(images) or not outputs.numel():
        shape = f"shape {tuple(outputs.shape)}"
        raise ShapeError(
            WHERE,
            f"the model must give [{len(images)}, ...] that is not empty",
            shape,
            "give one row an image",
        )
    check_numbers(WHERE, "outputs", outputs)
    return outputs


def _check_option(name: str, value: object, options: dict) -> None:
    if not isinstance(value, str) or value not in options:
        raise ArgumentError(
            WHERE, f"{name} must be one of {', '.join(sorted(options))}", repr(value), "choose one"
        )
