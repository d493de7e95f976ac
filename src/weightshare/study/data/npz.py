"""Images from a .npz file. All headers are checked before an array is read, and nothing is unpickled."""

import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from ...errors import DataError
from .paths import describe_path
from .raw import Raw

KEYS = ("x_train", "y_train", "x_test", "y_test")
MAX_VALUES = 2**29  # maximum number of values in one array: 512 MiB as uint8
MAX_BYTES = 2**30  # maximum size of all arrays together
MAX_CLASSES = 10_000
HINT = "write it with numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...)"


def load_npz(path: Path, name: str) -> Raw:
    """Load the arrays `x_train`, `y_train`, `x_test` and `y_test`.

    Images are uint8 or float, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels. Labels are
    integers from 0, [N] or [N, 1].

    Raises:
        DataError: If the file does not contain such arrays.
    """
    if path.is_symlink() or not path.is_file():
        raise DataError(name, "must be a file", describe_path(path))
    with _catch_damage(name):
        archive = zipfile.ZipFile(path)
    with archive:
        return _assemble(name, *_read(archive, name))


@contextmanager
def _catch_damage(name: str) -> Generator[None]:
    """Turn any exception into a DataError: on damaged bytes, decoders raise exceptions of many types."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(name, "must be a readable .npz file", reason, HINT) from None


def _read(archive: zipfile.ZipFile, name: str) -> list[np.ndarray]:
    """Read the arrays in the order of `KEYS`."""
    members = [f"{key}.npy" for key in KEYS]
    missing = [key for key, member in zip(KEYS, members) if member not in archive.namelist()]
    if missing:
        found = ", ".join(sorted(archive.namelist())[:8]) or "no arrays"
        raise DataError(name, f"must contain {', '.join(KEYS)}", f"{found} (no {missing[0]})", HINT)
    stored = [archive.getinfo(member).file_size for member in members]
    if sum(stored) > MAX_BYTES:
        raise DataError(
            name,
            f"the arrays must have at most {MAX_BYTES:,} bytes in total",
            f"{sum(stored):,}",
            "use fewer or smaller images, or store them as uint8",
        )
    for key, member, size in zip(KEYS, members, stored):
        _check_header(f"{name}, {key}", key, archive, member, size)
    arrays: list[np.ndarray] = []
    for member in members:
        with _catch_damage(name), archive.open(member) as stream:
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    return arrays


def _check_header(where: str, key: str, archive: zipfile.ZipFile, member: str, stored: int) -> None:
    """Raise a DataError unless the header describes images or labels and agrees with the stored length."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    header = None
    with _catch_damage(where), archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version in readers:
            header = readers[version](stream)
        body = stored - stream.tell()
    if header is None:
        raise DataError(where, "must be an array of .npy version 1 or 2", f"version {version}", HINT)
    shape, _, dtype = header
    if dtype.hasobject:
        raise DataError(where, "must be plain numbers", "pickled objects, which are never loaded", HINT)
    if prod(shape) > MAX_VALUES:
        raise DataError(
            where,
            f"must have at most {MAX_VALUES:,} values",
            f"{prod(shape):,}",
            "use fewer or smaller images",
        )
    if prod(shape) * dtype.itemsize != body:
        raise DataError(
            where, "must be as long as its header states", f"{body:,} bytes for shape {shape} of {dtype}"
        )
    if 0 in shape:
        raise DataError(where, "must not be empty", f"shape {shape}")
    if key.startswith("x"):
        if not (dtype == np.uint8 or dtype.kind == "f"):
            raise DataError(where, "images must be uint8 or float", str(dtype))
        if len(shape) not in (3, 4):
            raise DataError(
                where, "images must have shape [N, H, W], [N, H, W, C] or [N, C, H, W]", str(shape)
            )
    else:
        if dtype.kind not in "iu":
            raise DataError(where, "labels must be integers", str(dtype), "number the classes from 0")
        if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            raise DataError(where, "labels must have shape [N]", str(shape))


def _assemble(name: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> Raw:
    """Check that the arrays fit together, and number the classes that occur from 0."""
    x, x_test = move_channels_first(f"{name}, x_train", x), move_channels_first(f"{name}, x_test", x_test)
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            name,
            "training and test images must have the same size",
            f"{x.shape[1:]} and {x_test.shape[1:]} (channels, height, width)",
        )
    y, y_test = y.reshape(-1), y_test.reshape(-1)
    for key, images, labels in (("train", x, y), ("test", x_test, y_test)):
        if len(images) != len(labels):
            raise DataError(
                f"{name}, {key}",
                "there must be one label per image",
                f"{len(images)} images and {len(labels)} labels",
            )
        if labels.min() < 0:
            raise DataError(f"{name}, y_{key}", "labels must be at least 0", str(labels.min()))
    classes, y = np.unique(y, return_inverse=True)
    unseen = np.setdiff1d(y_test, classes)
    if len(unseen):
        raise DataError(
            f"{name}, y_test",
            "every test label must occur in y_train",
            f"label {unseen[0]}, which does not",
            "remove these images",
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(name, f"there must be at most {MAX_CLASSES:,} classes", f"{len(classes):,}")
    return Raw(name, x, y, tuple(map(str, classes)), x_test, np.searchsorted(classes, y_test))


def move_channels_first(where: str, images: np.ndarray) -> np.ndarray:
    """Return images as [N, C, H, W]. If they have four axes, the channel axis has 1, 3 or 4 entries.

    >>> move_channels_first("x", np.zeros((2, 8, 9, 3))).shape
    (2, 3, 8, 9)
    """
    if images.ndim == 3:
        return images[:, None]
    first, last = images.shape[1] in (1, 3, 4), images.shape[3] in (1, 3, 4)
    if first == last:
        raise DataError(
            where,
            "either the second or the last axis must have 1, 3 or 4 entries (the channels)",
            f"shape {images.shape}",
            "store [N, C, H, W] with larger images" if first else "store 1, 3 or 4 channels",
        )
    return images if first else np.moveaxis(images, 3, 1)
