"""Mean gradient of the kernel at each position, accumulated over batches.

If the loss has the gradient delta [out, P] for the output of a layer, that for the kernel at position p
is the outer product of delta[:, p] and the inputs under the window of p. It is summed over each batch as a
matrix product, so no gradient of a single example is stored.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..backends import pad_input
from ..convert.convolutions import as_shared
from ..errors import ArgumentError, describe_exception
from ..geometry import Window
from .training import Loss, Reduction

#: Sums of g [P * groups, o, d], and of g^2 per position [P] and per weight [groups, o, d].
_Sums = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Geometry:
    """Where a convolution looks: its window, padding mode, groups and number of positions per axis."""

    window: Window
    padding_mode: Any
    groups: int
    size: tuple[int, ...]

    @classmethod
    def from_layer(cls, layer: nn.Module, input_size: tuple[int, ...]) -> "Geometry":
        """Return the geometry of a convolution that is called on inputs of this size."""
        shared = as_shared(layer)
        size = shared.window.output_size(input_size, type(shared).__name__, shared.padding_mode)
        return cls(shared.window, shared.padding_mode, shared.groups, size)

    def unfold(self, input: Tensor) -> Tensor:
        """Return the inputs under each window [P, groups, N, in/groups * taps] of an input [N, in, *size]."""
        patches, window = pad_input(input, self.window, self.padding_mode), self.window
        taps = zip(window.kernel_size, window.stride, window.dilation)
        for axis, (kernel, stride, dilation) in enumerate(taps, 2):
            patches = patches.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        n, ndim = len(input), len(self.size)
        patches = patches.reshape(n, self.groups, -1, *patches.shape[2:])
        patches = patches.flatten(3, 2 + ndim).flatten(4)  # [N, groups, in/groups, P, taps]
        return patches.permute(3, 1, 0, 2, 4).flatten(3)


@dataclass(frozen=True)
class Gradients:
    """Sums over examples of the gradients g of the kernels [P, D], with D weights per kernel.

    Args:
        total: Sum of g [P, D].
        by_position: Sum of g^2 over examples and weights [P].
        by_weight: Sum of g^2 over examples and positions [D].
        count: Number of examples.
    """

    total: Tensor
    by_position: Tensor
    by_weight: Tensor
    count: int


def measure_gradients(
    model: nn.Module,
    layers: Mapping[str, Geometry],
    batches: Iterable[tuple[Tensor, Any]],
    loss: Loss,
    reduction: Reduction,
) -> dict[str, Gradients]:
    """Return the gradients of the loss per example for the kernels of some layers, in one pass over batches.

    Args:
        model: Model in evaluation mode.
        layers: Geometry of each layer, by name.
        batches: Batches of inputs and targets.
        loss: Function from outputs and targets to a scalar.
        reduction: Whether the loss is the mean or the sum over the examples of a batch.
    """
    sums: dict[str, _Sums] = {}
    count = 0
    for inputs, targets in batches:
        calls: list[tuple[str, Tensor, Tensor]] = []
        with ExitStack() as stack, torch.enable_grad():
            for name in layers:
                hook: Any = partial(_record, name, calls)
                stack.enter_context(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True))
            try:
                total = loss(model(inputs), targets) * (len(inputs) if reduction == "mean" else 1)
            except Exception as error:  # a model and a loss can raise any exception
                expected, got = "model and loss must accept all examples", describe_exception(error)
                raise ArgumentError("sharing_test", expected, got.rstrip(".")) from error
            if not total.requires_grad:
                got = "a loss without a gradient"
                raise ArgumentError("sharing_test", "loss must depend on the outputs of the layers", got)
            probes = [probe for _, _, probe in calls]
            deltas = torch.autograd.grad(total, probes, allow_unused=True, materialize_grads=True)
        count += len(inputs)
        for (name, input, _), delta in zip(calls, deltas):
            for deltas, patches in _split(layers[name], input, delta):
                if name not in sums:
                    sums[name] = _make_sums(deltas, patches)
                _accumulate(sums[name], deltas, patches)
    return {
        name: Gradients(total.view(len(by_position), -1), by_position, by_weight.flatten(), count)
        for name, (total, by_position, by_weight) in sums.items()
    }


def _record(
    name: str,
    calls: list[tuple[str, Tensor, Tensor]],
    layer: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Tensor,
) -> Tensor:
    """Add zeros to the output. Their gradient is that of the output, even if it is changed in place."""
    probe = output.new_zeros(()).expand(output.shape).requires_grad_()  # needs no memory
    input: Tensor = args[0] if args else kwargs["input"]
    calls.append((name, input.detach().clone(), probe))
    return output + probe


def _split(geometry: Geometry, input: Tensor, delta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield factors of the gradients [P, groups, o, n] and [P, groups, n, d] for a few examples at a time.

    The inputs under all windows then need at most a quarter of the memory of one kernel at each position.
    """
    wide = torch.promote_types(delta.dtype, torch.float32)
    input, delta = input.to(wide), delta.to(wide)
    if input.ndim == len(geometry.size) + 1:  # called on one example without a batch axis
        input, delta = input[None], delta[None]
    count = max(1, delta.shape[1] // (4 * geometry.groups))
    for inputs, some in zip(input.split(count), delta.split(count)):
        deltas = some.flatten(2).unflatten(1, (geometry.groups, -1)).permute(3, 1, 2, 0)
        yield deltas, geometry.unfold(inputs)


def _make_sums(deltas: Tensor, patches: Tensor) -> _Sums:
    positions, groups, out_channels, _ = deltas.shape
    size = (out_channels, patches.shape[3])
    return (
        deltas.new_zeros(positions * groups, *size),
        deltas.new_zeros(positions),
        deltas.new_zeros(groups, *size),
    )


def _accumulate(sums: _Sums, deltas: Tensor, patches: Tensor) -> None:
    total, by_position, by_weight = sums
    total.baddbmm_(deltas.flatten(0, 1), patches.flatten(0, 1))
    deltas, patches = deltas.square(), patches.square()
    by_position += (deltas.sum(2) * patches.sum(3)).sum((1, 2))
    by_weight += torch.einsum("pgon,pgnd->god", deltas, patches)


def group_layers(sizes: Mapping[str, int], passes: int = 3) -> list[list[str]]:
    """Divide layers into at most `passes` groups, whose largest sum of sizes is small.

    A group never needs more than the largest layer if the number of passes allows it.

    >>> group_layers({"a": 4, "b": 2, "c": 2})
    [['a'], ['b', 'c']]
    """
    largest, total = max(sizes.values()), sum(sizes.values())
    groups: list[list[str]] = [[] for _ in range(min(passes, -(-total // largest)))]
    filled = [0] * len(groups)
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        place = filled.index(min(filled))
        groups[place].append(name)
        filled[place] += sizes[name]
    return groups
