"""The images of the experiments: scikit-learn's digits, or those of a file."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import draw
from ..data.sources import load_raw
from ..data.split import TEST_FRACTION, TEST_SEED


@dataclass(frozen=True, eq=False)
class Images:
    """Images with values from 0 to 1, and their classes.

    Args:
        name: Name of the data.
        train, test: Pairs of images [N, C, H, W] and classes [N].
        classes: Number of classes.
    """

    name: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: int

    @property
    def description(self) -> str:
        """Name and sizes, in words."""
        height, width = self.train[0].shape[-2:]
        counts = f"{len(self.train[0]):,} training and {len(self.test[0]):,} test images"
        return f"{self.name}, {counts} of {height} x {width} pixels"

    @property
    def digest(self) -> str:
        """Digest of all values."""
        digest = hashlib.blake2b(digest_size=8)
        for tensor in (*self.train, *self.test):
            digest.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
        return digest.hexdigest()


@lru_cache(maxsize=2)
def load_images(data: str, size: int | None = None) -> Images:
    """Load images by the name of their source, such as "digits" or "npz:FILE".

    Without a test set, a quarter of the images becomes one, stratified by class.

    Args:
        data: Name of the source.
        size: Height and width to which the images are resized; None to leave them as they are.

    Example:
        >>> load_images("digits", 16).description
        'digits, 1,348 training and 449 test images of 16 x 16 pixels'
    """
    raw = load_raw(data)
    x, y, x_test, y_test = raw.x, raw.y, raw.x_test, raw.y_test
    if x_test is None or y_test is None:
        test, train = draw(y, round(TEST_FRACTION * len(y)), TEST_SEED)
        x, y, x_test, y_test = x[train], y[train], x[test], y[test]
    low, high = float(x.min()), float(x.max())

    def convert(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        scaled = (torch.from_numpy(images.astype(np.float32)) - low) / (high - low)
        if size is not None:
            scaled = F.interpolate(scaled, size=(size, size), mode="bilinear", antialias=True)
        return scaled, torch.from_numpy(labels.astype(np.int64))

    return Images(raw.name, convert(x, y), convert(x_test, y_test), len(raw.class_names))
