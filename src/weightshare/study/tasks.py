"""What a network learns: the tasks with their losses, and the metrics that score its outputs."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._args import did_you_mean
from ..errors import SpecError, StudyError, describe_exception
from ..views.escape import quote

#: Class of positions that are not scored.
IGNORED = -100
#: Pattern of "package.module:name".
FUNCTION = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"


@dataclass(frozen=True)
class Metric:
    """A number that scores the outputs of a network for a set of examples.

    Args:
        name: Name in tables, and in the keys of `results.json`.
        compute: Function of all outputs and targets that returns a number; see `Task`.
        lower_is_better: Whether lower numbers are better.
        is_fraction: Whether the number is a fraction, which is shown in percent.
    """

    name: str
    compute: Callable[[Tensor, Tensor], Any]
    lower_is_better: bool = False
    is_fraction: bool = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the number; raise `StudyError` if it is not finite, or if the function fails."""
        where, expected = f"metric {self.name}", "must return a finite number"
        try:
            value = float(self.compute(outputs, targets))
        except (Exception, SystemExit) as error:  # a function of the user can raise anything
            text = describe_exception(error)
            raise StudyError(where, expected, text) from error
        if not isfinite(value):
            raise StudyError(where, expected, str(value))
        return value


@dataclass(frozen=True)
class Task:
    """What the targets of a data set are, and what a network for it returns.

    | task | targets | outputs |
    |---|---|---|
    | classification | class [N] | [N, classes] |
    | regression | [N, outputs] | [N, outputs] |
    | pixel-classification | class at each position [N, *size] | [N, classes, *size] |
    | pixel-regression | [N, outputs, *size] | [N, outputs, *size] |
    | reconstruction | the input [N, channels, *size] | [N, channels, *size] |

    Args:
        name: Name of the task.
        has_classes: Whether the targets are classes.
        is_dense: Whether there is a target at each position.
        metric: Name of the default metric.
    """

    name: str
    has_classes: bool
    is_dense: bool
    metric: str

    def compute_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats or mean squared error of everything that has a target."""
        if self.has_classes:
            return F.cross_entropy(outputs, targets, ignore_index=IGNORED)
        if not self.is_dense:
            return F.mse_loss(outputs, targets)
        known = ~targets.isnan()
        return F.mse_loss(outputs[known], targets[known])


TASKS = {
    task.name: task
    for task in (
        Task("classification", True, False, "accuracy"),
        Task("regression", False, False, "rmse"),
        Task("pixel-classification", True, True, "accuracy"),
        Task("pixel-regression", False, True, "rmse"),
        Task("reconstruction", False, True, "rmse"),
    )
}


def find_task(name: str) -> Task:
    """Return the task with this name, or raise `SpecError`."""
    if not isinstance(name, str) or name not in TASKS:
        got = quote(name) if isinstance(name, str) else type(name).__name__
        raise SpecError("study", f"task must be auto, {', '.join(TASKS)}", got, did_you_mean(name, TASKS))
    return TASKS[name]


def _flatten(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores [M, classes] and classes [M] of everything that has a class."""
    outputs = outputs.movedim(1, -1).reshape(-1, outputs.shape[1])
    known = targets.reshape(-1) != IGNORED
    return outputs[known], targets.reshape(-1)[known]


