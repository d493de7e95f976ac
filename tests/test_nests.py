"""Nested values are searched and changed as by torch's tree functions."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch.utils._pytree import tree_iter, tree_map

from weightshare._nests import iter_tensors, map_leaves

Pair = namedtuple("Pair", "first second")
T = [torch.full((1,), float(k)) for k in range(4)]
NESTS = {
    "a tensor": T[0],
    "no tensor": (None, 1, "a", 2.5, torch.float32, ..., slice(1)),
    "containers": ([T[0], (T[1], {"a": T[2], "b": [None, 3]})], T[3]),
    "containers of other types": (Pair(T[0], [T[1]]), OrderedDict(a=T[2]), torch.max(T[3], 0)),
}


@pytest.mark.parametrize("values", NESTS.values(), ids=NESTS)
def test_leaves_are_those_of_torch(values):
    found = [*iter_tensors(values, dataclasses=False)]
    expected = [leaf for leaf in tree_iter(values) if isinstance(leaf, torch.Tensor)]
    assert list(map(id, found)) == list(map(id, expected))
    assert repr(map_leaves(str, values)) == repr(tree_map(str, values))


def test_sizes_keep_their_type():
    size = torch.Size([2, 3])
    assert map_leaves(lambda leaf: leaf, (size,))[0] is size
