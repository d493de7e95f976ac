"""The examples of a study, split and normalized, as one frozen value of tensors."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from ..tasks import IGNORED, Task, find_task
from .split import SHIFT_SEED, draw

MAX_SHIFT_EXAMPLES = 2_500


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs, normalized by the mean and standard deviation of the training set, and their targets.

    For a trained network, neither inputs nor targets are normalized.

    Args:
        name: Name of the data.
        task_name: Name of the task.
        train, validation, test: Pairs of inputs [N, C, *size] and targets; see `Task`. Numbers that are to be
            predicted are normalized like the inputs.
        class_names: One name per class; empty if the targets are not classes.
        fill: Normalized value of each channel [C] that fills the gap when inputs are shifted; None if the
            values at the border are repeated instead.
        target_mean, target_deviation: What the targets were normalized with [outputs]; None for classes.
        notes: What was changed when the data were read, as sentences.
    """

    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    class_names: tuple[str, ...] = ()
    fill: Tensor | None = None
    task_name: str = "classification"
    target_mean: Tensor | None = None
    target_deviation: Tensor | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def task(self) -> Task:
        """The task."""
        return find_task(self.task_name)

    @property
    def channels(self) -> int:
        """Number of channels of an input."""
        return self.train[0].shape[1]

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size of an input."""
        return tuple(self.train[0].shape[2:])

    @property
    def outputs(self) -> int:
        """Number of outputs of a network, or of outputs at each position."""
        return len(self.class_names) if self.task.has_classes else self.train[1].shape[1]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Shifts of the test inputs: 1 to 4, 1 to 2 if a side is shorter than 16, none if shorter than 4."""
        shortest = min(self.size)
        return () if shortest < 4 else (1, 2) if shortest < 16 else (1, 2, 3, 4)

    @cached_property
    def shift_test(self) -> tuple[Tensor, Tensor]:
        """Test examples to shift: a sample of 2,500, stratified by class, or all if there are fewer.

        They are sampled because each example is evaluated at many shifts.
        """
        inputs, targets = self.test
        if len(targets) <= MAX_SHIFT_EXAMPLES:
            return self.test
        chosen = torch.from_numpy(draw(targets.numpy(), MAX_SHIFT_EXAMPLES, SHIFT_SEED)[0])
        return inputs[chosen], targets[chosen]

    def take(self, count: int, seed: int) -> "Examples":
        """Return the same data with `count` training examples, drawn with this seed."""
        chosen = torch.from_numpy(draw(self.train[1].numpy(), count, seed)[0])
        return replace(self, train=(self.train[0][chosen], self.train[1][chosen]))

    @cached_property
    def digest(self) -> str:
        """Digest of the inputs, targets and splits, in 16 hex digits."""
        state = hashlib.blake2b(digest_size=8)
        for inputs, targets in (self.train, self.validation, self.test):
            state.update(repr((tuple(inputs.shape), self.class_names, self.task_name)).encode())
            state.update(inputs.numpy().data)
            state.update(targets.numpy().data)
        return state.hexdigest()

    def shift(self, pair: tuple[Tensor, Tensor], step: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Shift inputs, and targets at positions, by a step per axis.

        Targets that are shifted in from outside are unknown: they are left out of losses and metrics.
        """
        inputs, targets = pair
        moved = shift_inputs(inputs, step, self.fill)
        if not self.task.is_dense:
            return moved, targets
        channels = targets[:, None] if self.task.has_classes else targets
        shifted = shift_inputs(channels, step, self.make_unknown(channels))
        return moved, shifted[:, 0] if self.task.has_classes else shifted

    def make_unknown(self, targets: Tensor) -> Tensor:
        """Return the value per channel of targets that are unknown."""
        value = float(IGNORED) if self.task.has_classes else float("nan")
        return torch.full((targets.shape[1],), value, dtype=targets.dtype, device=targets.device)

    def to_units(self, targets: Tensor) -> Tensor:
        """Return outputs or targets in the units of the data."""
        if self.target_mean is None or self.target_deviation is None:
            return targets
        shape = (-1, *(1,) * (targets.dim() - 2))
        mean, deviation = (t.to(targets).view(shape) for t in (self.target_mean, self.target_deviation))
        return targets * deviation + mean


def list_steps(pixels: int, ndim: int) -> list[tuple[int, ...]]:
    """Return the shifts by this many pixels in both directions of each axis.

    >>> list_steps(2, 2)
    [(-2, 0), (2, 0), (0, -2), (0, 2)]
    """
    axes = product(range(ndim), (-pixels, pixels))
    return [tuple(step if a == axis else 0 for a in range(ndim)) for axis, step in axes]


def shift_inputs(inputs: Tensor, step: tuple[int, ...], fill: Tensor | None) -> Tensor:
    """Shift inputs by a step per axis. The gap gets a value per channel, or the border's values if None.

    Shape:
        inputs [N, C, *size], fill [C] -> [N, C, *size]

    Example:
        >>> shift_inputs(torch.arange(3.0).reshape(1, 1, 3), (1,), torch.tensor([9.0])).flatten().tolist()
        [9.0, 0.0, 1.0]
    """
    pads = [(max(s, 0), max(-s, 0)) for s in step]
    windows = tuple(slice(high, high + n) for (_, high), n in zip(pads, inputs.shape[2:]))
    return pad_inputs(inputs, pads, fill)[(slice(None), slice(None), *windows)]


def pad_inputs(inputs: Tensor, pads: list[tuple[int, int]], fill: Tensor | None) -> Tensor:
    """Pad [N, C, *size] by a pair (before, after) per axis; `fill` is as for `shift_inputs`."""
    flat = [n for pair in reversed(pads) for n in pair]
    if fill is None:
        return F.pad(inputs, flat, mode="replicate")
    is_inside = F.pad(torch.ones_like(inputs[:1, :1], dtype=torch.bool), flat)
    return torch.where(is_inside, F.pad(inputs, flat), fill.to(inputs).view(-1, *(1,) * len(pads)))
