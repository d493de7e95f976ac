"""A trial: one training run of a row with one seed, and its measurements."""

import platform
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import inf
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..._version import __version__
from ...backends import backends
from ...errors import StudyError, describe_exception
from ...nn.base import SharedLayer
from ..checks import check_fields, check_number
from ..data import Examples, list_steps
from ..rows import Row
from ..statistics.scale import Scale
from ..statistics.scores import Scored, to_key
from ..tasks import Metric, find_metric
from .building import Factory
from .first_layer import FirstLayer, sample_kernels
from .training import Pair, Training, evaluate, fit


@dataclass(frozen=True)
class Trial(Scored):
    """The measurements of one row with one seed. Scores are values of the metric.

    If the metric is the accuracy, every score is also available as "accuracy", such as `train_accuracy`.

    Args:
        key: Key of the row, which does not depend on the other rows of the study.
        sharing: Name of the row.
        seed: Seed of the initial weights and of the order of the examples.
        metric: Name of the metric.
        score, train_score, validation_score: Score on the test, training and validation sets, with the
            weights of the best epoch.
        score_shifted: Score on shifted test inputs (at most 2,500), by shift: the mean over shifts in both
            directions of each axis.
        epochs: Number of epochs.
        best_epoch: The epoch whose weights were kept, counted from 1.
        hit_cap: Whether the run stopped at the epoch limit before its score stopped improving; False for a
            trained network, whose number of epochs is fixed.
        train_seconds: Time spent on training and validation.
        curve_score: Validation score after each epoch.
        curve_loss: Mean training loss of each epoch.
        class_scores: Share of the test examples of each class that are classified correctly; empty unless
            each example has one class.
        environment: What the run used: versions, device, backend and number of threads.
        first_layer: Kernels of the first convolution; only for seed 0 of rows of the main table.
        start_score: Score of the trained network on the test set before it was trained further; None for new
            weights.
    """

    key: str
    sharing: str
    seed: int
    metric: str
    score: float
    train_score: float
    validation_score: float
    score_shifted: dict[str, float]
    epochs: int
    best_epoch: int
    hit_cap: bool
    train_seconds: float
    curve_score: list[float]
    curve_loss: list[float]
    class_scores: list[float]
    environment: dict[str, str]
    first_layer: FirstLayer | None = None
    start_score: float | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return self.to_dict()

    @classmethod
    def from_record(cls, record: dict[str, Any], shifts: Sequence[int], metric: Metric | Scale) -> "Trial":
        """Return the trial of a record, measured by this metric at these shifts. Other keys are ignored.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: If the record does not describe a trial.
        """
        keys = {field.name: to_key(field.name, metric.name) for field in fields(cls)}
        record = {keys["start_score"]: None, **record}  # records of older versions do not have it
        values = {name: record[key] for name, key in keys.items()}
        if values["first_layer"] is not None:
            values["first_layer"] = FirstLayer(**values["first_layer"])
            values["first_layer"].check()
        trial = cls(**values)
        trial._check(shifts, metric)
        return trial

    def _check(self, shifts: Sequence[int], metric: Metric | Scale) -> None:
        """Raise a TypeError or ValueError if a value is invalid."""
        check_fields(self)
        if self.metric != metric.name or list(self.score_shifted) != [str(pixels) for pixels in shifts]:
            raise ValueError
        if not len(self.curve_score) == len(self.curve_loss) == self.epochs >= self.best_epoch >= 1:
            raise ValueError
        scores = [self.score, self.train_score, self.validation_score, *self.score_shifted.values()]
        scores += [] if self.start_score is None else [self.start_score]
        for value in (*scores, *self.curve_score):
            check_number(value, most=1.0 if metric.is_fraction else None)
        for value in self.class_scores:
            check_number(value, most=1.0)
        for value in (self.train_seconds, *self.curve_loss):
            check_number(value, most=inf)


