"""Sensitivity of the outputs of a model to every small shift of its input images."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._args import check_integer
from .._running import evaluating
from ..errors import ArgumentError, ShapeError
from ..pattern.modules import check_module
from ._consistency import check_images, check_numbers, compute_squares
from .outputs import check_repeatable

WHERE = "sensitivity_map"
PADDING = {"circular": "circular", "zeros": "constant"}
SHOWN = 4  # rows and columns printed on either side of the middle


@dataclass(frozen=True, eq=False)
class SensitivityMap:
    """A frozen map of the mean distance between the outputs for an image and for its shifted copy, per shift.

    Args:
        values: float64 array [2r + 1, 2r + 1]; `values[r + dy, r + dx]` is the mean distance for a shift by
            dy down and dx to the right.
        mode: Values that enter at the border: "circular" or "zeros".
        distance: Name of the distance: "cosine" or "relative".
        images: Number of images.
    """

    values: np.ndarray
    mode: str
    distance: str
    images: int

    @property
    def max_shift(self) -> int:
        """Largest shift r on either axis."""
        return len(self.values) // 2

    def radial(self) -> np.ndarray:
        """Return the mean [r + 1] over all shifts of the same rounded length.

        Shifts longer than r, in the corners of the map, are left out.
        """
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
        images = f"{self.images:,} image{'' if self.images == 1 else 's'}"
        return "\n".join([f"{self.distance} distance, {self.mode} shifts, {images}", *lines])


def sensitivity_map(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    max_shift: int,
    *,
    mode: Literal["circular", "zeros"] = "circular",
    distance: Literal["cosine", "relative"] = "cosine",
    batch_size: int = 250,
) -> SensitivityMap:
    """Measure how much the outputs of a model change for each shift of its input by up to `max_shift` pixels.

    Args:
        model: Function or module that maps images [N, C, H, W] to logits or features [N, ...] that should not
            change. A module runs in evaluation mode and is restored afterwards. The model runs
            (2 max_shift + 1)^2 + 2 times on every image.
        images: Images [N, C, H, W].
        max_shift: Largest shift in pixels, less than the sides of the images.
        mode: Values that enter at the border: "circular" for the pixels that leave at the opposite border, or
            "zeros".
        distance: "cosine" is 1 - cos(angle), between 0 and 2. "relative" is the norm of the difference
            divided by the root mean square of the two norms. Both are 0 if both outputs are zero.
        batch_size: Number of images per forward pass.

    Raises:
        ArgumentError: If an argument is out of range or the outputs are not finite.
        ShapeError: If images or outputs have the wrong shape.
        SymmetryError: If the model is not deterministic.

    Example:
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[..., 1] = 1
        >>> print(sensitivity_map(lambda x: x[:, :, :2, :2], image, 1))
        cosine distance, circular shifts, 1 image
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
        raise ShapeError(WHERE, "images must have shape [N, C, H, W]", f"{tuple(images.shape)}")
    _check_option("mode", mode, PADDING)
    _check_option("distance", distance, DISTANCES)
    batch_size = check_integer(WHERE, "batch_size", batch_size, least=1)
    check_module(WHERE, model)
    r, side = check_integer(WHERE, "max_shift", max_shift, least=1), min(images.shape[2:])
    if side == 1:
        expected = "images must have at least 2 pixels along each axis, so that they can be shifted"
        raise ShapeError(WHERE, expected, f"{tuple(images.shape)}")
    if r >= side:
        expected = f"max_shift must be less than {side}, the shortest side of the images"
        raise ArgumentError(WHERE, expected, f"{r}")
    measure = DISTANCES[distance]
    values = np.zeros((2 * r + 1, 2 * r + 1))
    with evaluating(model):
        for batch in images.split(batch_size):
            padded = F.pad(batch, [r] * 4, mode=PADDING[mode])
            height, width = batch.shape[2:]
            unshifted = _compute_outputs(model, batch)
            check_repeatable(WHERE, unshifted, _compute_outputs(model, batch))
            for dy in range(-r, r + 1):
                for dx in range(-r, r + 1):
                    shifted = padded[:, :, r - dy : r - dy + height, r - dx : r - dx + width].contiguous()
                    distances = measure(unshifted, _compute_outputs(model, shifted))
                    values[r + dy, r + dx] += distances.sum().item()
    return SensitivityMap(values / len(images), mode, distance, len(images))


def _cosine_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return 1 - cosine [N] of each pair: 0 if both are zero, 1 if only one of them is."""
    a, b = one.flatten(1).double(), other.flatten(1).double()
    norms = a.norm(dim=1) * b.norm(dim=1)
    both_zero = (a == 0).all(1) & (b == 0).all(1)
    cosine = torch.where(norms > 0, (a * b).sum(1) / norms, both_zero.double())
    return (1 - cosine).clamp(min=0)


def _relative_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the norm of the difference [N] of each pair over the root mean square of the two norms."""
    squared_distance, squared_norm = compute_squares(one, other)
    return torch.where(squared_norm > 0, squared_distance / squared_norm, 0.0).sqrt()


DISTANCES = {"cosine": _cosine_distance, "relative": _relative_distance}


def _compute_outputs(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    outputs = model(images)
    if not isinstance(outputs, Tensor):
        hint = "wrap it so that it returns one"
        raise ArgumentError(WHERE, "the model must return a tensor", type(outputs).__name__, hint)
    if outputs.dim() < 2 or len(outputs) != len(images) or not outputs.numel():
        expected = f"the model must return a non-empty tensor [{len(images)}, ...], one row per image"
        raise ShapeError(WHERE, expected, f"shape {tuple(outputs.shape)}")
    check_numbers(WHERE, "outputs", outputs)
    return outputs


def _check_option(name: str, value: object, options: Collection[str]) -> None:
    if not isinstance(value, str) or value not in options:
        raise ArgumentError(WHERE, f"{name} must be one of {', '.join(sorted(options))}", repr(value))
