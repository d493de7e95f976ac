"""The background of inputs: the value that fills the gap when they are shifted."""

import numpy as np

#: Share of the values at the border that must be the same for it to be a background.
BACKGROUND_SHARE = 0.5


def find_fill(inputs: np.ndarray) -> np.ndarray | None:
    """Return the background of inputs [N, C, *size], one value per channel [C]; None if there is none.

    The background is the most frequent value at the border of a channel, if at least half of the border has
    it. Without one, shifting repeats the values at the border.

    >>> find_fill(np.pad(np.ones((2, 1, 2, 2)), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=7.0))
    array([7.])
    """
    is_border = np.ones(inputs.shape[2:], dtype=bool)
    is_border[(slice(1, -1),) * is_border.ndim] = False
    values: list[float] = []
    for channel in range(inputs.shape[1]):
        found, counts = np.unique(inputs[:, channel][:, is_border], return_counts=True)
        if counts.max() < BACKGROUND_SHARE * counts.sum():
            return None
        values.append(float(found[counts.argmax()]))
    return np.array(values)
