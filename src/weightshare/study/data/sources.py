"""The sources of images (digits, faces, .npz files and folders), each read as one `Raw` value."""

from pathlib import Path

import numpy as np

from ..._args import did_you_mean
from ...errors import DataError, MissingExtraError, SpecError
from .folders import load_folder
from .npz import load_npz
from .raw import Raw

SOURCES = ("digits", "faces", "npz:FILE", "folder:DIR")


def load_raw(data: str) -> Raw:
    """Load images by the name of their source."""
    kind, _, path = data.partition(":")
    if data == "digits":
        return load_digits()
    if data == "faces":
        return load_faces()
    if kind == "npz" and path:
        return load_npz(Path(path), data)
    if kind == "folder" and path:
        return load_folder(Path(path), data)
    if Path(data).is_dir():
        hint = f"did you mean 'folder:{data}'?"
    elif data.endswith(".npz"):
        hint = f"did you mean 'npz:{data}'?"
    else:
        hint = did_you_mean(data, SOURCES)
    raise SpecError("study data", f"must be one of {', '.join(SOURCES)}", repr(data), hint)


def load_digits() -> Raw:
    """Load the 1,797 handwritten digits of scikit-learn, 8 x 8 pixels each."""
    from sklearn.datasets import load_digits as sklearn_digits

    images, labels = sklearn_digits(return_X_y=True)
    return Raw("digits", images.reshape(-1, 1, 8, 8), labels, tuple("0123456789"))


def load_faces() -> Raw:
    """Load 200 images of scikit-image, 25 x 25 pixels each: 100 aligned faces, then 100 other patches."""
    try:
        from skimage.data import lfw_subset
    except ImportError:
        raise MissingExtraError.for_package("faces", "scikit-image", extra="faces") from None
    try:
        images = lfw_subset()
    except Exception as error:  # scikit-image may have to download it, which fails in many ways
        raise DataError(
            "faces",
            "scikit-image must be able to load lfw_subset",
            f"{type(error).__name__}: {error}",
            "connect to the network once, or use digits",
        ) from None
    labels = np.repeat([0, 1], [100, 100])
    return Raw("faces", images[:, None], labels, ("face", "other"))
