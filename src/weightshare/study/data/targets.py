"""Targets: the task that they stand for, and their form for training."""

from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ..tasks import IGNORED, Task, find_task
from .raw import Raw

MAX_OUTPUTS = 10_000
LARGEST_CLASS = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets in the form for training.

    Args:
        task: The task.
        train: Targets of the training set: classes from 0 as integers [N] or [N, *size], or numbers
            [N, outputs] or [N, outputs, *size] in the units of the data.
        test: Targets of the test set; None if there is none.
        class_names: One name per class; empty if the targets are not classes.
    """

    task: Task
    train: np.ndarray
    test: np.ndarray | None
    class_names: tuple[str, ...]


def encode_targets(raw: Raw, task_name: str = "auto") -> Targets:
    """Return the targets for a task, in the form for training. Classes that do not occur are left out.

    Args:
        raw: Inputs and targets.
        task_name: Name of the task. For "auto", integers are classes, and other numbers are predicted; they
            belong to positions if they have the spatial axes of the inputs.

    Raises:
        DataError: If the targets are missing or do not fit the task.
    """
    if task_name == "reconstruction":
        return Targets(find_task(task_name), raw.x, raw.x_test, ())
    if raw.y is None or (raw.x_test is not None and raw.y_test is None):
        hint = "add targets, or use the task reconstruction"
        raise DataError(raw.name, "every input must have a target", "inputs without targets", hint)
    where, where_test = f"{raw.name}, training targets", f"{raw.name}, test targets"
    _check_values(where, raw.x, raw.y)
    task = find_task(_infer_task(where, raw.x, raw.y) if task_name == "auto" else task_name)
    train, test = _prepare(where, raw.x, raw.y, task), None
    if raw.x_test is not None and raw.y_test is not None:
        _check_values(where_test, raw.x_test, raw.y_test)
        test = _prepare(where_test, raw.x_test, raw.y_test, task)
    if task.has_classes:
        return _number_classes(raw, task, train, test)
    if test is not None and test.shape[1] != train.shape[1]:
        expected = f"must have as many outputs as the training targets ({train.shape[1]})"
        raise DataError(where_test, expected, str(test.shape[1]))
    return Targets(task, train, test, ())


def _check_values(where: str, x: np.ndarray, y: np.ndarray) -> None:
    """Raise a DataError unless there is one finite target per input."""
    if y.ndim == 0 or len(x) != len(y):
        got = f"{len(x)} inputs and {f'{len(y)} targets' if y.ndim else 'a single number'}"
        raise DataError(where, "there must be one target per input", got)
    if y.size == 0:
        raise DataError(where, "must not be empty", f"shape {y.shape}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = np.flatnonzero(~np.isfinite(y.reshape(len(y), -1)).all(axis=1))
        got = f"NaN or infinity in {len(bad)} example{'s' * (len(bad) > 1)}, first in example {bad[0]}"
        raise DataError(where, "must be finite numbers", got, "remove or complete these examples")


def _infer_task(where: str, x: np.ndarray, y: np.ndarray) -> str:
    size = x.shape[2:]
    if y.dtype.kind != "f":
        return "pixel-classification" if y.shape[1:] in (size, (1, *size)) else "classification"
    if _is_one_hot(y):
        hint = "use y.argmax(1), or state the task regression"
        raise DataError(where, "classes must be given as integers", f"one-hot vectors {y.shape}", hint)
    return "pixel-regression" if y.ndim > 2 else "regression"


def _is_one_hot(y: np.ndarray) -> bool:
    return y.ndim == 2 and y.shape[1] > 1 and set(np.unique(y)) == {0, 1} and bool((y.sum(axis=1) == 1).all())


def _prepare(where: str, x: np.ndarray, y: np.ndarray, task: Task) -> np.ndarray:
    """Return classes [N] or [N, *size], or numbers [N, outputs] or [N, outputs, *size]."""
    size = x.shape[2:] if task.is_dense else ()
    rest = y.shape[1:]
    if task.has_classes:
        if y.dtype.kind == "f":
            hint = "number the classes from 0, or use another task"
            raise DataError(where, f"must be integers for {task.name}", str(y.dtype), hint)
        fits = rest in (size, (1, *size))
        y = y.reshape(len(y), *size) if fits else y
    else:
        y = y[:, None] if rest == size else y
        fits = y.ndim == 2 + len(size) and y.shape[2:] == size
    if not fits:
        axes = ["N", *([] if task.has_classes else ["outputs"]), *map(str, size)]
        hint = "use y.argmax(1) for one-hot vectors" if task.has_classes and _is_one_hot(y) else None
        raise DataError(where, f"must have the shape [{', '.join(axes)}] for {task.name}", str(y.shape), hint)
    if task.has_classes:
        if y.max() > LARGEST_CLASS:
            hint = "number the classes from 0"
            raise DataError(where, f"classes must be at most {LARGEST_CLASS:,}", f"{y.max():,}", hint)
        return y.astype(np.int64)
    if y.shape[1] > MAX_OUTPUTS:
        raise DataError(where, f"must have at most {MAX_OUTPUTS:,} outputs", f"{y.shape[1]:,}")
    return y.astype(np.float64)


def _number_classes(raw: Raw, task: Task, train: np.ndarray, test: np.ndarray | None) -> Targets:
    """Return the targets with the classes of the training set numbered from 0."""
    classes = np.unique(train[train != IGNORED] if task.is_dense else train)

    def encode(part: str, labels: np.ndarray) -> np.ndarray:
        where = f"{raw.name}, {part} targets"
        is_known = labels != IGNORED if task.is_dense else np.ones(labels.shape, dtype=bool)
        found = np.unique(labels[is_known])
        most = None if raw.class_names is None else len(raw.class_names) - 1
        if len(found) and (found[0] < 0 or (most is not None and found[-1] > most)):
            got = str(found[0] if found[0] < 0 else found[-1])
            expected = "at least 0" if most is None else f"between 0 and {most}, one per class name"
            raise DataError(where, f"classes must be {expected}", got, "number the classes from 0")
        if len(unseen := np.setdiff1d(found, classes)):
            expected = "every class must occur in the training targets"
            raise DataError(where, expected, f"class {unseen[0]}, which does not", "remove these examples")
        return np.where(is_known, np.searchsorted(classes, labels), IGNORED)

    encoded = encode("training", train), None if test is None else encode("test", test)
    if len(classes) > MAX_OUTPUTS:
        raise DataError(raw.name, f"there must be at most {MAX_OUTPUTS:,} classes", f"{len(classes):,}")
    names = map(str, classes) if raw.class_names is None else (raw.class_names[k] for k in classes)
    return Targets(task, *encoded, tuple(names))
