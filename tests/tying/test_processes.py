"""Tied models train on two processes as on one, with DDP and FSDP2: each cell of docs/tying.md."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import weightshare as ws
from tests.helpers.processes import on_two_processes
from tests.helpers.ties import INPUTS, KINDS, cells, input_of
from weightshare.errors import TieError

STEPS = 3


def inputs_of(model, rank):
    """Return a different batch of the same size for each process."""
    x = input_of(model)
    return x.roll(rank) if x.dtype == torch.long else x * (1 + rank)


def train(model, batches):
    """Return the parameters after some steps of Adam on the mean loss over the batches."""
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum((model(x) - 1).square().mean() for x in batches).div(len(batches)).backward()
        optimizer.step()
    return {name.removeprefix("module."): gather(p) for name, p in model.named_parameters()}


def gather(parameter):
    """Return a parameter with all its shards."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter.detach()


def wrap_ddp(model):
    return DistributedDataParallel(model)


def shard_root(model):
    fully_shard(model)
    return model


def shard_groups(model):
    for group in ws.fsdp_groups(model):
        fully_shard(group)
    return shard_root(model)


def shard_source_apart(model):
    fully_shard(model.enc)
    return shard_root(model)


def shard_source_without_resharding(model):
    fully_shard(model.enc, reshard_after_forward=False)
    return shard_root(model)


WRAPPED = {
    "DDP": wrap_ddp,
    "FSDP2, the model as one group": shard_root,
    "FSDP2 with `fsdp_groups`": shard_groups,
    "FSDP2, the source in a separate group": shard_source_apart,
    "FSDP2, the same with `reshard_after_forward=False`": shard_source_without_resharding,
}


def run_cell(plain, wrap, rank):
    batches = [inputs_of(plain, number) for number in range(2)]
    expected, model = train(copy.deepcopy(plain), batches), wrap(copy.deepcopy(plain))
    report = ws.check_tied_weights(model)
    assert report.ok == bool(report.intact)
    codes = [note.code for note in report.warnings]
    try:
        found = train(model, batches[rank : rank + 1])
    except (ValueError, RuntimeError):
        return f"refused: {codes[0]}"
    assert not codes
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert ws.check_tied_weights(model).ok
    assert ws.check_tied_weights(model).intact
    return "matches"


def process(rank):
    for name, kind, expected in cells("processes"):
        torch.manual_seed(0)
        assert run_cell(KINDS[kind](), WRAPPED[name], rank) == expected, (name, kind)
    check_untying(rank)


def check_untying(rank):
    """Check that the class that FSDP2 gave the alias's module remains."""
    model = KINDS["transposed reference"]()
    fully_shard([model.enc, model.dec])
    fully_shard(model)
    kind = type(model.dec)
    with pytest.raises(
        TieError,
        match=r"must not change after its class was replaced, got .*; "
        r"change the ties before calling fully_shard",
    ):
        ws.untie_weights(model, "dec.weight")
    assert type(model.dec) is kind
    assert ws.check_tied_weights(model).ok
    model(INPUTS[torch.nn.Linear])


def test_the_page_has_every_way():
    assert {name for name, _, _ in cells("processes")} == set(WRAPPED)


@pytest.mark.long
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    on_two_processes(process, tmp_path)
