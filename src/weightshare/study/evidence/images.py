"""The images of the experiments: scikit-learn's digits, or those of a file."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import DataError
from ..data import load_examples
from ..spec import StudySpec


@dataclass(frozen=True, eq=False)
class Images:
    """Images with values from 0 to 1, and their classes.

    Args:
        name: Name of the data, without the folder of a file.
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
def load_images(
    data: str, size: int | None = None, needed: int = 0, most_classes: int | None = None
) -> Images:
    """Load images by the name of their source, such as "digits" or "npz:FILE".

    Without a test set, a quarter of the images becomes one, stratified by class.

    Args:
        data: Name of the source.
        size: Height and width to which the images are resized; None to leave them as they are.
        needed: Smallest number of images, those of the test set included.
        most_classes: Largest number of classes; None for any number.

    Raises:
        DataError: If the data cannot be read, or are not such images.

    Example:
        >>> load_images("digits", 16).description
        'digits, 1,348 training and 449 test images of 16 x 16 pixels'
    """
    examples = load_examples(StudySpec(data))
    if examples.task_name != "classification" or len(examples.size) != 2:
        raise DataError(examples.name, "must be images with one class each", f"{examples.task_name} data")
    classes = len(examples.class_names)
    if most_classes is not None and classes > most_classes:
        raise DataError(
            examples.name, f"there must be at most {most_classes} classes for this experiment", str(classes)
        )
    x, y = (torch.cat(parts) for parts in zip(examples.train, examples.validation))
    x_test, y_test = examples.test
    if len(x) + len(x_test) < needed:
        raise DataError(
            examples.name,
            f"there must be at least {needed:,} images for this experiment",
            f"{len(x) + len(x_test):,}",
        )
    low, high = x.min(), x.max()

    def scale(images: Tensor) -> Tensor:
        scaled = (images - low) / (high - low)
        if size is None:
            return scaled
        return F.interpolate(scaled, size=(size, size), mode="bilinear", antialias=True)

    kind, colon, path = examples.name.partition(":")
    return Images(f"{kind}{colon}{Path(path).name}", (scale(x), y), (scale(x_test), y_test), classes)
