"""Ties in training on two gloo processes: DDP and FSDP2 equal one process, also with uneven rows."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from kinds import KINDS, input_of

import weightshare as ws

STEPS = 3


def inputs_of(model, rank):
    """Another batch for each process, of the same size."""
    x = input_of(model)
    return x.roll(rank) if x.dtype == torch.long else x * (1 + rank)


def trained(model, batches):
    """The parameters after some steps of Adam on the mean over the batches."""
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum((model(x) - 1).square().mean() for x in batches).div(len(batches)).backward()
        optimizer.step()
    return {name.removeprefix("module."): whole(p) for name, p in model.named_parameters()}


def whole(parameter):
    """All shards of a parameter."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter.detach()


def process(rank, file):
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    try:
        for make in KINDS.values():
            torch.manual_seed(0)
            plain = make()
            batches = [inputs_of(plain, number) for number in range(2)]
            wanted = trained(copy.deepcopy(plain), batches)
            parallel = DistributedDataParallel(copy.deepcopy(plain))
            rooted, grouped = copy.deepcopy(plain), copy.deepcopy(plain)
            fully_shard(rooted)
            for group in ws.fsdp_groups(grouped):
                fully_shard(group)
            fully_shard(grouped)
            for model in (parallel, rooted, grouped):
                found = trained(model, batches[rank : rank + 1])
                assert found.keys() == wanted.keys()
                for name, value in found.items():
                    torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5)
                assert ws.check_tied_weights(model).ok
                assert ws.check_tied_weights(model).intact
    finally:
        dist.destroy_process_group()


@pytest.mark.long
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    mp.spawn(process, args=(str(tmp_path / "store"),), nprocs=2)
