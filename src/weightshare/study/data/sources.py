"""The four places that images come from, each read as one `Raw` value."""

import difflib
from pathlib import Path

import numpy as np

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
    near = difflib.get_close_matches(kind.lower(), ["digits", "faces", "npz", "folder"], n=1, cutoff=0.5)
    if Path(data).is_dir():
        near = [f"folder:{data}"]
    elif data.endswith(".npz"):
        near = [f"npz:{data}"]
    elif near and near[0] in ("npz", "folder"):
        near = [next(source for source in SOURCES if source.startswith(near[0]))]
    way_out = f"did you mean {near[0]!r}?" if near else "use one of these"
    raise SpecError("study data", f"must be one of {', '.join(SOURCES)}", repr(data), way_out.rstrip("?"))


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
        raise MissingExtraError(
            "faces", "scikit-image must be installed", "no module skimage", "pip install 'weightshare[faces]'"
        ) from None
    try:
        images = lfw_subset()
    except Exception as error:  # it may be a download: whatever goes wrong there is no fault of the caller's
        raise DataError(
            "faces", "scikit-image must be able to load lfw_subset", f"{type(error).__name__}: {error}",
            "connect to the network once, or use digits",
        ) from None  # fmt: skip
    labels = np.repeat([0, 1], [100, 100])
    return Raw("faces", images[:, None], labels, ("face", "other"))
