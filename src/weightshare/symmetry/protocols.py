"""The three published ways to shift pictures for a figure of consistency: which views are compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from .._args import Size, integer, per_axis, times
from ..errors import ArgumentError

SOURCES = {
    "circular_roll": "Chaman and Dokmanic, CVPR 2021",
    "random_crops": "Zhang, ICML 2019",
    "small_rolls": "Gruver et al., ICLR 2023",
}

#: What each protocol takes, with the value that its source has; None: to be given.
ARGUMENTS: dict[str, dict[str, int | None]] = {
    "circular_roll": {"max_shift": 3, "passes": 1},
    "random_crops": {"crop": None, "passes": 5},
    "small_rolls": {"max_shift": 7},
}


@dataclass
class Plan:
    """Which shifts are compared.

    Args:
        starts: Of every view the first pixel of every picture [N, axes]; past the border it goes on at the
            other side.
        size: Of a view.
        pairs: Which views are compared.
        judged: On which views the accuracy is measured; none without labels.
    """

    starts: list[Tensor]
    size: tuple[int, ...]
    pairs: list[tuple[int, int]]
    judged: list[int]

    @property
    def seen(self) -> list[int]:
        """Views that the model has to see."""
        return sorted({*self.judged, *(view for pair in self.pairs for view in pair)})

    def view(self, images: Tensor, view: int, part: slice) -> Tensor:
        """One view of some pictures."""
        return taken(images[part], self.starts[view][part], self.size)


def planned(
    where: str,
    protocol: str,
    given: dict[str, Size | None],
    images: Tensor,
    generator: torch.Generator,
    judged: bool,
) -> Plan:
    """The views of these pictures that a protocol compares, with the arguments given or as published."""
    if not isinstance(protocol, str) or protocol not in ARGUMENTS:
        names = ", ".join(sorted(ARGUMENTS))
        raise ArgumentError(where, f"protocol must be one of {names}", repr(protocol), "choose one")
    arguments = _arguments(f"{where}, protocol {protocol!r}", protocol, given, images.shape[2:])
    plan = _PLANS[protocol](images, generator, **arguments)
    return plan if judged else replace(plan, judged=[])


def taken(images: Tensor, starts: Tensor, size: Sequence[int]) -> Tensor:
    """[N, C, *any] -> [N, C, *size]: of picture n what begins at `starts[n]`, going round at the borders.

    >>> taken(torch.arange(5).expand(2, 1, 5), torch.tensor([[0], [3]]), (4,)).tolist()
    [[[0, 1, 2, 3]], [[3, 4, 0, 1]]]
    """
    axes = len(size)
    rows = torch.arange(len(images), device=images.device).view(-1, *(1,) * axes)
    index = []
    for axis, n in enumerate(size):
        along = starts[:, axis, None] + torch.arange(n)
        shape = [len(images), *(n if a == axis else 1 for a in range(axes))]
        index.append((along % images.shape[2 + axis]).view(shape).to(images.device))
    return images.movedim(1, -1)[(rows, *index)].movedim(-1, 1).contiguous()


def _crops(images: Tensor, generator: torch.Generator, crop: tuple[int, ...], passes: int) -> Plan:
    room = [n - side + 1 for n, side in zip(images.shape[2:], crop)]
    starts = [_drawn(len(images), [0] * len(room), room, generator) for _ in range(2 * passes)]
    return Plan(starts, crop, [(2 * k, 2 * k + 1) for k in range(passes)], list(range(2 * passes)))


def _rolls(images: Tensor, generator: torch.Generator, max_shift: int, passes: int) -> Plan:
    size = tuple(images.shape[2:])
    low, high = [-max_shift] * len(size), [max_shift + 1] * len(size)
    unshifted = torch.zeros(len(images), len(size), dtype=torch.int64)
    starts = [_drawn(len(images), low, high, generator) for _ in range(2 * passes)]
    return Plan([unshifted, *starts], size, [(2 * k + 1, 2 * k + 2) for k in range(passes)], [0])


def _small_rolls(images: Tensor, generator: torch.Generator, max_shift: int) -> Plan:
    size = tuple(images.shape[2:])
    unshifted = torch.zeros(len(images), len(size), dtype=torch.int64)
    starts = [unshifted]
    for axis in range(len(size)):
        for shift in range(1, max_shift + 1):
            starts.append(unshifted.clone())
            starts[-1][:, axis] = -shift
    return Plan(starts, size, [(0, k) for k in range(1, len(starts))], [0])


_PLANS: dict[str, Callable[..., Plan]] = {
    "circular_roll": _rolls,
    "random_crops": _crops,
    "small_rolls": _small_rolls,
}


def _drawn(count: int, low: Sequence[int], high: Sequence[int], generator: torch.Generator) -> Tensor:
    """[count, axes], each axis from `low` to `high`, the latter left out."""
    columns = [torch.randint(a, b, (count,), generator=generator) for a, b in zip(low, high)]
    return torch.stack(columns, 1)


def _arguments(
    where: str, protocol: str, given: dict[str, Size | None], size: Sequence[int]
) -> dict[str, object]:
    """What the protocol takes: given, else as published."""
    takes = ARGUMENTS[protocol]
    for name, value in given.items():
        if value is not None and name not in takes:
            allowed = " and ".join(sorted(takes))
            raise ArgumentError(where, f"takes only {allowed}", f"{name}={value}", f"leave {name} out")
    values: dict[str, object] = {}
    for name, published in takes.items():
        value = published if given[name] is None else given[name]
        values[name] = _crop(where, value, size) if name == "crop" else integer(where, name, value, least=1)
    if "max_shift" in values and values["max_shift"] >= min(size):  # type: ignore[operator]
        expected = f"max_shift must be below the {min(size)} pixels of a side"
        raise ArgumentError(where, expected, f"{values['max_shift']}", "use a smaller one")
    return values


def _crop(where: str, crop: Size | None, size: Sequence[int]) -> tuple[int, ...]:
    if crop is None:
        raise ArgumentError(where, "crop must be given", "none", "give the side of the crops in pixels")
    sides = per_axis(where, "crop", crop, len(size), least=1)
    if any(side > n for side, n in zip(sides, size)) or prod(sides) == prod(size):
        raise ArgumentError(
            where,
            f"crop must be smaller than the pictures of {times(size)}",
            times(sides),
            "use a smaller crop or larger pictures",
        )
    return sides
