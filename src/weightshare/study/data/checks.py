"""Check that a network can be trained on the data: the size, values and scale of inputs, and the classes."""

from math import sqrt

import numpy as np

from ..._args import format_size
from ...errors import DataError
from ..spec import MIN_SIDE
from .normalization import split_chunks
from .raw import MAX_BYTES, Raw
from .targets import Targets

MAX_SCALE_RATIO = 16.0


def check_inputs(raw: Raw) -> None:
    """Raise a DataError if no network can be trained on these inputs."""
    for where, inputs in (("training inputs", raw.x), ("test inputs", raw.x_test)):
        if inputs is not None:
            _check_part(f"{raw.name}, {where}", inputs)
    if raw.x_test is not None:
        if raw.x.shape[1:] != raw.x_test.shape[1:]:
            raise DataError(
                raw.name,
                "training and test inputs must have the same shape",
                f"{_describe_shape(raw.x)} and {_describe_shape(raw.x_test)}",
            )
        check_scales(raw.name, raw.x, raw.x_test)


def _check_part(where: str, inputs: np.ndarray) -> None:
    if inputs.nbytes > MAX_BYTES:
        hint = "use fewer or smaller examples, or a smaller type"
        raise DataError(where, f"must have at most {MAX_BYTES:,} bytes", f"{inputs.nbytes:,}", hint)
    if inputs.size == 0:
        raise DataError(where, "must not be empty", f"shape {inputs.shape}")
    if min(inputs.shape[2:]) < MIN_SIDE:
        expected = f"must have at least {MIN_SIDE} positions along each spatial axis"
        hint = "inputs have the shape [N, channels, *size]"
        raise DataError(where, expected, _describe_shape(inputs), hint)
    if inputs.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(inputs).all(axis=tuple(range(1, inputs.ndim))))
        if len(bad):
            raise DataError(
                where,
                "must be finite numbers",
                f"NaN or infinity in {len(bad)} example{'s' * (len(bad) > 1)}, first in example {bad[0]}",
                "remove or complete these examples",
            )


def _describe_shape(inputs: np.ndarray) -> str:
    channels = inputs.shape[1]
    return f"{format_size(inputs.shape[2:])} with {channels} channel{'s' * (channels > 1)}"


def check_scales(name: str, x: np.ndarray, x_test: np.ndarray) -> None:
    """Raise a DataError if training and test inputs differ in scale, such as 0 to 255 and 0 to 1."""
    low, high = sorted(map(_root_mean_square, (x, x_test)))
    kinds = {"u" if inputs.dtype.kind == "i" else inputs.dtype.kind for inputs in (x, x_test)}
    if len(kinds) > 1 or (low > 0 and high / low > MAX_SCALE_RATIO):
        train, test = (f"{i.dtype} from {i.min():.4g} to {i.max():.4g}" for i in (x, x_test))
        raise DataError(
            name,
            "training and test inputs must be of the same kind (integer or float) and on the same scale",
            f"{train} for training and {test} for the test",
            "scale both in the same way",
        )


def _root_mean_square(inputs: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        total = sum(float(np.square(chunk, dtype=np.float64).sum()) for chunk in split_chunks(inputs))
    return sqrt(total / inputs.size)


def check_targets(name: str, targets: Targets) -> None:
    """Raise a DataError if there are too few classes, or too few examples to split."""
    least = 2 if targets.test is not None else 4
    if targets.task.has_classes and len(targets.class_names) < 2:
        raise DataError(name, "there must be at least 2 classes", str(len(targets.class_names)))
    if targets.task.name != "classification":
        if len(targets.train) < least:
            expected = f"there must be at least {least} training examples to split"
            raise DataError(name, expected, str(len(targets.train)))
        return
    counts = np.bincount(targets.train)
    if counts.min() < least:
        smallest = int(counts.argmin())
        raise DataError(
            name,
            f"every class must have at least {least} examples to split",
            f"{counts[smallest]} in class {targets.class_names[smallest]!r}",
            "add examples or remove the class",
        )
