"""The numbers that every library gets for a shape, and what is compared of its answers; NumPy only."""

import numpy as np

from shapes import Shape

#: Numbers of an array that are compared between libraries.
SAMPLES = 499


def input_array(shape: Shape) -> np.ndarray:
    """[N, C, *size], float32."""
    return _random(1, (shape.batch, shape.channels, *shape.in_size))


def weight_array(shape: Shape, positions: int | None = None) -> np.ndarray:
    """[P, *kernel, C / groups, O], float32, of the scale of a layer that is not trained yet."""
    count = shape.positions if positions is None else positions
    size = (count, *(shape.kernel,) * shape.ndim, shape.channels // shape.groups, shape.out)
    return _random(2, size) / np.float32(shape.taps**0.5)


def patches_last(weight: np.ndarray) -> np.ndarray:
    """[P, *kernel, C, O] -> [P, C * kernel, O]: the channel is the slowest axis of a patch."""
    return np.moveaxis(weight, -2, 1).reshape(len(weight), -1, weight.shape[-1])


def samples(array: np.ndarray) -> list[float]:
    """Numbers from all over the array."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat[:: max(1, flat.size // SAMPLES)].tolist()


def _random(seed: int, size: tuple[int, ...]) -> np.ndarray:
    numbers = np.random.default_rng(seed).random(size, dtype=np.float32)
    numbers -= np.float32(0.5)
    return numbers
