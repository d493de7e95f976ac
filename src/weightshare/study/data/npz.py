"""Images from a .npz file: every header is checked before an array is unpacked, nothing pickled is read."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from ...errors import DataError
from .raw import Raw

KEYS = ("x_train", "y_train", "x_test", "y_test")
MAX_VALUES = 2**29  # of one array: 512 MiB of uint8
MAX_BYTES = 2**30  # of all arrays together
MAX_CLASSES = 10_000
WAY_OUT = "write it with numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...)"


def load_npz(path: Path, name: str) -> Raw:
    """Read `x_train, y_train, x_test, y_test`.

    Images are uint8 or float, [N, H, W], [N, H, W, C] or [N, C, H, W] with 1, 3 or 4 channels; labels are
    integers from 0, [N] or [N, 1].

    Raises:
        DataError: a file that cannot be read so.
    """
    if path.is_symlink() or not path.is_file():
        got = "a link, which is not followed" if path.is_symlink() else _kind(path)
        raise DataError(name, "must be a file", got, "give the path of an .npz file")
    with _decoding(name):
        archive = zipfile.ZipFile(path)
    with archive:
        return _arranged(name, *_read(archive, name))


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault: decoders raise what they like on damaged bytes."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(name, "must be a readable .npz file", reason, WAY_OUT) from None


def _read(archive: zipfile.ZipFile, name: str) -> list[np.ndarray]:
    members = [f"{key}.npy" for key in KEYS]
    missing = [key for key, member in zip(KEYS, members) if member not in archive.namelist()]
    if missing:
        found = ", ".join(sorted(archive.namelist())[:8]) or "no arrays"
        raise DataError(name, f"must hold {', '.join(KEYS)}", f"{found} (no {missing[0]})", WAY_OUT)
    stored = [archive.getinfo(member).file_size for member in members]
    if sum(stored) > MAX_BYTES:
        raise DataError(
            name,
            f"its arrays must have at most {MAX_BYTES:,} bytes together",
            f"{sum(stored):,}",
            "use fewer or smaller images, or store them as uint8",
        )
    for key, member, size in zip(KEYS, members, stored):
        _check_header(f"{name}, {key}", key, archive, member, size)
    arrays = []
    for member in members:
        with _decoding(name), archive.open(member) as stream:
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    return arrays


def _check_header(where: str, key: str, archive: zipfile.ZipFile, member: str, stored: int) -> None:
    """Refuse shapes and types that are not images or labels, and sizes that the file does not hold."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    header = None
    with _decoding(where), archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version in readers:
            header = readers[version](stream)
        body = stored - stream.tell()
    if header is None:
        raise DataError(where, "must be an array of .npy version 1 or 2", f"version {version}", WAY_OUT)
    shape, _, dtype = header
    if dtype.hasobject:
        raise DataError(where, "must be plain numbers", "pickled objects, which are never loaded", WAY_OUT)
    images = key.startswith("x")
    if prod(shape) > MAX_VALUES:
        raise DataError(
            where,
            f"must have at most {MAX_VALUES:,} values",
            f"{prod(shape):,}",
            "use fewer or smaller images",
        )
    if prod(shape) * dtype.itemsize != body:
        raise DataError(
            where,
            "must be as long as its header says",
            f"{body:,} bytes for shape {shape} of {dtype}",
            "write the file again",
        )
    if images and not (dtype == np.uint8 or dtype.kind == "f"):
        raise DataError(where, "images must be uint8 or float", str(dtype), "cast them")
    if images and len(shape) not in (3, 4):
        raise DataError(
            where,
            "images must have shape [N, H, W], [N, H, W, C] or [N, C, H, W]",
            f"{shape}",
            "reshape them",
        )
    if not images and dtype.kind not in "iu":
        raise DataError(where, "labels must be integers", str(dtype), "number the classes from 0")
    if not images and (len(shape) not in (1, 2) or shape[1:] not in ((), (1,))):
        raise DataError(where, "labels must have shape [N]", f"{shape}", "give one integer an image")
    if 0 in shape:
        raise DataError(where, "must not be empty", f"shape {shape}", "store at least one image")


def _arranged(name: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> Raw:
    x, x_test = channels_first(f"{name}, x_train", x), channels_first(f"{name}, x_test", x_test)
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            name,
            "training and test images must have the same size",
            f"{x.shape[1:]} and {x_test.shape[1:]} (channels, height, width)",
            "store them alike",
        )
    y, y_test = y.reshape(-1), y_test.reshape(-1)
    for key, images, labels in (("train", x, y), ("test", x_test, y_test)):
        if len(images) != len(labels):
            raise DataError(
                f"{name}, {key}",
                "there must be one label an image",
                f"{len(images)} images and {len(labels)} labels",
                "store as many labels as images",
            )
        if labels.min() < 0:
            raise DataError(
                f"{name}, y_{key}", "labels must be 0 or more", str(labels.min()), "number the classes from 0"
            )
    classes, y = np.unique(y, return_inverse=True)
    unseen = np.setdiff1d(y_test, classes)
    if len(unseen):
        raise DataError(
            f"{name}, y_test",
            "every test label must occur in y_train",
            f"label {unseen[0]}, which does not",
            "leave these images out",
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(
            name, f"there must be at most {MAX_CLASSES:,} classes", f"{len(classes):,}", "merge classes"
        )
    return Raw(name, x, y, tuple(map(str, classes)), x_test, np.searchsorted(classes, y_test))


def channels_first(where: str, images: np.ndarray) -> np.ndarray:
    """Images as [N, C, H, W]; of four axes, the one of 1, 3 or 4 entries holds the channels.

    >>> channels_first("x", np.zeros((2, 8, 9, 3))).shape
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


def _kind(path: Path) -> str:
    return "a folder" if path.is_dir() else "something else" if path.exists() else "nothing there"
