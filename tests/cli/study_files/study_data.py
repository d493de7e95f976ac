"""Data for `bad_study`: most of them are faulty, and some are only unusual."""

import sys

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

R = np.random.default_rng(0)
X = R.random((20, 1, 6, 6)).astype(np.float32)
Y = np.arange(20) % 2
T = torch.from_numpy(X)

#: Data that no study can use, by name.
VALUES = {
    "none": None,
    "number": 5,
    "text": "digits",
    "array": X,
    "empty": (),
    "one": (X,),
    "three": (X, Y, X),
    "generator": (pair for pair in zip(X, Y)),
    "zipped": zip(X, Y),
    "set": {1, 2},
    "dictionary": {"images": X, "labels": Y},
    "dictionary_empty": {},
    "dictionary_numbers": {0: X, 1: Y},
    "axes": {"x": X, "y": Y, "axes": "NHW"},
    "axes_array": {"x": X, "y": Y, "axes": X},
    "only_test": {"test": TensorDataset(T)},
    "swapped": (Y, X),
    "list_of_pairs": list(zip(X, Y)),
    "paths": (["a.png", "b.png"], [0, 1]),
    "strings": (np.array([["a"] * 6] * 20), Y),
    "objects": (np.array([object()] * 20), Y),
    "ragged": ([[1, 2], [3]], Y),
    "complex": (X.astype(complex), Y),
    "complex_torch": (T.to(torch.complex64), Y),
    "dates": (np.zeros((20, 1, 6, 6), "datetime64[s]"), Y),
    "structured": (np.zeros((20, 1, 6, 6), [("a", "u1")]), Y),
    "meta": (T.to("meta"), Y),
    "nested": (torch.nested.nested_tensor([T[0], T[1]]), Y[:2]),
    "quantized": (torch.quantize_per_tensor(T, 0.1, 0, torch.quint8), Y),
    "masked": (np.ma.masked_less(X, 0.5), Y),
    "bytes": (b"pixels", Y),
    "scalar": (np.float32(1), Y),
    "one_axis": (np.zeros(20), Y),
    "two_axes": (np.zeros((20, 6)), Y),
    "six_axes": (np.zeros((20, 1, 6, 6, 6, 6)), Y),
    "no_examples": (X[:0], Y[:0]),
    "no_channels": (X[:, :0], Y),
    "no_pixels": (X[:, :, :0], Y),
    "one_example": (X[:1], Y[:1]),
    "two_examples": (X[:2], Y[:2]),
    "small": (X[..., :3], Y),
    "channels_last": (np.zeros((20, 6, 6, 3)), Y),
    "constant": (np.ones_like(X), Y),
    "nan": (np.where(X > 0.9, np.nan, X), Y),
    "infinity": (np.where(X > 0.9, -np.inf, X), Y),
    "huge": (X.astype(np.float64) * 1e300, Y),
    "huge_test": (X, Y, X * np.float32(1e38), Y),
    "fewer_targets": (X, Y[1:]),
    "more_targets": (X, np.arange(21) % 2),
    "target_alone": (X, 1),
    "target_none": (X, None),
    "target_text": (X, [["cat", "dog"]] * 20),
    "names_unseen": (X, ["cat", "dog"] * 10, X, ["cat", "cow"] * 10),
    "names_and_numbers": (X, ["cat", "dog"] * 10, X, Y),
    "target_objects": (X, np.array([None] * 20)),
    "target_nan": (X, np.where(Y, np.nan, 0.5)),
    "target_constant": (X, np.full(20, 0.5)),
    "target_huge": (X, np.where(Y, 1e300, -1e300)),
    "target_one_hot": (X, np.eye(2)[Y]),
    "target_integers_one_hot": (X, np.eye(2, dtype=int)[Y]),
    "target_shape": (X, np.zeros((20, 3, 3))),
    "target_empty": (X, np.zeros((20, 0))),
    "one_class": (X, Y * 0),
    "negative": (X, Y - 1),
    "largest": (X, Y.astype(np.uint64) * (2**64 - 1)),
    "rare": (X, np.arange(20) // 19),
    "unique": (X, np.arange(20)),
    "unseen": (X, Y, X, Y + 1),
    "test_size": (X, Y, X[..., :5], Y),
    "test_rank": (X, Y, X[..., None], Y),
    "test_channels": (X, Y, np.repeat(X, 3, 1), Y),
    "test_scale": (X, Y, X * 255, Y),
    "test_kind": (X, Y, (X * 255).astype(np.uint8), Y),
    "test_empty": (X, Y, X[:0], Y[:0]),
    "test_nan": (X, Y, X * np.nan, Y),
    "test_none": (X, Y, None, None),
    "test_targets_none": (X, Y, X, None),
    "test_fewer": (X, Y, X, Y[1:]),
    "test_outputs": (X, X[:, 0, 0], X, X[:, 0, 0, :2]),
    "pairs_axes": ((np.zeros((20, 6)), Y), (np.zeros((20, 6)), Y)),
    "tensor_datasets_three": (TensorDataset(T), TensorDataset(T), TensorDataset(T)),
    "mixed": (X, TensorDataset(T)),
    "function": lambda: (X, Y),
    "function_class": dict,
    "pixel_ignored": (X, np.full((20, 6, 6), -100)),
    "pixel_negative": (X, np.full((20, 6, 6), -1)),
    "pixel_size": (X, np.zeros((20, 5, 6), int)),
}


def raises():
    return 1 / 0


def raises_lines():
    raise RuntimeError("first\nsecond\x1b[31m")


def raises_long():
    raise RuntimeError("long " * 1000)


def raises_without_text():
    raise ValueError


def asserts():
    raise AssertionError


def leaves():
    sys.exit(3)


def recurses():
    return recurses()


def no_memory():
    return np.zeros((2**40, 2**20))


def stops():
    raise StopIteration


def needs_argument(folder):
    return X, Y


def yields():
    yield X
    yield Y


async def waits():
    return X, Y


class Items(Dataset):
    def __init__(self, get, length=20):
        self.get, self.length = get, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.get(index)


def fail(error):
    raise error


ITEMS = {
    "item_fails": lambda k: fail(OSError("a\nb")),
    "item_third_fails": lambda k: (X[k], 1) if k < 2 else fail(KeyError(k)),
    "item_stops": lambda k: fail(StopIteration()),
    "item_none": lambda k: None,
    "item_text": lambda k: "mine",
    "item_three": lambda k: (X[k], 1, 2),
    "item_dictionary": lambda k: {"image": X[k], "label": 1},
    "item_list": lambda k: (X[k].tolist(), 1),
    "item_sizes": lambda k: (X[k][:, : 5 + k % 2], 1),
    "item_types": lambda k: (X[k], 1 if k % 2 else 1.0),
    "item_alone_sometimes": lambda k: (X[k], 1) if k % 2 else X[k],
    "item_text_target": lambda k: (X[k], "cat"),
    "item_random": lambda k: (torch.randn(1, 6, 6), k),
    "item_flat": lambda k: (X[k].reshape(-1), k % 2),
}
LENGTHS = {"length_zero": 0, "length_negative": -1, "length_text": "20", "length_longer": 21}


class Endless(Dataset):
    def __getitem__(self, index):
        return X[0], 1


def endless():
    return Endless()


#: Data that a study can use.
ODD = {
    "series": (R.random((20, 2, 9)), Y),
    "volumes": (R.random((20, 1, 4, 5, 4)), Y),
    "float16": (X.astype(np.float16), Y),
    "bfloat16": (T.bfloat16(), Y),
    "float64": (X.astype(np.float64), Y),
    "booleans": (X > 0.5, Y > 0),
    "uint16": ((X * 65535).astype(np.uint16), Y.astype(np.uint16)),
    "int64": ((X * 1000).astype(np.int64), Y),
    "big_endian": (X.astype(">f4"), Y.astype(">i8")),
    "test_of_one": (X, Y, X[:1], Y[:1]),
    "few": (X[:8], Y[:8]),
    "classes_far_apart": (X, Y * 10**12),
    "lists": (X.tolist(), Y.tolist()),
    "names": (X, ["cat", "dog"] * 10),
    "targets_column": (X, Y[:, None] / 7),
    "numbers": (X, X.mean((1, 2, 3))),
    "images": (X, X),
    "masks": (X, (X > 0.5).astype(int)),
    "requires_grad": (T.clone().requires_grad_(), Y),
    "not_contiguous": (X.transpose(0, 1, 3, 2)[:, :, ::-1], Y),
    "channels_constant": (np.concatenate([X, X * 0], 1), Y),
    "many_channels": (R.random((20, 17, 4, 4)), Y),
    "read_only": (np.broadcast_to(X[:1], (20, 1, 6, 6)), Y),
}


def __getattr__(name):
    if name in VALUES:
        return lambda: VALUES[name]
    if name in ODD:
        return lambda: ODD[name]
    if name in ITEMS:
        return lambda: Items(ITEMS[name])
    if name in LENGTHS:
        return lambda: Items(lambda k: (X[k], k % 2), LENGTHS[name])
    raise AttributeError(name)


five = 5
