"""The number of examples that a network needs for an accuracy, from learning curves on generated data."""

from collections.abc import Callable, Sequence
from math import exp, log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Finding, measure

#: Numbers of training examples, and accuracies on test examples.
Curve = list[tuple[int, float]]


def measure_curve(get_accuracy: Callable[[int], float], sizes: Sequence[int], target: float) -> Curve:
    """Measure the accuracy at increasing sizes until it reaches the target, or to the last size."""
    curve: Curve = []
    for size in sizes:
        curve.append((size, get_accuracy(size)))
        if curve[-1][1] >= target:
            break
    return curve


def find_size(curve: Curve, target: float) -> float:
    """Return the size at which a curve first reaches the target, interpolated in the logarithm of the size.

    A curve that never reaches it needs more than its last size, which is returned.

    >>> round(find_size([(100, 0.8), (400, 1.0)], 0.9))
    200
    """
    for (low, below), (high, above) in zip([(curve[0][0], 0.0), *curve], curve):
        if above >= target:
            return exp(log(low) + (log(high) - log(low)) * (target - below) / (above - below))
    return float(curve[-1][0])


def measure_sizes(quantity: str, sizes: Sequence[float], last: int) -> Finding:
    """Return the finding for the mean size, with a note if curves ended at the last size."""
    missed = sum(size >= last for size in sizes)
    count = f"{missed} of {len(sizes)} did not reach it and count as {last:,}: the mean is a lower bound."
    return measure(quantity, sizes, note=count if missed else "", digits=0)


def make_dense(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a dense layer with normal weights. Rotations of the inputs do not change their distribution."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.normal_(layer.weight, std=(3 * inputs) ** -0.5)  # the standard deviation of torch's weights
    return layer


def descend(network: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int, learning_rate: float) -> None:
    """Train on the logistic loss by gradient descent with momentum on all examples.

    The gradient is clipped, so that training does not diverge. All of this commutes with rotations of the
    inputs, which the lower bounds for dense networks assume.

    Args:
        network: Network with one output per example [N].
        inputs: All inputs.
        labels: Labels -1 and 1 [N].
        steps: Number of steps.
        learning_rate: Initial learning rate, which falls to zero along a cosine.
    """
    optimizer = torch.optim.SGD(network.parameters(), learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        F.softplus(-labels * network(inputs)).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def measure_sign_accuracy(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the fraction of examples whose output has the sign of the label."""
    return float((network(inputs) * labels > 0).double().mean())
