"""The inputs and weights that all libraries use, and the samples of results that are compared; NumPy only."""

import numpy as np

from shapes import Shape

#: Number of elements of an array that are compared between libraries.
SAMPLES = 499


def make_input(shape: Shape) -> np.ndarray:
    """Return a random input [N, C, *size] in float32."""
    return _draw(1, (shape.batch, shape.channels, *shape.in_size))


def make_weight(shape: Shape, positions: int | None = None) -> np.ndarray:
    """Return a random weight [P, *kernel, C / groups, O] in float32, scaled like an untrained layer."""
    count = shape.positions if positions is None else positions
    size = (count, *(shape.kernel,) * shape.ndim, shape.channels // shape.groups, shape.out)
    return _draw(2, size) / np.float32(shape.taps**0.5)


def flatten_patches(weight: np.ndarray) -> np.ndarray:
    """Reshape [P, *kernel, C, O] to [P, C * kernel, O], with the channel as the slowest axis of a patch."""
    return np.moveaxis(weight, -2, 1).reshape(len(weight), -1, weight.shape[-1])


def sample(array: np.ndarray) -> list[float]:
    """Return evenly spaced elements of the array."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat[:: max(1, flat.size // SAMPLES)].tolist()


def _draw(seed: int, size: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(seed).random(size, dtype=np.float32)
    values -= np.float32(0.5)
    return values
