"""Read a torch `Dataset` into memory, once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
    default_convert,
)

from ...errors import DataError
from .arrays import to_array
from .describe import describe_exception
from .raw import MAX_BYTES

MAX_EXAMPLES = 2**22


def read_dataset(where: str, dataset: Any) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...] | None]:
    """Return inputs [N, C, *size], targets [N, ...] (None if there are none) and the names of the classes.

    Args:
        where: Beginning of errors.
        dataset: A `Dataset`, or a `DataLoader` whose data set is read in its own order.

    Raises:
        DataError: If an example cannot be read, is not a pair of input and target, differs from the first one
            in its shape or type, or changes when it is read again, or if there are too many.
    """
    if isinstance(dataset, DataLoader):
        dataset = _get_dataset(where, dataset)
    columns: list[list[np.ndarray]] = []
    total = 0
    for k, item in enumerate(_iterate(where, dataset)):
        pair = _split_item(f"{where}, example {k}", item)
        columns = columns or [[] for _ in pair]
        if len(columns) != len(pair):
            raise _pair_error(f"{where}, example {k}", "a pair and an input alone")
        for what, column, part in zip(("input", "target"), columns, pair):
            column.append(part.copy())  # the data set may use the same memory again
            if (part.shape, part.dtype) != (column[0].shape, column[0].dtype):
                got = f"{_describe(column[0])} in example 0 and {_describe(part)} in example {k}"
                raise DataError(where, f"every {what} must have the same shape and type", got)
        total += sum(part.nbytes for part in pair)
        if total > MAX_BYTES or k >= MAX_EXAMPLES:
            expected = f"must have at most {MAX_EXAMPLES:,} examples and {MAX_BYTES:,} bytes"
            raise DataError(where, expected, f"more in example {k}", "use fewer or smaller examples")
    if not columns:
        raise DataError(where, "must have at least one example", "an empty data set")
    inputs, *targets = map(np.stack, columns)
    if not isinstance(dataset, IterableDataset):
        again = _split_item(f"{where}, example 0", next(_iterate(where, dataset)))
        if not all(np.array_equal(part, column[0], equal_nan=True) for part, column in zip(again, columns)):
            hint = "remove random augmentation"
            raise DataError(
                where, "an example must not change", "another example 0 when it is read again", hint
            )
    return inputs, targets[0] if targets else None, _find_class_names(dataset)


def _get_dataset(where: str, loader: DataLoader[Any]) -> Any:
    """Return the data set of a `DataLoader` that does not select or change its examples."""
    dataset, sampler = loader.dataset, loader.sampler
    if not isinstance(dataset, IterableDataset) and not isinstance(
        sampler, RandomSampler | SequentialSampler
    ):
        hint = "select them with torch.utils.data.Subset"
        raise DataError(where, "a DataLoader must load all examples", f"a {type(sampler).__name__}", hint)
    if loader.collate_fn not in (default_collate, default_convert):
        hint = "return the data set instead of the DataLoader"
        raise DataError(where, "a DataLoader must have the default collate_fn", "another function", hint)
    return dataset


def _iterate(where: str, dataset: Any) -> Iterator[Any]:
    """Yield the examples. Any exception becomes a DataError, because a data set of the user can raise any."""
    k = 0
    try:
        if isinstance(dataset, IterableDataset):
            for item in dataset:
                yield item
                k += 1
        else:
            for k in range(len(dataset)):
                yield dataset[k]
    except (Exception, SystemExit) as error:
        raise DataError(f"{where}, example {k}", "must be readable", describe_exception(error)) from error


def _split_item(where: str, item: Any) -> tuple[np.ndarray, ...]:
    """Return an example as input and target, or as an input alone."""
    if not isinstance(item, tuple | list):
        item = (item,)
    if len(item) not in (1, 2):
        raise _pair_error(where, f"{len(item)} values")
    if not isinstance(item[0], torch.Tensor | np.ndarray):
        raise _pair_error(where, f"an input of type {type(item[0]).__name__}")
    return tuple(to_array(f"{where}, {what}", part) for what, part in zip(("input", "target"), item))


def _pair_error(where: str, got: str) -> DataError:
    return DataError(where, "must be a pair of a tensor or array and a target", got)


def _describe(part: np.ndarray) -> str:
    return f"{part.dtype} {list(part.shape)}"


def _find_class_names(dataset: Any) -> tuple[str, ...] | None:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) or None
