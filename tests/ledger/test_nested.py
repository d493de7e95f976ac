"""Nested tensors as inputs, parameters and buffers."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import weightshare as ws

LAYOUTS = pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")


def make(layout, features=3):
    """Two and five rows: seven in total."""
    return torch.nested.nested_tensor([torch.ones(2, features), torch.ones(5, features)], layout=layout)


def get_codes(answer):
    return [note.code for note in answer.warnings]


@pytest.mark.parametrize("inference", [False, True])
def test_jagged_inputs(inference):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    with torch.inference_mode(inference):
        answer = ws.summary(model, make(torch.jagged))
    assert (answer.totals.unique, answer.totals.macs, answer.totals.dead) == (32, 7 * 12 + 7 * 8, 0)
    assert [row.calls for row in answer.rows] == [1, 1, 1]
    assert get_codes(answer) == ["NESTED"]
    assert "MACs are counted for the given lengths" in answer.warnings[0].text


@pytest.mark.parametrize("inference", [False, True])
def test_strided_inputs(inference):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.inference_mode(inference):
        answer = ws.summary(model, make(torch.strided))
    assert (answer.totals.unique, answer.totals.dead) == (24, 0)
    assert get_codes(answer) == ["NESTED", "NOT_COUNTED"]
    assert "aten.linear (2 calls)" in answer.warnings[1].text


def test_jagged_token_ids():
    ids = [torch.tensor([1, 2]), torch.tensor([3, 4, 5])]
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    answer = ws.summary(model, torch.nested.nested_tensor(ids, layout=torch.jagged))
    assert (answer.totals.unique, answer.totals.macs, answer.totals.dead) == (50, 5 * 8, 0)


def test_a_layer_that_takes_nested_tensors_only_on_its_fast_path():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    answer = ws.summary(layer, make(torch.strided, 8))
    assert (answer.totals.dead, get_codes(answer)) == (0, ["NESTED", "NOT_COUNTED"])
    assert torch.backends.mha.get_fastpath_enabled()


class Holder(nn.Module):
    def __init__(self, layout):
        super().__init__()
        self.rows, self.linear = nn.Parameter(make(layout)), nn.Linear(3, 2)
        self.register_buffer("mean", make(layout))

    def forward(self, x):
        return self.linear(self.rows)


@LAYOUTS
def test_nested_parameters_and_buffers(layout):
    model = Holder(layout)
    for inputs in ((), (torch.zeros(1),)):
        answer = ws.summary(model, *inputs)
        assert (answer.totals.unique, answer.totals.buffers, answer.totals.bytes) == (21 + 8, 21, 4 * 29)
        assert "FORWARD_FAILED" not in get_codes(answer)
    assert answer.explain("rows") == "rows: shape 21 = 21"
    assert [(p.attribute, p.kind) for p in answer.rows[0].parts] == [("rows", "owned")]
    assert ws.check_tied_weights(model).ok
    assert ws.find_tied_weights(model, equal_values=True) == []


def test_nothing_aborts_later():
    """At some depths of the stack, an endless recursion inside torch ended the process in a later call."""
    program = """
        import torch, weightshare as ws
        layer = torch.nn.Linear(3, 4)
        rows = [torch.zeros(2, 3), torch.zeros(5, 3)]
        nested = torch.nested.nested_tensor(rows, layout=torch.jagged)

        def summarize(depth):
            return summarize(depth - 1) if depth else ws.summary(layer, nested)

        for depth in range(8):
            assert summarize(depth).totals.macs == 84
        torch.export.export(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), (torch.zeros(1, 3, 8, 8),))
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], check=True, timeout=300)
