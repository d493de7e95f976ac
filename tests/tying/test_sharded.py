"""Full state dicts and distributed checkpoints load into models sharded by FSDP2."""

from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard

import weightshare as ws
from tests.helpers.processes import on_two_processes
from tests.helpers.ties import same, transposed
from weightshare.errors import DataError, TieError
from weightshare.tying import load_state_dict


def assigned():
    """Return a model whose rows cannot be divided evenly."""
    model = torch.nn.Sequential()
    model.enc, model.dec = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
    model.dec.weight = model.enc.weight
    return model


def shard(model):
    for group in ws.fsdp_groups(model):
        fully_shard(group)
    fully_shard(model)
    return model


def get_full(model):
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))


def make_states(make):
    """Return full state dicts of the model with one end of the tie, both, and both with different values."""
    state = {name: torch.randn(value.shape) for name, value in make().state_dict().items()}
    source = state["enc.weight"]
    alias = source.t().contiguous() if make is transposed else source.clone()
    rest = {name: value for name, value in state.items() if name not in ("enc.weight", "dec.weight")}
    return {
        "source": {**rest, "enc.weight": source},
        "alias": {**rest, "dec.weight": alias},
        "both": {**rest, "enc.weight": source, "dec.weight": alias},
        "differ": {**rest, "enc.weight": source, "dec.weight": alias + 1},
    }


def check_full_state_dicts(rank, make):
    """Each process has the state dict, or the first one only, as is or in a checkpoint."""
    states = make_states(make)
    expected = states["source"]["enc.weight"]
    for kind, state in states.items():
        wrapped = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
        for given in (state, wrapped, state if rank == 0 else {}):
            model = shard(make())
            before = get_full(model)["enc.weight"].clone()
            if kind == "differ":
                with pytest.raises(
                    TieError, match=r"dec.weight and enc.weight must have equal values.*on_conflict"
                ):
                    load_state_dict(model, given)
                assert torch.equal(get_full(model)["enc.weight"], before)
                load_state_dict(model, given, on_conflict="alias")
                assert torch.equal(get_full(model)["enc.weight"], expected + 1)
            else:
                load_state_dict(model, given)
                assert torch.equal(get_full(model)["enc.weight"], expected)
            assert ws.check_tied_weights(model).ok


def check_torch_functions(rank, make):
    """`set_model_state_dict` with a full state dict, with and without a broadcast from the first process."""
    states = make_states(make)
    for broadcast in (False, True):
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=broadcast)
        for kind in ("source", "both") if make is transposed else ("source", "alias", "both"):
            model = shard(make())
            given = dict(states[kind]) if rank == 0 or not broadcast else {}
            set_model_state_dict(model, given, options=options)
            assert torch.equal(get_full(model)["enc.weight"], states["source"]["enc.weight"])
    with pytest.raises(TieError, match="must have equal values"):
        set_model_state_dict(
            shard(make()), dict(states["differ"]), options=StateDictOptions(full_state_dict=True)
        )


def check_distributed_checkpoints(rank, make, folder):
    """A checkpoint of an untied model is read into tensors of its own, and then loaded."""
    source, states = shard(make()), make_states(make)
    load_state_dict(source, states["both"])
    dcp.save(get_model_state_dict(source), checkpoint_id=folder / "tied")
    model = shard(make())
    found = get_model_state_dict(model)
    dcp.load(found, checkpoint_id=folder / "tied")
    load_state_dict(model, found)
    assert torch.equal(get_full(model)["enc.weight"], states["source"]["enc.weight"])
    dcp.save(states["differ"], checkpoint_id=folder / "untied")
    plain = {name: torch.empty_like(value) for name, value in states["differ"].items()}
    for found in (plain, {name: torch.empty_like(value) for name, value in model.state_dict().items()}):
        check_untied_checkpoint(model, found, states, folder)


def check_untied_checkpoint(model, found, states, folder):
    """Check full tensors, or sharded ones (of the source alone if the alias is a reference)."""
    dcp.load(found, checkpoint_id=folder / "untied")
    if "dec.weight" in found:
        with pytest.raises(TieError, match="must have equal values"):
            load_state_dict(model, found)
    load_state_dict(model, found, on_conflict="source")
    assert torch.equal(get_full(model)["enc.weight"], states["source"]["enc.weight"])


def check_files(rank, make, folder):
    model = shard(make())
    with pytest.raises(DataError, match="got a sharded tensor; collect the full state dict"):
        ws.save_safetensors(model, folder / "model.safetensors")
    full = get_full(model)
    plain = make()
    load_state_dict(plain, full)
    if rank == 0:
        ws.save_safetensors(plain, folder / "model.safetensors")
    dist.barrier()
    other = shard(make())
    ws.load_safetensors(other, folder / "model.safetensors")
    assert torch.equal(get_full(other)["enc.weight"], full["enc.weight"])


def process(folder, rank):
    torch.manual_seed(0)
    for make in (same, transposed, assigned):
        check_full_state_dicts(rank, make)
        if make is not assigned:  # torch does not report ties by assignment
            check_torch_functions(rank, make)
        check_distributed_checkpoints(rank, make, folder / make.__name__)
        check_files(rank, make, folder)
        dist.barrier()


@pytest.mark.long
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    on_two_processes(partial(process, tmp_path), tmp_path)
