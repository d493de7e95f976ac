"""Arrays from a .npz file. All headers are checked before an array is read, and nothing is unpickled."""

import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...views.escape import quote
from .arrays import NUMBERS, assemble
from .describe import describe_exception, describe_path
from .raw import Raw

KEYS = ("x_train", "y_train", "x_test", "y_test")
MAX_VALUES = 2**29  # maximum number of values in one array: 512 MiB as uint8
MAX_BYTES = 2**30  # maximum size of all arrays together
HINT = "write it with numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...)"


def load_npz(path: Path, name: str) -> Raw:
    """Load the arrays `x_train`, `y_train`, `x_test` and `y_test`, or `x` and `y`.

    Inputs are numbers of any type, and targets are numbers or names of classes. An array of text named `axes`
    can give the axes of the inputs, such as "NCL" for series. Without it, they are [N, H, W], or have 1, 3 or
    4 channels in the second or the last axis.

    Raises:
        DataError: If the file does not contain such arrays.
    """
    if (got := describe_path(path)) != "a file":
        raise DataError(name, "must be a file", got)
    with _catch_damage(name):
        archive = zipfile.ZipFile(path)
    with archive:
        return assemble(name, _read(archive, name), guess_axes)


def guess_axes(where: str, shape: tuple[int, ...]) -> str:
    """Return the axes of inputs by their shape: in a .npz file, the channels may come last.

    >>> guess_axes("x", (100, 8, 9, 3))
    'NHWC'
    """
    if len(shape) == 3:
        return "NHW"
    if len(shape) not in (4, 5):
        expected = "must have the shape [N, H, W], [N, H, W, C] or [N, C, H, W]"
        raise DataError(where, expected, str(shape), 'add axes="NCL" for series, "NCDHW" for volumes')
    size = "HW" if len(shape) == 4 else "DHW"
    is_first, is_last = shape[1] in (1, 3, 4), shape[-1] in (1, 3, 4)
    if is_first == is_last:
        raise DataError(
            where,
            "either the second or the last axis must have 1, 3 or 4 entries (the channels)",
            f"shape {shape}",
            f'add axes="NC{size}" or axes="N{size}C" to the file',
        )
    return f"NC{size}" if is_first else f"N{size}C"


@contextmanager
def _catch_damage(name: str) -> Generator[None]:
    """Turn any exception into a DataError: on damaged bytes, decoders raise exceptions of many types."""
    try:
        yield
    except PermissionError as error:
        raise DataError(name, "must be readable", str(error.strerror)) from None
    except Exception as error:
        raise DataError(name, "must be a readable .npz file", describe_exception(error), HINT) from None


def _read(archive: zipfile.ZipFile, name: str) -> dict[str, np.ndarray]:
    """Read the arrays of a data set by their keys."""
    found = archive.namelist()
    needed, keys = (("x",), ("x", "y")) if "x.npy" in found else (("x_train", "x_test"), KEYS)
    missing = [key for key in needed if f"{key}.npy" not in found]
    if missing:
        names = ", ".join(quote(name)[1:-1] for name in sorted(found)[:8]) or "no arrays"
        raise DataError(
            name, f"must contain {', '.join(KEYS)}, or x and y", f"{names} (no {missing[0]})", HINT
        )
    members = {key: f"{key}.npy" for key in (*keys, "axes") if f"{key}.npy" in found}
    stored = {key: archive.getinfo(member).file_size for key, member in members.items()}
    if sum(stored.values()) > MAX_BYTES:
        raise DataError(
            name,
            f"the arrays must have at most {MAX_BYTES:,} bytes in total",
            f"{sum(stored.values()):,}",
            "use fewer or smaller examples, or store them as uint8",
        )
    for key, member in members.items():
        _check_header(f"{name}, {key}", key, archive, member, stored[key])
    arrays: dict[str, np.ndarray] = {}
    for key, member in members.items():
        with _catch_damage(name), archive.open(member) as stream:
            arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _check_header(where: str, key: str, archive: zipfile.ZipFile, member: str, stored: int) -> None:
    """Raise a DataError unless the header describes numbers and agrees with the stored length."""
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
            "use fewer or smaller examples",
        )
    if prod(shape) * dtype.itemsize != body:
        raise DataError(
            where, "must be as long as its header states", f"{body:,} bytes for shape {shape} of {dtype}"
        )
    if 0 in shape:
        raise DataError(where, "must not be empty", f"shape {shape}")
    if key == "axes" and (shape or dtype.kind != "U"):
        raise DataError(where, 'must be a text, such as "NCL"', f"shape {shape} of {dtype}")
    if key != "axes" and dtype.kind not in NUMBERS and not (key.startswith("y") and dtype.kind == "U"):
        expected = "must be numbers or names of classes" if key.startswith("y") else "must be numbers"
        raise DataError(where, expected, str(dtype))
