"""MACs are counted, or reported as not counted, for every operator of torch that sums products."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import flop_registry

import weightshare as ws
from weightshare.ledger.macs import _FORMULAS, can_sum_products

#: Operators whose names only look like sums of products.
OTHERS = re.compile(
    "_foreach_lgamma|.*gamma.*|cumm|_cumm|hamming|tril|upsample|_upsample|_?convert|_compute_linear|"
    "_nested_get_jagged_dummy|mkldnn_reorder|_cudnn_rnn_flatten|_cslt_sparse_mm_search|_thnn_fused|dist$"
)
SUSPECTS = re.compile("mm|conv|linear|matmul|attention|rnn|lstm|gru|dot|mv$|addr|dist")


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def macs(function, *shapes, dtype=torch.float32):
    inputs = [torch.ones(shape, dtype=dtype) for shape in shapes]
    answer = ws.summary(Call(function), *inputs)
    assert answer.warnings == ()
    return answer.totals.macs


def attend(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)


def pack(x):
    return nn.utils.rnn.pack_padded_sequence(x, [5, 3])


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.mm, [(3, 4), (4, 5)], 60),
        (torch.addmm, [(5,), (3, 4), (4, 5)], 60),
        (torch._addmm_activation, [(5,), (3, 4), (4, 5)], 60),
        (torch.bmm, [(2, 3, 4), (2, 4, 5)], 120),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (torch.dot, [(3,), (3,)], 3),
        (torch.inner, [(3, 4), (5, 4)], 60),
        (lambda a, b: torch.einsum("bij,bjk->bik", a, b), [(2, 3, 4), (2, 4, 5)], 120),
        (lambda a, b: torch.tensordot(a, b, 2), [(3, 4, 5), (4, 5, 6)], 360),
        (lambda a, b, c: torch.linalg.multi_dot([a, b, c]), [(2, 3), (3, 4), (4, 5)], 24 + 40),
        (attend, [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8)], 2 * 4 * 5 * 6 * 16),
        (attend, [(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 8)], 2 * 4 * 5 * 6 * 16),
        (lambda a, b: a.tril().to_sparse() @ b, [(4, 4), (4, 5)], 10 * 5),
        (lambda a, b: torch.sparse.mm(a.tril().to_sparse(), b), [(4, 4), (4, 5)], 10 * 5),
        (lambda a, b: b @ a.tril().to_sparse_csr(), [(4, 4), (5, 4)], 10 * 5),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_products(function, shapes, expected):
    assert macs(function, *shapes) == expected


@pytest.mark.parametrize(
    ("shapes", "ends", "expected"),
    [
        ([(6, 16), (2, 16, 8)], [2, 6], 6 * 16 * 8),  # rows in groups, one matrix per group
        ([(2, 8, 16), (16, 16)], [8, 16], 8 * 16 * 16),  # columns in groups
        ([(8, 16), (16, 8)], [8, 16], 8 * 16 * 8),  # the summed axis in groups
        ([(2, 8, 16), (2, 16, 8)], None, 2 * 8 * 16 * 8),
    ],
)
def test_grouped_products(shapes, ends, expected):
    ends = None if ends is None else torch.tensor(ends, dtype=torch.int32)
    assert macs(lambda a, b: torch._grouped_mm(a, b, ends), *shapes, dtype=torch.bfloat16) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LSTM(3, 4, 2, bidirectional=True), 10 * (2 * 16 * 7 + 2 * 16 * 12)),
        (nn.LSTM(3, 4, proj_size=2), 10 * (16 * 5 + 8)),
        (nn.GRU(3, 4), 10 * 12 * 7),
        (nn.RNN(3, 4), 10 * 4 * 7),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_recurrent_layers(layer, expected, device):
    answer = ws.summary(layer.to(device), torch.zeros(5, 2, 3, device=device))
    assert (answer.totals.macs, answer.warnings) == (expected, ())


def test_a_packed_sequence():
    assert macs(lambda x: nn.LSTM(3, 4)(pack(x))[0].data, (5, 2, 3)) == 8 * 16 * 7


def test_products_without_a_formula_are_reported():
    answer = ws.summary(Call(torch.cdist), torch.zeros(30, 4), torch.zeros(30, 4))
    assert answer.warnings[0].names == ("aten._euclidean_dist",)


def test_every_operator_that_sums_products_is_known():
    names = {schema.name.removeprefix("aten::") for schema in torch._C._jit_get_all_schemas()}
    unknown = []
    for name in names:
        packet = getattr(torch.ops.aten, name, None) if name.isidentifier() else None
        if packet is None or not SUSPECTS.search(name) or OTHERS.match(name):
            continue
        overloads = [getattr(packet, o) for o in packet.overloads() if "out" not in o]
        if name.endswith("_") or "backward" in name or all(map(is_composite, overloads)):
            continue
        if not can_sum_products(overloads[0]) and packet not in flop_registry and packet not in _FORMULAS:
            unknown.append(name)
    assert unknown == []


def is_composite(overload):
    """Return whether an operator calls others, which are counted instead."""
    try:
        key = "CompositeImplicitAutograd"
        return torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), key)
    except RuntimeError:  # an operator of TorchScript alone
        return True