def _select(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values that have a target."""
    known = ~targets.isnan()
    return outputs[known].double(), targets[known].double()


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    scores, classes = _flatten(outputs, targets)
    return (scores.argmax(1) == classes).double().mean()


def _balanced_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    scores, classes = _flatten(outputs, targets)
    hits = (scores.argmax(1) == classes).double()
    return torch.stack([hits[classes == k].mean() for k in classes.unique()]).mean()


def _mean_iou(outputs: Tensor, targets: Tensor) -> Tensor:
    scores, classes = _flatten(outputs, targets)
    predicted = scores.argmax(1)
    present = torch.cat([classes, predicted]).unique()
    both = torch.stack([((predicted == k) & (classes == k)).double().sum() for k in present])
    either = torch.stack([((predicted == k) | (classes == k)).double().sum() for k in present])
    return (both / either).mean()


def _rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    values, expected = _select(outputs, targets)
    return (values - expected).square().mean().sqrt()


def _mae(outputs: Tensor, targets: Tensor) -> Tensor:
    values, expected = _select(outputs, targets)
    return (values - expected).abs().mean()


def _r2(outputs: Tensor, targets: Tensor) -> Tensor:
    values, expected = _select(outputs, targets)
    return 1 - (values - expected).square().mean() / (expected - expected.mean()).square().mean()


#: The metrics by name, for tasks with classes and for the others.
METRICS: dict[bool, dict[str, Metric]] = {
    True: {
        "accuracy": Metric("accuracy", _accuracy, is_fraction=True),
        "balanced_accuracy": Metric("balanced_accuracy", _balanced_accuracy, is_fraction=True),
        "mean_iou": Metric("mean_iou", _mean_iou, is_fraction=True),
    },
    False: {
        "rmse": Metric("rmse", _rmse, lower_is_better=True),
        "mae": Metric("mae", _mae, lower_is_better=True),
        "r2": Metric("r2", _r2),
    },
}


def find_metric(given: Any, task: Task) -> Metric:
    """Return a metric by its name, "package.module:function" or a function; None is the default of the task.

    A function is called with all outputs and targets, in the units of the data. Higher results are better,
    unless the function has an attribute `lower_is_better` that is true.

    Raises:
        SpecError: If there is no such metric for the task.
    """
    known = METRICS[task.has_classes]
    if given is None:
        return known[task.metric]
    if isinstance(given, Metric):
        return given
    if isinstance(given, str) and given in known:
        return known[given]
    function = find_function(given, "metric") if isinstance(given, str) and ":" in given else given
    if not callable(function):
        raise SpecError(
            "study",
            f"metric must be {', '.join(known)}, or a function, for {task.name}",
            quote(given) if isinstance(given, str) else type(given).__name__,
            did_you_mean(given, known),
        )
    name = getattr(function, "__name__", type(function).__name__)
    if any(name in metrics for metrics in METRICS.values()):
        name = name_function(function)
    return Metric(name, function, bool(getattr(function, "lower_is_better", False)))


@contextmanager
def search_current_folder() -> Generator[None]:
    """Import modules from the current folder too, after standard modules and installed packages."""
    folder = os.getcwd()
    is_added = folder not in sys.path
    if is_added:
        sys.path.append(folder)
    try:
        yield
    finally:
        if is_added and folder in sys.path:
            sys.path.remove(folder)


def find_function(name: str, what: str) -> Callable[..., Any]:
    """Return a function by "package.module:name"; raise `SpecError` if it cannot be imported."""
    if not re.fullmatch(FUNCTION, name):
        hint = "name a module instead of its file" if "/" in name or ".py" in name else None
        raise SpecError("study", f"{what} must be package.module:function", quote(name), hint)
    where = f"study, {what} {quote(name)}"
    module, _, path = name.partition(":")
    try:
        with search_current_folder():
            found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module of the user can raise anything
        expected, hint = f"module {quote(module)} must be importable", None
        if module.endswith(".py"):
            hint = "leave out .py"
        raise SpecError(where, expected, describe_exception(error), hint) from error
    for part in path.split("."):
        owner, found = found, getattr(found, part, None)
        if found is None:
            known = [one for one in getattr(owner, "__dict__", ()) if not one.startswith("_")]
            hint = did_you_mean(part, known)
            raise SpecError(where, "must name a function", f"no {quote(part)} in {quote(module)}", hint)
    if not callable(found):
        raise SpecError(where, "must name a function", type(found).__name__)
    return found


def name_function(given: Any) -> str:
    """Return the text of a name or function for digests and records."""
    if isinstance(given, str):
        return given
    if isinstance(given, Metric):
        return given.name
    return f"{getattr(given, '__module__', '')}:{getattr(given, '__qualname__', type(given).__qualname__)}"
