"""Load examples by the name of their source, check them, split them and normalize them."""

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ..spec import StudySpec
from .checks import check_inputs, check_targets
from .examples import Examples
from .fill import find_fill
from .normalization import compute_statistics, normalize
from .raw import Raw
from .sources import load_raw
from .split import (
    TEST_FRACTION,
    TEST_SEED,
    TRAIN_IMAGES_SEED,
    VALIDATION_FRACTION,
    VALIDATION_SEED,
    draw,
)
from .targets import encode_targets

NO_TEST_SET = (
    "The data have no test set, so a quarter of the examples was drawn; the results are valid only if the "
    "trained network has not seen these."
)


def load_examples(spec: StudySpec) -> Examples:
    """Load the examples of a study, split them and normalize them.

    Inputs and targets for a trained network are not normalized.

    Raises:
        SpecError: If `spec.data` is not a known source, or its function cannot be imported.
        DataError: If the data are missing, damaged, too large, or do not fit the task.

    Example:
        >>> from weightshare.study import StudySpec
        >>> x = torch.randn(40, 3, 20)  # 40 series with 3 channels
        >>> examples = load_examples(StudySpec((x, x.mean(2))))
        >>> examples.task_name, examples.size, examples.outputs
        ('regression', (20,), 3)
    """
    raw = load_raw(spec.data, spec.name, spec.resize)
    return prepare_examples(raw, spec.task, spec.train_images, is_trained=spec.start is not None)


def prepare_examples(
    raw: Raw, task_name: str = "auto", train_images: int | None = None, *, is_trained: bool = False
) -> Examples:
    """Check, split and normalize data. Splits are always drawn with the same seeds; see `draw`.

    Args:
        raw: The data.
        task_name: "auto" or the name of a task.
        train_images: Number of examples to draw from the training set; None for all.
        is_trained: Whether the data are for a trained network. They are then not normalized.
    """
    check_inputs(raw)
    targets = encode_targets(raw, task_name)
    check_targets(raw.name, targets)
    task, x, y, x_test, y_test = targets.task, raw.x, targets.train, raw.x_test, targets.test
    notes = raw.notes
    if x_test is None or y_test is None:
        if is_trained:
            notes = (*notes, NO_TEST_SET)
        chosen, rest = draw(y, round(TEST_FRACTION * len(y)), TEST_SEED)
        x, y, x_test, y_test = x[rest], y[rest], x[chosen], y[chosen]
    if train_images is not None:
        chosen = _draw_training(raw.name, y, train_images)
        x, y = x[chosen], y[chosen]
    validation, train = draw(y, max(1, round(VALIDATION_FRACTION * len(y))), VALIDATION_SEED)

    def measure(what: str, values: np.ndarray, notes: tuple[str, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = compute_statistics(f"{raw.name}, training {what}", values, notes)
        return (np.zeros_like(mean), np.ones_like(deviation)) if is_trained else (mean, deviation)

    mean, deviation = measure("inputs", x[train], raw.notes)
    target_mean = target_deviation = None
    if task.name == "reconstruction":
        target_mean, target_deviation = mean, deviation
    elif not task.has_classes:
        target_mean, target_deviation = measure("targets", y[train])

    def to_tensors(inputs: np.ndarray, given: np.ndarray) -> tuple[Tensor, Tensor]:
        normalized = normalize(f"{raw.name}, inputs", inputs, mean, deviation)
        if task.name == "reconstruction":
            return normalized, normalized
        if target_mean is None or target_deviation is None:
            return normalized, torch.from_numpy(given.astype(np.int64))
        return normalized, normalize(f"{raw.name}, targets", given, target_mean, target_deviation)

    fill = find_fill(x[train])
    return Examples(
        name=raw.name,
        train=to_tensors(x[train], y[train]),
        validation=to_tensors(x[validation], y[validation]),
        test=to_tensors(x_test, y_test),
        class_names=targets.class_names,
        fill=None if fill is None else torch.from_numpy(((fill - mean) / deviation).astype(np.float32)),
        task_name=task.name,
        target_mean=None if target_mean is None else torch.from_numpy(target_mean),
        target_deviation=None if target_deviation is None else torch.from_numpy(target_deviation),
        notes=notes,
    )


def _draw_training(name: str, y: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the training examples to use."""
    least, meaning = (2 * (int(y.max()) + 1), " (two per class)") if y.ndim == 1 else (2, "")
    if not least <= count <= len(y):
        raise DataError(
            name,
            f"train_images must be between {least}{meaning} and {len(y)} (all training examples)",
            str(count),
        )
    return draw(y, count, TRAIN_IMAGES_SEED)[0]
