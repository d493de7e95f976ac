"""A trial: one training run of a row with one seed, and its measurements."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from .checks import check_number
from .data import Images, shift_images
from .first_layer import FirstLayer, sample_kernels
from .rows import Row
from .spec import StudySpec
from .training import evaluate, fit


@dataclass(frozen=True)
class Trial:
    """The measurements of one row with one seed. Accuracies are fractions.

    Args:
        sharing: Name of the row.
        seed: Seed of the initial weights and of the order of the images.
        accuracy, train_accuracy, validation_accuracy: Accuracy on the test, training and validation sets,
            with the weights of the best epoch.
        accuracy_shifted: Accuracy on shifted test images (at most 2,500), by shift in pixels: the mean over
            shifts up, down, left and right. Pixels shifted in from outside are raw zeros.
        epochs: Number of epochs.
        best_epoch: The epoch whose weights were kept, counted from 1.
        hit_cap: Whether the run stopped at the epoch limit.
        train_seconds: Time spent on training and validation.
        curve_accuracy: Validation accuracy after each epoch.
        curve_loss: Mean training loss of each epoch.
        first_layer: Kernels of the first convolution; only for seed 0.
    """

    sharing: str
    seed: int
    accuracy: float
    train_accuracy: float
    validation_accuracy: float
    accuracy_shifted: dict[str, float]
    epochs: int
    best_epoch: int
    hit_cap: bool
    train_seconds: float
    curve_accuracy: list[float]
    curve_loss: list[float]
    first_layer: FirstLayer | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any], shifts: Sequence[int]) -> "Trial":
        """Return the trial of a record, measured at these shifts. Other keys of the record are ignored.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: If the record does not describe a trial.
        """
        values = {field.name: record[field.name] for field in fields(cls)}
        if values["first_layer"] is not None:
            values["first_layer"] = FirstLayer(**values["first_layer"])
            values["first_layer"].check()
        trial = cls(**values)
        trial._check(shifts)
        return trial

    def _check(self, shifts: Sequence[int]) -> None:
        """Raise a TypeError or ValueError if a value is invalid."""
        if not isinstance(self.sharing, str) or not isinstance(self.hit_cap, bool):
            raise TypeError
        if any(type(count) is not int for count in (self.seed, self.epochs, self.best_epoch)):
            raise TypeError
        if list(self.accuracy_shifted) != [str(pixels) for pixels in shifts]:
            raise ValueError
        if not len(self.curve_accuracy) == len(self.curve_loss) == self.epochs >= self.best_epoch >= 1:
            raise ValueError
        accuracies = (self.accuracy, self.train_accuracy, self.validation_accuracy)
        for value in (*accuracies, *self.accuracy_shifted.values(), *self.curve_accuracy):
            if not 0 <= check_number(value) <= 1:
                raise ValueError
        for value in (self.train_seconds, *self.curve_loss):
            if check_number(value) < 0:
                raise ValueError


def run_trial(
    row: Row,
    seed: int,
    images: Images,
    spec: StudySpec,
    fabric: Fabric,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> Trial:
    """Train and evaluate a row with one seed. The state of torch's random number generators is restored.

    Raises:
        StudyError: If training diverges.
    """
    pairs = (images.train, images.validation, images.test, images.shift_test)
    train, validation, test, shift_test = ((fabric.to_device(x), fabric.to_device(y)) for x, y in pairs)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: Any
        where = f"study: {row.name}, seed {seed}"
        network, fitted = fit(
            row.build_network(images), train, validation, spec, fabric, seed, on_epoch, where
        )
        return Trial(
            sharing=row.name,
            seed=seed,
            accuracy=evaluate(network, test)[0],
            train_accuracy=evaluate(network, train)[0],
            validation_accuracy=evaluate(network, validation)[0],
            accuracy_shifted={
                str(pixels): evaluate_shifted(network, shift_test, pixels, images.background)
                for pixels in images.shifts
            },
            epochs=len(fitted.validation_accuracy),
            best_epoch=fitted.best_epoch,
            hit_cap=fitted.hit_cap,
            train_seconds=fitted.seconds,
            curve_accuracy=fitted.validation_accuracy,
            curve_loss=fitted.train_loss,
            first_layer=sample_kernels(network.convolutions[0], images.size) if seed == 0 else None,
        )


def evaluate_shifted(
    network: nn.Module, pair: tuple[Tensor, Tensor], pixels: int, background: Tensor
) -> float:
    """Return the mean accuracy on images shifted up, down, left and right by this many pixels."""
    images, labels = pair
    moves = [(-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels)]
    shifted = [(shift_images(images, *move, background), labels) for move in moves]
    return sum(evaluate(network, pair)[0] for pair in shifted) / len(moves)
