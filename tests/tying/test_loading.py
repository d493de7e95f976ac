"""State dicts and files of tied and untied models load into each other; conflicts are refused or resolved."""

import copy

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import nn

import weightshare as ws
from tests.helpers.ties import language_model, tied_language_model
from weightshare.errors import ArgumentError, DataError, TieError
from weightshare.tying import load_state_dict


def untied_state(model):
    state = copy.deepcopy(model.state_dict())
    state["lm.head.weight"] = state["lm.head.weight"] + 1
    return state


@pytest.mark.parametrize(("on_conflict", "added"), [("source", 0.0), ("alias", 1.0), ("mean", 0.5)])
def test_conflicts(on_conflict, added):
    model = tied_language_model()
    expected = model.lm.emb.weight.detach() + added
    load_state_dict(model, untied_state(model), on_conflict=on_conflict)
    torch.testing.assert_close(model.lm.emb.weight.detach(), expected)
    assert ws.check_tied_weights(model).ok


def test_a_conflict_is_an_error_and_changes_nothing():
    model = tied_language_model()
    before = copy.deepcopy(model.state_dict())
    state = {name: value + 1 for name, value in untied_state(model).items()}
    for load in (model.load_state_dict, lambda state: load_state_dict(model, state)):
        with pytest.raises(
            TieError, match=r"lm.head.weight and lm.emb.weight must have equal values, because they are tied"
        ):
            load(state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ArgumentError, match="on_conflict must be one of 'error', 'source', 'alias', 'mean'"):
        load_state_dict(model, state, on_conflict="first")


def test_a_nested_conflict_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), tied_language_model())
    state = {name: value + 1 for name, value in model.state_dict().items()}
    state["1.lm.head.weight"] = state["1.lm.head.weight"] + 1
    before = model[0].weight.detach().clone()
    with pytest.raises(TieError, match="must have equal values"):
        load_state_dict(model, state)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("on_conflict", ["source", "alias", "mean"])
@pytest.mark.parametrize("transform", [None, "t"])
@pytest.mark.parametrize("chain", [True, False])
def test_chains_and_several_aliases_of_one_source(on_conflict, transform, chain):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    old = {f"{n}.weight": torch.full((3, 3), float(3**n)) for n in range(3)}
    last = ws.Tie("1.weight" if chain else "0.weight", transform)
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", transform), "2.weight": last})
    load_state_dict(model, old, on_conflict=on_conflict)
    expected = {"source": 1.0, "alias": 3.0, "mean": 13 / 3}[on_conflict]
    for layer in model:
        torch.testing.assert_close(layer.weight.detach(), torch.full((3, 3), expected))
    load_state_dict(model, {"2.weight": torch.eye(3)})
    assert torch.equal(model[0].weight, torch.eye(3))


@pytest.mark.parametrize("assign", [True, False])
def test_a_state_dict_with_the_alias_alone_loads_its_values(assign):
    model = tied_language_model()
    model.load_state_dict({"lm.head.weight": torch.ones(10, 4)}, strict=False, assign=assign)
    assert bool((model.lm.emb.weight == 1).all())
    assert model.lm.head.weight is model.lm.emb.weight
    assert "_aliases_alone" not in vars(model.lm)


def test_a_reference_loads_a_checkpoint_that_contains_its_weight():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    old = copy.deepcopy(model.state_dict())
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
    with pytest.raises(TieError, match="must have equal values"):
        model.load_state_dict(old)
    load_state_dict(model, old, on_conflict="alias")
    assert torch.equal(model[1].weight, old["1.weight"])
    del old["0.weight"]
    model.load_state_dict(old)
    assert torch.equal(model[0].weight, old["1.weight"].t())


def test_tied_layers_load_the_checkpoint_of_an_untied_model():
    encoder = nn.Linear(3, 2)
    model = nn.Sequential(encoder, ws.nn.TiedLinear(encoder))
    old = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)).state_dict()
    load_state_dict(model, old, on_conflict="source")
    assert torch.equal(model[1].weight, old["0.weight"].t())


def test_nan_values_load_back():
    model = tied_language_model()
    with torch.no_grad():
        model.lm.emb.weight[0, 0] = torch.nan
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    load_state_dict(model, copy.deepcopy(model.state_dict()))


def test_files_are_compatible_with_safetensors(tmp_path):
    model, path = tied_language_model(), tmp_path / "ours.safetensors"
    ws.save_safetensors(model, path)
    assert len({"lm.head.weight", "lm.emb.weight"} & load_file(path).keys()) == 1
    other = tied_language_model()
    load_model(other, path)
    assert torch.equal(other.lm.emb.weight, model.lm.emb.weight)
    untied = language_model()
    ws.load_safetensors(untied, path)
    assert torch.equal(untied.lm.head.weight, model.lm.emb.weight)
    assert ws.load_safetensors(tied_language_model(), path).missing_keys == []
    save_file(untied.state_dict(), tmp_path / "untied.safetensors")
    again = ws.load_safetensors(other, tmp_path / "untied.safetensors")
    assert again.unexpected_keys == []
    reference = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    ws.tie_weights(reference, {"1.weight": ws.Tie("0.weight", "t")})
    save_file(reference.state_dict(), tmp_path / "plain.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01."])
def test_files_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="must be a readable safetensors file"):
        ws.load_safetensors(tied_language_model(), path)
    with pytest.raises(DataError, match="must be a readable safetensors file"):
        ws.load_safetensors(tied_language_model(), tmp_path / "absent")


def test_a_decoder_alone_is_reported_and_cannot_be_saved(tmp_path):
    encoder = nn.Linear(3, 2)
    decoder = nn.Sequential(ws.nn.TiedLinear(encoder))
    assert [note.code for note in ws.check_tied_weights(decoder).broken] == ["LOST_SOURCE"]
    with pytest.raises(
        TieError,
        match=r"the model must contain all its weights, got 0.weight read from another "
        r"model; save the whole model",
    ):
        ws.save_safetensors(decoder, tmp_path / "decoder.safetensors")


@pytest.mark.parametrize("make", [language_model, tied_language_model])
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("change", [{"extra": torch.ones(3)}, {"other.bias": torch.ones(5)}])
def test_a_state_dict_that_does_not_fit_leaves_the_model_unchanged(make, assign, change):
    model = make()
    parameters = list(model.parameters())
    before = copy.deepcopy(model.state_dict())
    state = {name: value + 1 for name, value in before.items()} | change
    loaded = {name: value.clone() for name, value in state.items()}
    with pytest.raises(RuntimeError, match=r"Unexpected key|size mismatch"):
        ws.tying.load_state_dict(model, state, assign=assign)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_ends_of_other_shapes_and_dtypes():
    model, value = tied_language_model(), torch.ones(10, 4)
    with pytest.raises(
        TieError, match=r"lm.head.weight and lm.emb.weight must have fitting shapes, .* got 10 . 4 and 11 . 4"
    ):
        ws.tying.load_state_dict(
            model, {"lm.emb.weight": torch.ones(11, 4), "lm.head.weight": value}, strict=False
        )
    for dtype in (torch.float8_e4m3fn, torch.bfloat16, torch.float64):
        state = {"lm.emb.weight": value.to(dtype), "lm.head.weight": value.bfloat16()}
        ws.tying.load_state_dict(model, state, strict=False)
    arrays = {"lm.emb.weight": value.numpy(), "lm.head.weight": value.numpy()}
    with pytest.raises(RuntimeError, match=r"expected torch\.Tensor"):
        model.load_state_dict(arrays, strict=False)
