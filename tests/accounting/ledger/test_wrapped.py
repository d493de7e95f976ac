"""Wrapped for several processes: DDP and FSDP2 on two gloo processes count as the model inside."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import weightshare as ws


class Tied(nn.Module):
    """Seven rows over two processes: one has more than the other."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, ids):
        return self.head(self.emb(ids))


def told(model, ids):
    answer = ws.summary(model, ids)
    rows = [(row.own_unique, row.shared_with, row.calls) for row in answer.rows]
    return answer.totals.to_dict(), rows, [note.code for note in answer.warnings]


def process(rank, file):
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    try:
        ids = torch.tensor([[0, 6]])
        plain = told(Tied(), ids)
        assert plain[0]["unique"] == 28
        assert told(DistributedDataParallel(Tied()), ids) == plain
        sharded = Tied()
        fully_shard(sharded)
        found = told(sharded, ids)
        assert found[1] == plain[1]
        same = ("unique", "untied", "unrolled", "trainable", "bytes", "macs")
        assert [found[0][name] for name in same] == [plain[0][name] for name in same]
        static = ws.summary(sharded)
        assert (static.totals.unique, static.totals.untied) == (28, 56)
    finally:
        dist.destroy_process_group()


@pytest.mark.long
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    mp.spawn(process, args=(str(tmp_path / "store"),), nprocs=2)
