"""One trial: a row trained with one seed, and what was measured of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from .data import Images, shifted
from .first_layer import FirstLayer, look, number
from .rows import Row
from .spec import StudySpec
from .training import evaluate, fit


@dataclass(frozen=True)
class Trial:
    """What was measured of one row with one seed. Accuracies are fractions of 1.

    Args:
        sharing: Name of the row.
        seed: Of the initial weights and of the order of the images.
        accuracy, train_accuracy, validation_accuracy: Of the weights of the best epoch, on the test images,
            the training images and the validation images.
        accuracy_shifted: On test images (at most 2,500) shifted by so many pixels, the mean over up, down,
            left and right, the rim filled with raw zeros.
        epochs: Passes over the training images.
        best_epoch: The pass whose weights were kept.
        hit_cap: Whether the cap on epochs ended the training.
        train_seconds: Spent on training and validation.
        curve_accuracy: Validation accuracy after every epoch.
        curve_loss: Mean training loss of every epoch.
        first_layer: The first convolution's kernels, of seed 0.
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
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any], shifts: Sequence[int]) -> "Trial":
        """The inverse of `to_record` for a trial measured at these shifts; other keys are left out.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: no record of a trial.
        """
        values = {field.name: record[field.name] for field in fields(cls)}
        if values["first_layer"] is not None:
            values["first_layer"] = FirstLayer(**values["first_layer"])
            values["first_layer"].check()
        trial = cls(**values)
        trial._check(shifts)
        return trial

    def _check(self, shifts: Sequence[int]) -> None:
        """Raise TypeError or ValueError unless every value can be one that was measured."""
        if not isinstance(self.sharing, str) or not isinstance(self.hit_cap, bool):
            raise TypeError
        if any(type(count) is not int for count in (self.seed, self.epochs, self.best_epoch)):
            raise TypeError
        if list(self.accuracy_shifted) != [str(pixels) for pixels in shifts]:
            raise ValueError
        if not len(self.curve_accuracy) == len(self.curve_loss) == self.epochs >= self.best_epoch >= 1:
            raise ValueError
        measured = (self.accuracy, self.train_accuracy, self.validation_accuracy)
        for value in (*measured, *self.accuracy_shifted.values(), *self.curve_accuracy):
            if not 0 <= number(value) <= 1:
                raise ValueError
        for value in (self.train_seconds, *self.curve_loss):
            if number(value) < 0:
                raise ValueError


def run_trial(
    row: Row,
    seed: int,
    images: Images,
    spec: StudySpec,
    fabric: Fabric,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> Trial:
    """Train a row with one seed and measure it. The caller's random numbers are left as they were.

    Raises:
        StudyError: a training that diverged.
    """
    pairs = (images.train, images.validation, images.test, images.to_shift)
    train, validation, test, to_shift = ((fabric.to_device(x), fabric.to_device(y)) for x, y in pairs)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: Any
        where = f"study: {row.name}, seed {seed}"
        network, fitted = fit(row.network(images), train, validation, spec, fabric, seed, on_epoch, where)
        return Trial(
            sharing=row.name,
            seed=seed,
            accuracy=evaluate(network, test)[0],
            train_accuracy=evaluate(network, train)[0],
            validation_accuracy=evaluate(network, validation)[0],
            accuracy_shifted={
                str(pixels): accuracy_shifted(network, to_shift, pixels, images.background)
                for pixels in images.shifts
            },
            epochs=len(fitted.validation_accuracy),
            best_epoch=fitted.best_epoch,
            hit_cap=fitted.hit_cap,
            train_seconds=fitted.seconds,
            curve_accuracy=fitted.validation_accuracy,
            curve_loss=fitted.train_loss,
            first_layer=look(network.convolutions[0], images.size) if seed == 0 else None,
        )


def accuracy_shifted(network, to_shift: tuple[Tensor, Tensor], pixels: int, background: Tensor) -> float:
    """Mean accuracy over these images shifted up, down, left and right by so many pixels."""
    images, labels = to_shift
    moves = [(-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels)]
    return sum(evaluate(network, (shifted(images, *move, background), labels))[0] for move in moves) / 4
