"""Data given in Python: arrays, data sets, or a function that returns them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import utils

from ...errors import DataError
from ...views.escape import quote
from ..tasks import find_function, search_current_folder
from .arrays import assemble, to_array
from .datasets import read_dataset
from .describe import describe_exception
from .npz import guess_axes
from .raw import Raw

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
#: Keys that belong together.
KEYS = ({*ARRAYS}, {"x_train", "x_test"}, {"x", "y"}, {"x"}, {"train", "test"}, {"train"})
FORMS = (
    f"data must be arrays (x, y) or ({', '.join(ARRAYS)}), a Dataset, a pair of Datasets, "
    "or a dictionary with these names, or train and test, as its keys"
)


def load_function(path: str, name: str) -> Raw:
    """Load the data of a function by "package.module:function"."""
    with search_current_folder():
        return load_given(find_function(path, "data"), name)


def load_given(given: Any, name: str) -> Raw:
    """Load arrays, tensors, data sets or loaders, or what a function without arguments returns.

    Inputs have the shape [N, C, L], [N, C, H, W] or [N, C, D, H, W], unless a dictionary gives their "axes".
    Pairs ((x_train, y_train), (x_test, y_test)) come from Keras; their axes are those of a .npz file.

    Raises:
        DataError: If the function raises an exception, or the data have another form.
    """
    if callable(given) and not isinstance(given, utils.data.Dataset):
        given = _call(given, name)
    parts, class_names = _name_parts(given, name), None
    if "train" in parts:
        parts, class_names = _read_datasets(parts, name)
    if not isinstance(parts.get("axes", ""), str):
        raise DataError(f"{name}, axes", 'must be a text, such as "NCL"', type(parts["axes"]).__name__)
    raw, notes = assemble(name, parts, _guess_axes), ()
    if raw.x.ndim == 3 and "axes" not in parts:
        channels, length = raw.x.shape[1:]
        plural = "s" if channels > 1 else ""
        notes = (f"Inputs with three axes were read as {channels} channel{plural} of length {length}.",)
    return replace(raw, class_names=raw.class_names if class_names is None else class_names, notes=notes)


def _call(function: Callable[[], Any], name: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:  # a function of the user can raise anything
        reason = describe_exception(error)
        raise DataError(name, "must return data when called without arguments", reason) from error


def _name_parts(given: Any, name: str) -> dict[Any, Any]:
    """Return the data as a dictionary with the keys of one set in `KEYS`, and possibly "axes"."""
    if isinstance(given, utils.data.Dataset | utils.data.DataLoader):
        return {"train": given}
    if isinstance(given, tuple | list) and [isinstance(g, tuple) and len(g) for g in given] == [2, 2]:
        parts = dict(zip(ARRAYS, (*given[0], *given[1])))
        shape = to_array(f"{name}, x_train", parts["x_train"]).shape
        return {**parts, "axes": guess_axes(f"{name}, x_train", shape)}
    got = type(given).__name__
    if isinstance(given, Mapping):
        parts = dict(given)
        names = ", ".join(quote(str(key)) for key in list(parts)[:8])
        got = f"a dictionary with the keys {names}" if parts else "an empty dictionary"
    elif isinstance(given, tuple | list):
        are_datasets = all(isinstance(part, utils.data.Dataset | utils.data.DataLoader) for part in given)
        keys = ("train", "test") if are_datasets else ("x", "y") if len(given) == 2 else ARRAYS
        parts = dict(zip(keys, given)) if len(keys) == len(given) else {}
        got = f"a {got} of {len(given)}"
    else:
        parts = {}
    if set(parts) - {"axes"} not in KEYS:
        raise DataError(name, FORMS, got)
    return parts


def _read_datasets(parts: Mapping[str, Any], name: str) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Return the arrays of a training set and perhaps a test set, and the names of the classes."""
    arrays = {key: value for key, value in parts.items() if key == "axes"}
    suffixes = {"train": "_train", "test": "_test"} if "test" in parts else {"train": ""}
    class_names = None
    for key, suffix in suffixes.items():
        where = f"{name}, {key}"
        if not isinstance(parts[key], utils.data.Dataset | utils.data.DataLoader):
            raise DataError(where, "must be a Dataset or a DataLoader", type(parts[key]).__name__)
        arrays[f"x{suffix}"], arrays[f"y{suffix}"], names = read_dataset(where, parts[key])
        class_names = class_names or names
    return arrays, class_names


def _guess_axes(where: str, shape: tuple[int, ...]) -> str:
    """Return the axes of inputs with the channels before the spatial axes."""
    known = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
    if len(shape) not in known:
        expected = "must have the shape [N, C, L], [N, C, H, W] or [N, C, D, H, W]"
        raise DataError(where, expected, str(shape), "reshape them, or give other axes in a dictionary")
    return known[len(shape)]
