"""Train candidates in pairs: from the same weights, on the same examples, in the same order."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._nests import map_tensors
from ..errors import ArgumentError, WeightshareError, describe_exception
from ..sharing import Sharing
from ..study.tasks import name_function
from .candidates import Kind, build_candidate
from .examples import Source, seeding
from .ties import Tied, build_tie_candidate

#: Function from outputs and targets of a batch to a scalar.
Loss = Callable[[Any, Any], Tensor]
Reduction = Literal["mean", "sum"]
LEARNING_RATE = 2e-3
_running = threading.Lock()
_DECAY = 0.95  # part of the learning rate that is gone in the last step


@dataclass(frozen=True)
class Recipe:
    """How each candidate is trained.

    Args:
        epochs: Number of passes over the fitting examples.
        seed: Seed of the order of the examples and of new weights.
        optimizer: Function from parameters to an optimizer; None for Adam.
    """

    epochs: int
    seed: int
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None


@dataclass(frozen=True)
class Fold:
    """Examples on which candidates are fitted, and those on which they are judged, by index."""

    fitting: Source
    fitting_indices: tuple[int, ...]
    judging: Source
    judging_indices: tuple[int, ...]


@dataclass(frozen=True)
class Trial:
    """One candidate in one fold; without layer and sharing for "start" and "continue".

    For ties, the layer is the name of the tie, and the sharing is empty. The sharing is a text, which
    `Setting.sharings` contains.
    """

    kind: Kind
    layer: str
    fold: int
    sharing: str = ""


@dataclass(frozen=True)
class Setting:
    """What all trials have in common, and the sharings and ties that they name."""

    model: nn.Module
    example: Tensor
    loss: Loss
    folds: tuple[Fold, ...]
    recipe: Recipe
    sharings: Mapping[str, Sharing]
    ties: Mapping[str, Tied]


def run_trial(setting: Setting, trial: Trial) -> list[float]:
    """Train a candidate, except for "start", and return its loss on each judged example.

    Raises:
        ArgumentError: If model, loss or optimizer raise an error on some examples.
    """
    try:
        with _running:  # a trial uses the random state of its process
            return _run_trial(setting, trial)
    except WeightshareError:
        raise
    except Exception as error:  # model, loss and optimizer can raise any exception
        what = f"{trial.kind!r} for {trial.layer!r}" if trial.layer else repr(trial.kind)
        expected = f"training and judging of candidate {what} must succeed"
        raise ArgumentError("sharing_test", expected, describe_exception(error).rstrip(".")) from error


def _run_trial(setting: Setting, trial: Trial) -> list[float]:
    fold, recipe, device = setting.folds[trial.fold], setting.recipe, setting.example.device
    seed = recipe.seed + trial.fold
    with seeding(seed):
        model = _build(setting, trial)
    with seeding(seed):  # new weights draw different amounts of random numbers
        if trial.kind != "start":
            _fit(model.train(), fold, setting.loss, recipe, device)
    with seeding(seed):  # examples can be random, and training can draw different amounts, too
        return list(_judge(model.eval(), fold, setting.loss, device))


def _build(setting: Setting, trial: Trial) -> nn.Module:
    if trial.layer in setting.ties:
        return build_tie_candidate(setting.model, trial.kind, setting.ties[trial.layer])
    sharing = setting.sharings[trial.sharing] if trial.sharing else None
    return build_candidate(setting.model, trial.kind, trial.layer, sharing, setting.example)


def compute_example_losses(loss: Loss, output: Any, target: Any, count: int) -> list[Tensor]:
    """Return the loss of each example of a batch."""
    return [loss(*map_tensors(partial(_take, i), (output, target))) for i in range(count)]


def _take(index: int, tensor: Tensor) -> Tensor:
    return tensor[index : index + 1]


@torch.enable_grad()
def _fit(model: nn.Module, fold: Fold, loss: Loss, recipe: Recipe, device: torch.device) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    make = recipe.optimizer or partial(torch.optim.Adam, lr=LEARNING_RATE)
    optimizer: Any = make(parameters)
    if not isinstance(optimizer, torch.optim.Optimizer):
        expected = "optimizer must return a torch.optim.Optimizer"
        raise ArgumentError("sharing_test", expected, type(optimizer).__name__)
    indices, size = torch.tensor(fold.fitting_indices, device="cpu"), fold.fitting.batch_size
    per_epoch = max(1, len(indices) // size)
    steps = recipe.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - _DECAY * step / steps)
    for _ in range(recipe.epochs):
        order = indices[torch.randperm(len(indices), device="cpu")].tolist()
        for inputs, targets in fold.fitting.read(order[: per_epoch * size], device):
            optimizer.zero_grad()
            loss(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def _judge(model: nn.Module, fold: Fold, loss: Loss, device: torch.device) -> Iterator[float]:
    for inputs, targets in fold.judging.read(fold.judging_indices, device):
        losses = compute_example_losses(loss, model(inputs), targets, len(inputs))
        yield from torch.stack(losses).flatten().double().tolist()


def describe_optimizer(make: Callable[..., Any] | None) -> str:
    """Return the text of a function that makes an optimizer, with its arguments if it is a partial."""
    if isinstance(make, partial):
        return f"{name_function(make.func)} {make.args} {make.keywords}"
    return name_function(make)


def split_in_half(count: int, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two random halves of the indices below `count`."""
    generator = torch.Generator("cpu").manual_seed(seed)
    order = tuple(torch.randperm(count, generator=generator, device="cpu").tolist())
    return order[: count // 2], order[count // 2 :]
