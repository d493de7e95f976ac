"""Check that a network can be trained on the images: their size, values, scale and classes."""

import numpy as np

from ...errors import DataError
from .raw import Raw

MIN_SIDE = 4
MAX_SCALE_RATIO = 16.0


def check_raw(raw: Raw) -> None:
    """Raise a DataError if no network can be trained on these images."""
    if min(raw.x.shape[2:]) < MIN_SIDE:
        raise DataError(
            raw.name,
            f"images must be at least {MIN_SIDE} x {MIN_SIDE} pixels",
            f"{raw.x.shape[2]} x {raw.x.shape[3]}",
        )
    for images in (raw.x, raw.x_test):
        if images is not None and images.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
            if len(bad):
                raise DataError(
                    raw.name,
                    "pixels must be finite numbers",
                    f"NaN or infinity in {len(bad)} images, the first of them image {bad[0]}",
                )
    if raw.x_test is not None:
        check_scales(raw.name, raw.x, raw.x_test)
    if len(raw.class_names) < 2:
        raise DataError(raw.name, "there must be at least 2 classes", str(len(raw.class_names)))
    counts = np.bincount(raw.y, minlength=len(raw.class_names))
    least = 2 if raw.x_test is not None else 4
    if counts.min() < least:
        smallest = int(counts.argmin())
        raise DataError(
            raw.name,
            f"every class must have at least {least} images to split",
            f"{counts[smallest]} in class {raw.class_names[smallest]!r}",
            "add images or remove the class",
        )


def check_scales(name: str, x: np.ndarray, x_test: np.ndarray) -> None:
    """Raise a DataError if training and test pixels differ in scale, such as 0 to 255 and 0 to 1."""
    low, high = sorted(max(abs(float(images.min())), abs(float(images.max()))) for images in (x, x_test))
    if x.dtype.kind != x_test.dtype.kind or (low > 0 and high / low > MAX_SCALE_RATIO):
        train, test = (f"{i.dtype} from {i.min():.4g} to {i.max():.4g}" for i in (x, x_test))
        raise DataError(
            name,
            "training and test images must be of the same kind (integer or float) and on the same scale",
            f"{train} in x_train and {test} in x_test",
            "scale both in the same way",
        )