def run_trial(
    row: Row,
    seed: int,
    factory: Factory,
    fabric: Fabric,
    on_epoch: Callable[[int, float], None] = lambda epoch, score: None,
    state: dict[str, Any] | None = None,
    save: Callable[[Callable[[], dict[str, Any]]], None] = lambda get_state: None,
) -> Trial:
    """Train and evaluate a row with one seed.

    The state of torch's random number generators and its number of threads are restored.

    Args:
        row: Row to train.
        seed: Seed of the initial weights and of the order of the examples.
        factory: What builds the network.
        fabric: Lightning Fabric.
        on_epoch: Called after each epoch with its number, counted from 1, and its validation score.
        state: State from which to continue an interrupted run; None to start from the beginning.
        save: Called after each epoch with a function that returns the state from which the run can continue.

    Raises:
        StudyError: If training diverges, the metric returns something other than a finite number, or the
            state belongs to another network.
    """
    examples, spec = factory.examples, factory.spec
    pairs = (examples.train, examples.validation, examples.test, examples.shift_test)
    if row.train_size is not None:
        pairs = (examples.take(row.train_size, seed).train, *pairs[1:])
    train, validation, test, shift_test = (
        (fabric.to_device(inputs), fabric.to_device(targets)) for inputs, targets in pairs
    )
    with torch.random.fork_rng(), use_threads(spec.threads):
        torch.manual_seed(seed)
        training = Training(row, seed, factory, train, validation, fabric)
        start_score = None if spec.start is None else training.evaluate(test)[0]
        if state is not None:
            _continue(training, state)

        def report(epoch: int, score: float) -> None:
            save(training.state_dict)
            on_epoch(epoch, score)

        fit(training, report)
        metric = find_metric(spec.metric, examples.task)
        network, history = training.network, training.history
        return Trial(
            key=row.key,
            sharing=row.name,
            seed=seed,
            metric=metric.name,
            score=training.evaluate(test)[0],
            train_score=training.evaluate(train)[0],
            validation_score=training.evaluate(validation)[0],
            score_shifted={
                str(pixels): evaluate_shifted(network, shift_test, pixels, examples, metric)
                for pixels in examples.shifts
            },
            epochs=len(history.scores),
            best_epoch=history.best_epoch,
            hit_cap=spec.start is None and not history.has_converged,
            train_seconds=history.seconds,
            curve_score=history.scores,
            curve_loss=history.losses,
            class_scores=_score_classes(network, test, examples),
            environment=describe_environment(fabric),
            first_layer=_sample_first_layer(network.module) if seed == 0 and not row.question else None,
            start_score=start_score,
        )


def _continue(training: Training, state: dict[str, Any]) -> None:
    """Continue a run from a state; raise a StudyError if it is that of another network."""
    try:
        training.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise StudyError(
            training.where,
            "must have the network with which this trial was interrupted",
            f"another one ({describe_exception(error)})",
            "choose another folder with --out",
        ) from error


def evaluate_shifted(
    network: nn.Module, pair: Pair, pixels: int, examples: Examples, metric: Metric
) -> float:
    """Return the mean score on inputs shifted by this much in both directions of each axis."""
    steps = list_steps(pixels, len(examples.size))
    return sum(evaluate(network, examples.shift(pair, s), examples, metric)[0] for s in steps) / len(steps)


def _score_classes(network: nn.Module, pair: Pair, examples: Examples) -> list[float]:
    """Return the share of the examples of each class that are classified correctly."""
    if examples.task_name != "classification":
        return []
    shares = torch.zeros(examples.outputs, dtype=torch.float64)

    def count(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        hits = (outputs.argmax(1) == targets).cpu()
        counts = torch.bincount(targets.cpu(), minlength=examples.outputs)
        right = torch.bincount(targets.cpu()[hits], minlength=examples.outputs)
        shares.copy_(right / counts.clamp_min(1))
        return 0.0

    evaluate(network, pair, examples, Metric("class accuracy", count))
    return [round(share, 6) for share in shares.tolist()]


def _sample_first_layer(network: nn.Module) -> FirstLayer | None:
    """Return the kernels of the first convolution with two axes, if there is one."""
    layers = (m for m in network.modules() if isinstance(m, SharedLayer) and len(m.kernel_size) == 2)
    layer = next(layers, None)
    return None if layer is None or layer.transposed else sample_kernels(layer)


def describe_environment(fabric: Fabric) -> dict[str, str]:
    """Return what a trial runs on: versions, device, backend of the layers and number of threads."""
    device = fabric.device
    native = backends().native.instruction_set if device.type == "cpu" else None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "weightshare": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
        "backend": "portable" if native is None else f"native ({native})",
        "threads": str(torch.get_num_threads()),
    }


@contextmanager
def use_threads(threads: int) -> Generator[None]:
    """Let torch use this many threads, and restore the number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
