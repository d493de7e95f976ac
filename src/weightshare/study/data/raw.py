"""Examples as they were read, before they are split and normalized."""

from dataclasses import dataclass

import numpy as np

#: Maximum number of bytes of the inputs of a data set.
MAX_BYTES = 2**32


@dataclass(frozen=True, eq=False)
class Raw:
    """Inputs and targets as they were read.

    Args:
        name: Name of the data, also used in errors.
        x: Training inputs [N, C, *size] with one to three spatial axes, numbers of any type.
        y: Their targets; see `encode_targets`. None if there are only inputs.
        class_names: One name per class; None if the classes are named by their numbers.
        x_test, y_test: Test inputs and targets; None if the test set is to be split off from `x`.
        notes: What was changed when the data were read, as sentences.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None
    class_names: tuple[str, ...] | None = None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    notes: tuple[str, ...] = ()
