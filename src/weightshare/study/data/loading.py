"""Load images by the name of their source, check them, split them and normalize them."""

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from .checks import check_raw
from .images import Images
from .normalization import compute_statistics, normalize
from .raw import Raw
from .sources import load_raw
from .split import (
    TEST_FRACTION,
    TEST_SEED,
    TRAIN_IMAGES_SEED,
    VALIDATION_FRACTION,
    VALIDATION_SEED,
    draw,
)


def load_images(data: str, train_images: int | None = None) -> Images:
    """Load images by the name of their source, split them and normalize them.

    Args:
        data: "digits", "faces", "npz:FILE" or "folder:DIR".
        train_images: Number of images to draw from the training set, stratified by class; by default all.

    Raises:
        SpecError: If `data` is not a known source.
        DataError: If the data are missing, corrupt, too large, or not labeled images.
    """
    return prepare_images(load_raw(data), train_images)


def prepare_images(raw: Raw, train_images: int | None = None) -> Images:
    """Check, split and normalize images. Splits are stratified, and always drawn with the same seeds."""
    check_raw(raw)
    x, y, x_test, y_test = raw.x, raw.y, raw.x_test, raw.y_test
    if x_test is None or y_test is None:
        chosen, rest = draw(y, round(TEST_FRACTION * len(y)), TEST_SEED)
        x, y, x_test, y_test = x[rest], y[rest], x[chosen], y[chosen]
    if train_images is not None:
        least = 2 * len(raw.class_names)
        if not least <= train_images <= len(y):
            raise DataError(
                raw.name,
                f"train_images must be between {least} (two per class) and {len(y)} (all training images)",
                str(train_images),
            )
        chosen, _ = draw(y, train_images, TRAIN_IMAGES_SEED)
        x, y = x[chosen], y[chosen]
    validation, train = draw(y, max(1, round(VALIDATION_FRACTION * len(y))), VALIDATION_SEED)
    mean, deviation = compute_statistics(raw.name, x[train])

    def to_tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        return normalize(raw.name, images, mean, deviation), torch.from_numpy(labels.astype(np.int64))

    return Images(
        name=raw.name,
        train=to_tensors(x[train], y[train]),
        validation=to_tensors(x[validation], y[validation]),
        test=to_tensors(x_test, y_test),
        class_names=raw.class_names,
        background=torch.from_numpy((-mean / deviation).astype(np.float32).reshape(-1)),
    )
