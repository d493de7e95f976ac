"""The sources of data (digits, faces, files, folders and functions), each read as one `Raw` value."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..._args import did_you_mean
from ...errors import DataError, MissingExtraError, SpecError
from ...views.escape import quote
from ..tasks import FUNCTION
from .describe import describe_exception, describe_path, shorten
from .folders import load_folder
from .given import load_function, load_given
from .npz import load_npz
from .raw import Raw

SOURCES = ("digits", "faces", "npz:FILE", "folder:DIR", "package.module:function")


def load_raw(data: Any, name: str | None = None, resize: tuple[int, int] | None = None) -> Raw:
    """Load data by the name of their source, or data given in Python.

    Args:
        data: Value of `StudySpec.data`.
        name: Name of the data for errors; by default, the name of the source.
        resize: Height and width to which the images of a folder are scaled.

    Raises:
        SpecError: If the source is unknown.
        DataError: If the data are missing, damaged, too large or of another kind.
    """
    kind, _, place = data.partition(":") if isinstance(data, str) else ("", "", "")
    name = shorten(str(data) if name is None else name)
    if kind == "folder" and place:
        return load_folder(Path(place), name, resize)
    if resize is not None:
        raise SpecError("study", "resize is only for folders of images", f"resize with {name!r}", "omit it")
    if not isinstance(data, str):
        return load_given(data, name)
    if data == "digits":
        return load_digits()
    if data == "faces":
        return load_faces()
    if kind == "npz" and place:
        return load_npz(Path(place), name)
    if kind.lower() not in ("npz", "folder") and re.fullmatch(FUNCTION, data):
        return load_function(data, name)
    if "://" in data:
        hint = "download it, and use npz:FILE or folder:DIR"
    elif data and describe_path(Path(data)) == "a folder":
        hint = f"did you mean 'folder:{name}'?"
    elif data.endswith(".npz"):
        hint = f"did you mean 'npz:{name}'?"
    else:
        hint = did_you_mean(data, SOURCES)
    raise SpecError("study data", f"must be one of {', '.join(SOURCES)}", quote(data), hint)


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
            describe_exception(error),
            "connect to the network once, or use digits",
        ) from None
    labels = np.repeat([0, 1], [100, 100])
    return Raw("faces", images[:, None], labels, ("face", "other"))
