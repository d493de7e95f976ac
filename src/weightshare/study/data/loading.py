"""Load examples by the name of their source, check them, split them and normalize them."""

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ..spec import StudySpec
from .checks import check_raw
from .examples import Examples
from .fill import find_fill
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


def load_examples(spec: StudySpec) -> Examples:
    """Load the examples of a study, split them and normalize them.

    Raises:
        SpecError: If `spec.data` is not a known source.
        DataError: If the data are missing, corrupt, too large, or not labeled images.
    """
    return prepare_examples(load_raw(spec.data), spec.train_images)


def prepare_examples(raw: Raw, train_images: int | None = None) -> Examples:
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

    fill = find_fill(x[train])
    return Examples(
        name=raw.name,
        train=to_tensors(x[train], y[train]),
        validation=to_tensors(x[validation], y[validation]),
        test=to_tensors(x_test, y_test),
        class_names=raw.class_names,
        fill=None
        if fill is None
        else torch.from_numpy(((fill - mean[:, 0, 0]) / deviation[:, 0, 0]).astype(np.float32)),
    )
