"""Images as they were read, before they are split and normalized."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Raw:
    """Images and labels as they were read.

    Args:
        name: Name of the data, also used in errors.
        x: Training images [N, C, H, W], uint8 or float.
        y: Labels of `x` [N], from 0 to the number of classes - 1.
        class_names: One name per label.
        x_test, y_test: Test images and labels; None if the test set is to be split off from `x`.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
