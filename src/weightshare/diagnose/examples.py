"""The examples of a test: batches by index from a dataset, and digests to compare examples."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, default_collate

from .._nests import iter_tensors, map_tensors
from .._running import list_cuda_devices
from ..errors import ArgumentError, DataError, describe_exception
from ..parameters.digest import to_bytes

_WHERE = "sharing_test"


@dataclass(frozen=True)
class Source:
    """A dataset of (input, target), read by index.

    Args:
        name: Name of the argument, for errors.
        dataset: Object with `__len__` and `__getitem__`.
        batch_size: Number of examples per batch.
        collate: Function from a list of examples to a batch.
    """

    name: str
    dataset: Any
    batch_size: int
    collate: Callable[[list[Any]], Any]

    def __len__(self) -> int:
        return len(self.dataset)

    def read(
        self, indices: Sequence[int], device: torch.device | None = None
    ) -> Iterator[tuple[Tensor, Any]]:
        """Yield batches of inputs [N, ...] and targets."""
        for start in range(0, len(indices), self.batch_size):
            chosen = indices[start : start + self.batch_size]
            try:
                examples = [self.dataset[i] for i in chosen]
                batch = self.collate(examples)
            except Exception as error:  # a dataset can raise any exception
                expected, got = f"the examples of {self.name} must form a batch", describe_exception(error)
                raise DataError(_WHERE, expected, got.rstrip(".")) from error
            is_pair = isinstance(batch, list | tuple) and len(batch) == 2
            if not is_pair or not isinstance(batch[0], Tensor):
                expected = f"each example of {self.name} must be (input, target), with a tensor as input"
                hint = "use torch.utils.data.TensorDataset(inputs, targets), for example"
                raise DataError(_WHERE, expected, _describe(examples[0]), hint)
            inputs, targets = batch
            for tensor in iter_tensors(batch):
                if tensor.shape[:1] != (len(chosen),):
                    expected = f"a batch of {self.name} must have one entry per example along the first axis "
                    got = f"shape {list(tensor.shape)} for {len(chosen)} examples"
                    raise DataError(_WHERE, f"{expected}of each tensor", got)
            yield (
                (inputs, targets)
                if device is None
                else map_tensors(lambda t: t.to(device), (inputs, targets))
            )

    def hash_examples(self, seed: int) -> tuple[list[bytes], str]:
        """Return a digest of the input of each example, and one of all inputs and targets together."""
        digests: list[bytes] = []
        everything = hashlib.blake2b(digest_size=8)
        self._check_repeatable(seed)
        with seeding(seed):
            for inputs, targets in self.read(range(len(self))):
                digests += [hashlib.blake2b(to_bytes(x), digest_size=16).digest() for x in inputs]
                for target in iter_tensors(targets):
                    everything.update(to_bytes(target))
        everything.update(b"".join(digests))
        return digests, everything.hexdigest()

    def _check_repeatable(self, seed: int) -> None:
        """Raise an error if the examples of the first batch differ when they are read twice."""
        first, second = (self._read_first(seed) for _ in range(2))
        if first != second:
            expected = f"examples of {self.name} must be the same when they are read twice with the same"
            hint = "disable augmentation, or draw its random numbers from torch"
            raise DataError(_WHERE, f"{expected} random seed of torch", "different ones", hint)

    def _read_first(self, seed: int) -> list[bytes]:
        with seeding(seed):
            return [*map(to_bytes, iter_tensors(next(self.read(range(min(len(self), self.batch_size))))))]


def open_source(name: str, data: Any, batch_size: int) -> Source:
    """Return the examples of a Dataset or DataLoader.

    Raises:
        ArgumentError: If the data are neither, or cannot be read by index.
    """
    collate: Callable[[list[Any]], Any] = default_collate
    dataset = data
    if isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset):
        loader: Any = data
        if type(loader.sampler) not in (SequentialSampler, RandomSampler):
            hint = "pass a torch.utils.data.Subset instead"
            got = f"a {type(loader.sampler).__name__}"
            raise ArgumentError(_WHERE, f"the DataLoader of {name} must have no sampler", got, hint)
        dataset = loader.dataset
        collate = loader.collate_fn
        batch_size = loader.batch_size or 0
        if batch_size < 2:
            expected = f"the DataLoader of {name} must have a batch size of at least 2"
            raise ArgumentError(_WHERE, expected, str(loader.batch_size))
    readable = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if isinstance(dataset, DataLoader | IterableDataset | Tensor | str | dict) or not readable:
        expected = f"{name} must be a torch Dataset with a length, or a DataLoader of one"
        got = f"DataLoader of {type(data.dataset).__name__}" if isinstance(data, DataLoader) else ""
        raise ArgumentError(_WHERE, expected, got or type(dataset).__name__)
    return Source(name, dataset, batch_size, collate)


@contextmanager
def seeding(seed: int) -> Generator[None]:
    """Return a context with its own random state of torch; the current state is restored."""
    with torch.random.fork_rng(list_cuda_devices()):
        torch.manual_seed(seed)
        yield


def _describe(example: Any) -> str:
    if isinstance(example, list | tuple):
        items: Any = example
        return (
            f"a {type(example).__name__} of {', '.join(type(item).__name__ for item in items) or 'nothing'}"
        )
    return type(example).__name__
