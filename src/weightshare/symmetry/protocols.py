"""The three published protocols for consistency: how they shift images, and which views they compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from .._args import Size, check_integer, check_per_axis, format_size
from ..errors import ArgumentError, ShapeError

SOURCES = {
    "circular_roll": "Chaman and Dokmanic, CVPR 2021",
    "random_crops": "Zhang, ICML 2019",
    "small_rolls": "Gruver et al., ICLR 2023",
}

#: Arguments of each protocol with their published values; None marks a required argument.
ARGUMENTS: dict[str, dict[str, int | None]] = {
    "circular_roll": {"max_shift": 3, "passes": 1},
    "random_crops": {"crop": None, "passes": 5},
    "small_rolls": {"max_shift": 7},
}


@dataclass
class Plan:
    """A plan of the views of each image and of the pairs of views to compare.

    A view is a window on the image that wraps around at the borders.

    Args:
        starts: First pixel [N, axes] of each view, for every image.
        size: Spatial size of a view.
        pairs: Pairs of views to compare.
        scored: Views on which the accuracy is measured; none without labels.
    """

    starts: list[Tensor]
    size: tuple[int, ...]
    pairs: list[tuple[int, int]]
    scored: list[int]

    @property
    def used(self) -> list[int]:
        """Views that the model has to classify."""
        return sorted({*self.scored, *(view for pair in self.pairs for view in pair)})

    def cut_view(self, images: Tensor, view: int, batch: slice) -> Tensor:
        """Return one view of a batch of the images."""
        return crop_circular(images[batch], self.starts[view][batch], self.size)


def plan_views(
    where: str,
    protocol: str,
    given: dict[str, Size | None],
    images: Tensor,
    generator: torch.Generator,
    has_labels: bool,
) -> Plan:
    """Return the plan of a protocol for these images. If an argument is None, its published value is used."""
    if not isinstance(protocol, str) or protocol not in ARGUMENTS:
        names = ", ".join(sorted(ARGUMENTS))
        raise ArgumentError(where, f"protocol must be one of {names}", repr(protocol))
    arguments = _check_arguments(f"{where}, protocol {protocol!r}", protocol, given, images.shape[2:])
    plan = _PLANS[protocol](images, generator, **arguments)
    return plan if has_labels else replace(plan, scored=[])


def crop_circular(images: Tensor, starts: Tensor, size: Sequence[int]) -> Tensor:
    """Crop each image [N, C, *any] -> [N, C, *size] from its start [N, axes] on, wrapping around at borders.

    >>> crop_circular(torch.arange(5).expand(2, 1, 5), torch.tensor([[0], [3]]), (4,)).tolist()
    [[[0, 1, 2, 3]], [[3, 4, 0, 1]]]
    """
    axes = len(size)
    rows = torch.arange(len(images), device=images.device).view(-1, *(1,) * axes)
    index: list[Tensor] = []
    for axis, n in enumerate(size):
        along = starts[:, axis, None] + torch.arange(n)
        shape = [len(images), *(n if a == axis else 1 for a in range(axes))]
        index.append((along % images.shape[2 + axis]).view(shape).to(images.device))
    return images.movedim(1, -1)[(rows, *index)].movedim(-1, 1).contiguous()


def _plan_random_crops(
    images: Tensor, generator: torch.Generator, crop: tuple[int, ...], passes: int
) -> Plan:
    high = [n - side + 1 for n, side in zip(images.shape[2:], crop)]
    starts = [_draw_starts(len(images), [0] * len(high), high, generator) for _ in range(2 * passes)]
    return Plan(starts, crop, [(2 * k, 2 * k + 1) for k in range(passes)], list(range(2 * passes)))


def _plan_circular_roll(images: Tensor, generator: torch.Generator, max_shift: int, passes: int) -> Plan:
    size = tuple(images.shape[2:])
    low, high = [-max_shift] * len(size), [max_shift + 1] * len(size)
    unshifted = torch.zeros(len(images), len(size), dtype=torch.int64)
    starts = [_draw_starts(len(images), low, high, generator) for _ in range(2 * passes)]
    return Plan([unshifted, *starts], size, [(2 * k + 1, 2 * k + 2) for k in range(passes)], [0])


def _plan_small_rolls(images: Tensor, generator: torch.Generator, max_shift: int) -> Plan:
    size = tuple(images.shape[2:])
    unshifted = torch.zeros(len(images), len(size), dtype=torch.int64)
    starts = [unshifted]
    for axis in range(len(size)):
        for shift in range(1, max_shift + 1):
            starts.append(unshifted.clone())
            starts[-1][:, axis] = -shift
    return Plan(starts, size, [(0, k) for k in range(1, len(starts))], [0])


_PLANS: dict[str, Callable[..., Plan]] = {
    "circular_roll": _plan_circular_roll,
    "random_crops": _plan_random_crops,
    "small_rolls": _plan_small_rolls,
}


def _draw_starts(count: int, low: Sequence[int], high: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw integers [count, axes], on each axis from `low` up to but not including `high`."""
    columns = [torch.randint(a, b, (count,), generator=generator) for a, b in zip(low, high)]
    return torch.stack(columns, 1)


def _check_arguments(
    where: str, protocol: str, given: dict[str, Size | None], size: Sequence[int]
) -> dict[str, object]:
    """Return the arguments of a protocol: the given ones, otherwise the published ones."""
    accepted = ARGUMENTS[protocol]
    if "max_shift" in accepted and min(size) == 1:
        expected = "images must have at least 2 pixels along each axis, so that they can be shifted"
        raise ShapeError(where, expected, format_size(size))
    for name, value in given.items():
        if value is not None and name not in accepted:
            raise ArgumentError(where, f"accepts only {' and '.join(sorted(accepted))}", f"{name}={value}")
    values: dict[str, object] = {}
    for name, published in accepted.items():
        value = published if given[name] is None else given[name]
        values[name] = (
            _check_crop(where, value, size) if name == "crop" else check_integer(where, name, value, least=1)
        )
    max_shift = values.get("max_shift")
    if isinstance(max_shift, int) and max_shift >= min(size):
        expected = f"max_shift must be less than {min(size)}, the shortest side of the images"
        raise ArgumentError(where, expected, f"{max_shift}")
    return values


def _check_crop(where: str, crop: Size | None, size: Sequence[int]) -> tuple[int, ...]:
    if crop is None:
        raise ArgumentError(where, "crop is required", "None", "pass the side of the crops in pixels")
    sides = check_per_axis(where, "crop", crop, len(size), least=1)
    if prod(size) == 1:
        raise ShapeError(where, "images must have more than one pixel, so that they can be cropped", "1")
    if any(side > n for side, n in zip(sides, size)) or prod(sides) == prod(size):
        raise ArgumentError(
            where, f"crop must be smaller than the images ({format_size(size)})", format_size(sides)
        )
    return sides
