"""Arrays of inputs and targets, put together as one `Raw` value with the channels first."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...errors import DataError
from ...views.escape import quote
from .describe import describe_exception
from .raw import Raw

#: Kinds of numpy types: booleans, unsigned and signed integers, and floats.
NUMBERS = "buif"
AXES = "axes must be N, C and one to three of D, H, W and L, such as NCL or NHWC"


def to_array(where: str, value: Any) -> np.ndarray:
    """Return numbers as an array, and booleans as 0 and 1.

    Raises:
        DataError: If the value is not an array or tensor of real numbers.
    """
    if isinstance(value, str | bytes | Dataset | DataLoader) or value is None:
        raise DataError(where, "must be an array or a tensor of numbers", type(value).__name__)
    if np.ma.is_masked(value):
        raise DataError(where, "must have a value everywhere", "a masked array", "fill the masked values")
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().to_dense()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        array = np.asarray(value)
    except Exception as error:  # any object can be given, and converting it can raise anything
        reason = describe_exception(error)
        raise DataError(
            where, "must be an array or a tensor of numbers", f"{type(value).__name__} ({reason})"
        ) from None
    if array.dtype.kind not in NUMBERS:
        got = f"an array of {'objects' if array.dtype.hasobject else array.dtype}"
        raise DataError(where, "must be an array or a tensor of numbers", got)
    return array.astype(np.uint8) if array.dtype == bool else array


def place_channels(where: str, inputs: np.ndarray, axes: str) -> np.ndarray:
    """Return inputs as [N, C, *size].

    Args:
        where: Beginning of errors.
        inputs: Inputs.
        axes: One letter per axis: N, C and one to three of D, H, W and L. Without C, there is one channel.

    >>> place_channels("x", np.zeros((2, 8, 9, 3)), "NHWC").shape
    (2, 3, 8, 9)
    """
    letters = set(axes)
    if (
        not re.fullmatch("N[CDHWL]{1,4}", axes)
        or len(letters) < len(axes)
        or not 1 <= len(letters - {*"NC"}) <= 3
    ):
        raise DataError(where, AXES, quote(axes))
    if len(axes) != inputs.ndim:
        raise DataError(where, f"must have {len(axes)} axes ({axes})", f"shape {inputs.shape}")
    return np.moveaxis(inputs, axes.index("C"), 1) if "C" in axes else inputs[:, None]


def assemble(name: str, arrays: Mapping[str, Any], guess_axes: Callable[[str, tuple[int, ...]], str]) -> Raw:
    """Return arrays as one value.

    Args:
        name: Name of the data.
        arrays: "x_train", "x_test" or only "x", each with its targets, such as "y_train", or without; and
            optionally "axes", as for `place_channels`. Targets may be names of classes.
        guess_axes: Function that returns the axes of inputs by their shape, if they are not given.
    """
    keys = ("x_train", "y_train", "x_test", "y_test") if "x_train" in arrays else ("x", "y")
    given = [key for key in keys if key in ("x", "x_train", "x_test") or arrays.get(key) is not None]
    arrays, class_names = _number_names(name, arrays)
    found = {key: to_array(f"{name}, {key}", arrays[key]) for key in given}
    for key in keys[::2]:
        axes = arrays.get("axes")
        axes = guess_axes(f"{name}, {key}", found[key].shape) if axes is None else str(axes)
        found[key] = place_channels(f"{name}, {key}", found[key], axes)
    x, y, x_test, y_test = found[keys[0]], found.get(keys[1]), found.get("x_test"), found.get("y_test")
    return Raw(name, x, y, class_names, x_test, y_test)


def _number_names(name: str, arrays: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...] | None]:
    """Return the arrays with targets that are names of classes as numbers, and the names.

    Raises:
        DataError: If the test targets have a name that the training targets lack.
    """
    targets = {key: arrays[key] for key in ("y", "y_train", "y_test") if arrays.get(key) is not None}
    are_names = set(map(_are_names, targets.values()))
    if len(are_names) > 1:
        expected = "training and test targets must both be numbers, or both names of classes"
        raise DataError(name, expected, "numbers and names")
    if True not in are_names:
        return arrays, None
    known = np.unique(next(iter(targets.values())))
    for key, target in targets.items():
        if len(unseen := np.setdiff1d(target, known)):
            expected, got = "every class must occur in the training targets", quote(str(unseen[0]))
            hint = "remove these examples"
            raise DataError(f"{name}, {key}", expected, f"class {got}, which does not", hint)
    numbers = {key: np.searchsorted(known, target) for key, target in targets.items()}
    return {**arrays, **numbers}, tuple(map(str, known))


def _are_names(target: Any) -> bool:
    is_list = target.ndim == 1 if isinstance(target, np.ndarray) else isinstance(target, list | tuple)
    return is_list and len(target) > 0 and all(isinstance(entry, str) for entry in target)
