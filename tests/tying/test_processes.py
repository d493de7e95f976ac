"""Ties in training on two gloo processes: DDP and FSDP2 equal one process, also with uneven rows,
cell by cell as the table of docs/tying.md says."""

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


def parallel(model):
    return DistributedDataParallel(model)


def rooted(model):
    fully_shard(model)
    return model


def grouped(model):
    for group in ws.fsdp_groups(model):
        fully_shard(group)
    return rooted(model)


def apart(model):
    fully_shard(model.enc)
    return rooted(model)


def kept(model):
    fully_shard(model.enc, reshard_after_forward=False)
    return rooted(model)


WRAPPED = {
    "DDP": parallel,
    "FSDP2, the model as one group": rooted,
    "FSDP2 with `fsdp_groups`": grouped,
    "FSDP2, the source in a separate group": apart,
    "FSDP2, the same with `reshard_after_forward=False`": kept,
}


def outcome(plain, wrap, rank):
    batches = [inputs_of(plain, number) for number in range(2)]
    expected, model = trained(copy.deepcopy(plain), batches), wrap(copy.deepcopy(plain))
    report = ws.check_tied_weights(model)
    assert report.ok == bool(report.intact)
    codes = [note.code for note in report.warnings]
    try:
        found = trained(model, batches[rank : rank + 1])
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
    for name, kind, said in cells("processes"):
        torch.manual_seed(0)
        assert outcome(KINDS[kind](), WRAPPED[name], rank) == said, (name, kind)
    untying(rank)


def untying(rank):
    """What FSDP2 has made of the alias's class stays."""
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
