"""Images as they were found, before they are split and normalised."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Raw:
    """Images as they were found.

    Args:
        name: What the data are called, also in errors.
        x: Training images [N, C, H, W], uint8 or float.
        y: Their labels [N], 0 to the number of classes - 1.
        class_names: One a label.
        x_test, y_test: The same for the test; None where the test is to be split off from `x`.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
