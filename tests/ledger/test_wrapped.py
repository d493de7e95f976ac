"""A model wrapped by DDP or FSDP2 on two processes has the same summary as the model inside."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import weightshare as ws
from tests.helpers.processes import on_two_processes


class Tied(nn.Module):
    """A tied model with seven rows, which do not divide evenly over two processes."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, ids):
        return self.head(self.emb(ids))


def describe(model, ids):
    answer = ws.summary(model, ids)
    rows = [(row.own_unique, row.shared_with, row.calls) for row in answer.rows]
    return answer.totals.to_dict(), rows, [note.code for note in answer.warnings]


def process(rank):
    ids = torch.tensor([[0, 6]])
    plain = describe(Tied(), ids)
    assert plain[0]["unique"] == 28
    assert describe(DistributedDataParallel(Tied()), ids) == plain
    sharded = Tied()
    fully_shard(sharded)
    found = describe(sharded, ids)
    assert found[1] == plain[1]
    same = ("unique", "untied", "unrolled", "trainable", "bytes", "macs")
    assert [found[0][name] for name in same] == [plain[0][name] for name in same]
    static = ws.summary(sharded)
    assert (static.totals.unique, static.totals.untied) == (28, 56)


@pytest.mark.long
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    on_two_processes(process, tmp_path)
