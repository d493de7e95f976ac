"""Normalization of images by the mean and standard deviation of each channel."""

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError

CHUNK = 1024  # number of images that are converted to float64 at a time


def compute_statistics(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of each channel [C, 1, 1].

    A channel that never varies has standard deviation 1.

    Raises:
        DataError: If all channels are constant, or if pixel values overflow.
    """
    axes = (0, 2, 3)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = images.mean(axis=axes, dtype=np.float64)[:, None, None]
        total = sum(np.square(chunk - mean).sum(axis=axes) for chunk in _split_chunks(images))
        deviation = np.sqrt(total / (images.size / images.shape[1]))[:, None, None]
    if not deviation.any():
        raise DataError(name, "training images must not be constant", "the same value in every pixel")
    if not np.isfinite(deviation).all():
        raise _overflow_error(name)
    return mean, np.where(deviation > 0, deviation, 1.0)


def normalize(name: str, images: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> Tensor:
    """Return the images as a float32 tensor, normalized by this mean and standard deviation.

    Raises:
        DataError: If pixel values overflow.
    """
    result = np.empty(images.shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        for chunk, target in zip(_split_chunks(images), _split_chunks(result)):
            target[...] = (chunk - mean) / deviation
    if not np.isfinite(result).all():
        raise _overflow_error(name)
    return torch.from_numpy(result)


def _split_chunks(images: np.ndarray) -> list[np.ndarray]:
    """Return views of at most `CHUNK` images, so that a float64 copy never holds all images."""
    return [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]


def _overflow_error(name: str) -> DataError:
    return DataError(
        name, "pixel values must be small enough to normalize", "values that overflow", "rescale them"
    )
