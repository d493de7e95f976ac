"""The four places that images come from, each read as one `Raw` value."""

from pathlib import Path

import numpy as np

from ..._args import did_you_mean
from ...errors import DataError, MissingExtraError, SpecError
from .folders import load_folder
from .npz import load_npz
from .raw import Raw

SOURCES = ("digits", "faces", "npz:FILE", "folder:DIR")


def load_raw(data: str) -> Raw:
    """Read the data that a text names."""
    kind, _, place = data.partition(":")
    if data == "digits":
        return load_digits()
    if data == "faces":
        return load_faces()
    if kind == "npz" and place:
        return load_npz(Path(place), data)
    if kind == "folder" and place:
        return load_folder(Path(place), data)
    if Path(data).is_dir():
        hint = f"did you mean 'folder:{data}'?"
    elif data.endswith(".npz"):
        hint = f"did you mean 'npz:{data}'?"
    else:
        hint = did_you_mean(data, SOURCES)
    raise SpecError("study data", f"must be one of {', '.join(SOURCES)}", repr(data), hint)


def load_digits() -> Raw:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits as sklearn_digits

    images, labels = sklearn_digits(return_X_y=True)
    return Raw("digits", images.reshape(-1, 1, 8, 8), labels, tuple("0123456789"))


def load_faces() -> Raw:
    """scikit-image's 200 images of 25 x 25 pixels: 100 aligned faces, then 100 patches that are no face."""
    try:
        from skimage.data import lfw_subset
    except ImportError:
        raise MissingExtraError.for_package("faces", "scikit-image", extra="faces") from None
    try:
        images = lfw_subset()
    except Exception as error:  # it may be a download: whatever goes wrong there is no fault of the caller's
        raise DataError(
            "faces", "scikit-image must be able to load lfw_subset", f"{type(error).__name__}: {error}",
            "connect to the network once, or use digits",
        ) from None  # fmt: skip
    labels = np.repeat([0, 1], [100, 100])
    return Raw("faces", images[:, None], labels, ("face", "other"))
