"""Normalization by the mean and standard deviation of each channel."""

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError

CHUNK = 1024  # number of examples that are converted to float64 at a time


def compute_statistics(
    where: str, values: np.ndarray, notes: tuple[str, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of each channel [C] of values [N, C, *size].

    A channel that never varies has standard deviation 1.

    Args:
        where: Beginning of errors.
        values: Values [N, C, *size].
        notes: How the values were converted, for an error.

    Raises:
        DataError: If all channels are constant, or if values overflow.
    """
    axes = (0, *range(2, values.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values.mean(axis=axes, dtype=np.float64)
        center = _expand(mean, values.ndim)
        total = sum(np.square(chunk - center).sum(axis=axes) for chunk in split_chunks(values))
        deviation = np.sqrt(total / (values.size / values.shape[1]))
    if not deviation.any():
        reason = f" ({' '.join(notes).rstrip('.')})" if notes else ""
        raise DataError(where, "must not be constant", f"the same value everywhere{reason}")
    if not np.isfinite(deviation).all():
        raise _overflow_error(where)
    return mean, np.where(deviation > 0, deviation, 1.0)


def normalize(where: str, values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> Tensor:
    """Return values [N, C, *size] as a float32 tensor, normalized by a mean and deviation per channel [C].

    Raises:
        DataError: If values overflow.
    """
    result = np.empty(values.shape, dtype=np.float32)
    center, scale = _expand(mean, values.ndim), _expand(deviation, values.ndim)
    with np.errstate(over="ignore"):
        for chunk, target in zip(split_chunks(values), split_chunks(result)):
            target[...] = (chunk - center) / scale
    if not np.isfinite(result).all():
        raise _overflow_error(where)
    return torch.from_numpy(result)


def split_chunks(values: np.ndarray) -> list[np.ndarray]:
    """Return views of at most `CHUNK` examples, so that a float64 copy never holds all of them."""
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]


def _expand(channels: np.ndarray, ndim: int) -> np.ndarray:
    """Return values per channel [C] with the axes that broadcast over [N, C, *size]."""
    return channels.reshape(-1, *(1,) * (ndim - 2))


def _overflow_error(where: str) -> DataError:
    return DataError(where, "must be small enough to normalize", "values that overflow", "rescale them")
