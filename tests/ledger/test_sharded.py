"""Models sharded over two processes by FSDP1 or as DTensors: every process counts the whole model."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import weightshare as ws
from tests.helpers.processes import on_two_processes

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo"),
]


class Tied(nn.Module):
    """Seven rows, which do not divide evenly over two processes, and a bias of one element."""

    def __init__(self):
        super().__init__()
        self.emb, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.head.weight = self.emb.weight
        self.unused = nn.Linear(3, 1)

    def forward(self, ids):
        return self.head(self.body(self.emb(ids)))


IDS = torch.tensor([[0, 6]])
TOTALS = ("unique", "untied", "unrolled", "trainable", "bytes", "macs", "buffers", "lazy")


def describe(model, *inputs):
    answer = ws.summary(model, *inputs)
    rows = [(row.name, row.type, row.derivation, row.shared_with, row.calls) for row in answer.rows]
    return [getattr(answer.totals, name) for name in TOTALS], rows


def check_same_summary(rank):
    for use_orig_params in (False, True):
        for policy in (None, ModuleWrapPolicy({nn.Sequential})):
            options = {"use_orig_params": use_orig_params, "auto_wrap_policy": policy}
            model = FullyShardedDataParallel(Tied(), device_id=torch.device("cpu"), **options)
            for inputs in ((), (IDS,), ()):
                assert describe(model, *inputs) == describe(Tied(), *inputs)
            (note,) = ws.summary(model, IDS).warnings
            assert note.code == "SHARDED"
            assert "sharded over 2 processes (FSDP1), counted whole" in note.text
            assert [tie.alias for tie in ws.find_tied_weights(model)] == ["head.weight"]
            assert ws.check_tied_weights(model).ok
            model(IDS).sum().backward()  # the summary left the model usable


def check_frozen_parameters(rank):
    layer = nn.Linear(4, 3)
    layer.bias.requires_grad_(False)
    model = FullyShardedDataParallel(layer, use_orig_params=True, device_id=torch.device("cpu"))
    totals = ws.summary(model).totals
    assert (totals.unique, totals.trainable, totals.frozen) == (15, 12, 3)


def check_distributed_tensors(rank):
    mesh = init_device_mesh("cpu", (2,))
    layer = nn.Linear(8, 4)
    layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh, [Shard(0)]))
    layer.bias = nn.Parameter(distribute_tensor(layer.bias.detach(), mesh, [Replicate()]))
    integers = distribute_tensor(torch.zeros(4, 8, dtype=torch.int8), mesh, [Shard(0)])
    layer.codes = nn.Parameter(integers, requires_grad=False)
    answer = ws.summary(layer)
    assert (answer.totals.unique, answer.totals.bytes) == (32 + 4 + 32, 4 * 36 + 32)
    (note,) = answer.warnings
    assert (note.code, note.names) == ("SHARDED", ("weight", "codes"))
    assert note.text == "weight, codes: sharded over 2 processes (DTensor), counted whole"


@pytest.mark.parametrize("check", [check_same_summary, check_frozen_parameters, check_distributed_tensors])
def test_two_processes(check, tmp_path):
    on_two_processes(check, tmp_path)
