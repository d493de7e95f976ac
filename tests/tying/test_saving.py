"""Files of safetensors have each weight once, and load into models with and without the same ties."""

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import nn

import weightshare as ws
from weightshare.errors import DataError, TieError
from weightshare.tying import load_state_dict


def untied():
    return nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})


def assigned():
    model = untied()
    model.b.weight = model.a.weight
    return model


def declared():
    return ws.tie_weights(untied(), {"a.weight": "b.weight"})


def same_module():
    model = untied()
    model.b = model.a
    return model


def not_contiguous():
    model = untied()
    model.a.weight = model.b.weight = nn.Parameter(torch.randn(4, 4).t())
    return model


def transposed_view():
    """Return a square layer whose values do not show whether they were transposed."""
    model = untied()
    model.b.weight = nn.Parameter(model.a.weight.data.t())
    return model


def transposed_view_first():
    model = untied()
    model.a.weight = nn.Parameter(model.b.weight.data.t())
    return model


def reference():
    return ws.tie_weights(untied(), {"b.weight": ws.Tie("a.weight", "t")})


class Attention(nn.Module):
    """Layers q, k and v that are parts of one weight, which is an entry of its own or not."""

    def __init__(self, has_whole, like=None):
        super().__init__()
        whole = torch.randn(12, 4)
        if has_whole:
            self.qkv = nn.Parameter(whole)
        for k, name in enumerate("qkv"):
            layer = nn.Linear(4, 4, bias=False)
            layer.weight = nn.Parameter(whole[4 * k : 4 * k + 4])
            setattr(self, name, layer)


class Overlapping(nn.Module):
    """Parameters that overlap without one that has all elements, and two on the diagonal of a matrix."""

    def __init__(self):
        super().__init__()
        whole = torch.randn(6, 3)
        self.first, self.last = nn.Parameter(whole[:4]), nn.Parameter(whole[2:])
        self.register_buffer("middle", whole[2:4].t())


class OtherType(nn.Module):
    """A buffer that has the bytes of a parameter as integers."""

    def __init__(self):
        super().__init__()
        self.floats = nn.Parameter(torch.randn(4))
        self.register_buffer("bits", self.floats.detach().view(torch.int32))


class SharedBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.BatchNorm1d(3), nn.BatchNorm1d(3), nn.Parameter(torch.ones(()))
        self.b.running_mean = self.a.running_mean
        self.register_buffer("none", torch.zeros(0, 3))


#: A model, and the names that its file has.
MODELS = {
    "untied": (untied, ["a.weight", "b.weight"]),
    "assigned": (assigned, ["a.weight"]),
    "declared, the source second": (declared, ["b.weight"]),
    "one module": (same_module, ["a.weight"]),
    "not contiguous": (not_contiguous, ["a.weight"]),
    "transposed view": (transposed_view, ["a.weight"]),
    "transposed view first": (transposed_view_first, ["b.weight"]),
    "reference": (reference, ["a.weight"]),
    "a weight and its parts": (lambda: Attention(True), ["qkv"]),
    "parts alone": (lambda: Attention(False), ["k.weight", "q.weight", "v.weight"]),
    "overlapping": (Overlapping, ["first", "last"]),
    "other type": (OtherType, ["bits", "floats"]),
    "lstm": (
        lambda: nn.LSTM(2, 3),
        [f"{kind}_l0" for kind in ("bias_hh", "bias_ih", "weight_hh", "weight_ih")],
    ),
}


def randomize(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def assert_same(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", MODELS)
def test_files_load_into_the_same_model(kind, tmp_path):
    make, names = MODELS[kind]
    model, other, path = randomize(make()), make(), tmp_path / "model.safetensors"
    ws.save_safetensors(model, path)
    assert sorted(load_file(path)) == names
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert set(model.state_dict()) == set(names) | metadata.keys() - {"format", "weightshare.layouts"}
    ws.load_safetensors(other, path)
    assert_same(other, model)


#: Kinds that safetensors itself can save and load; it refuses views.
PLAIN = ["untied", "assigned", "declared, the source second", "one module", "reference", "lstm"]


@pytest.mark.parametrize("kind", PLAIN)
def test_safetensors_loads_the_files(kind, tmp_path):
    make, _ = MODELS[kind]
    model, other, path = randomize(make()), make(), tmp_path / "model.safetensors"
    ws.save_safetensors(model, path)
    load_model(other, path)
    assert_same(other, model)


@pytest.mark.parametrize("kind", PLAIN)
def test_files_of_safetensors_load(kind, tmp_path):
    make, _ = MODELS[kind]
    model, other, path = randomize(make()), make(), tmp_path / "model.safetensors"
    save_model(model, str(path))
    ws.load_safetensors(other, path)
    assert_same(other, model)


TWO_LAYERS = ["untied", "assigned", "declared, the source second", "not contiguous", "transposed view"]


@pytest.mark.parametrize("target", TWO_LAYERS)
@pytest.mark.parametrize("kind", [*TWO_LAYERS, "transposed view first", "one module"])
def test_files_load_into_models_with_other_ties(kind, target, tmp_path):
    model, other, path = randomize(MODELS[kind][0]()), MODELS[target][0](), tmp_path / "model.safetensors"
    with torch.no_grad():  # fits ties with and without a transpose
        value = model.a.weight + model.a.weight.t()
        model.a.weight.copy_(value)
        model.b.weight.copy_(value)
    ws.save_safetensors(model, path)
    ws.load_safetensors(other, path)
    assert_same(other, model)


def test_a_transposed_view_loads_into_separate_layers(tmp_path):
    for make in (transposed_view, transposed_view_first):
        model, other, path = randomize(make()), untied(), tmp_path / "model.safetensors"
        ws.save_safetensors(model, path)
        ws.load_safetensors(other, path)
        assert_same(other, model)
        assert torch.equal(other.a.weight, other.b.weight.t())


@pytest.mark.parametrize("make", [assigned, transposed_view, transposed_view_first])
@pytest.mark.parametrize(("on_conflict", "added"), [("source", 0.0), ("alias", 1.0), ("mean", 0.5)])
def test_ends_of_a_tie_by_assignment_that_differ(make, on_conflict, added):
    model = make()
    source, alias = ("b", "a") if make is transposed_view_first else ("a", "b")
    state = {f"{source}.weight": torch.eye(4), f"{alias}.weight": torch.eye(4) + 1}
    before = copy.deepcopy(model)
    with pytest.raises(TieError, match=f"{alias}.weight and {source}.weight must have equal values"):
        load_state_dict(model, state)
    assert_same(model, before)
    load_state_dict(model, state, on_conflict=on_conflict)
    assert torch.equal(model.a.weight, torch.eye(4) + added)
    assert torch.equal(model.b.weight, torch.eye(4) + added)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("end", ["a.weight", "b.weight"])
@pytest.mark.parametrize("make", [assigned, declared, transposed_view, transposed_view_first, not_contiguous])
def test_one_end_suffices(make, end, assign):
    model, other = randomize(make()), make()
    load_state_dict(other, {end: model.state_dict()[end].clone()}, assign=assign)
    assert_same(other, model)
    assert ws.find_tied_weights(other) == ws.find_tied_weights(model)


def test_parts_load_into_separate_layers(tmp_path):
    model, other, path = Attention(True), Attention(False), tmp_path / "model.safetensors"
    ws.save_safetensors(model, path)
    ws.load_safetensors(other, path, strict=False)
    for name in "qkv":
        assert torch.equal(getattr(other, name).weight, getattr(model, name).weight)
    separate = copy.deepcopy({name: value.clone() for name, value in other.state_dict().items()})
    whole = Attention(True)
    load_state_dict(whole, separate)
    assert torch.equal(whole.qkv, model.qkv)
    del separate["k.weight"]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "qkv", "k.weight"'):
        load_state_dict(whole, separate)


def test_shared_buffers_and_empty_tensors(tmp_path):
    model, other, path = SharedBuffers(), SharedBuffers(), tmp_path / "model.safetensors"
    model.a(torch.randn(4, 3))
    ws.save_safetensors(model, path)
    assert "b.running_mean" not in load_file(path)
    ws.load_safetensors(other, path)
    assert_same(other, model)


def test_values_that_cannot_be_stored(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"step": 1}

    lazy, sparse = nn.LazyLinear(3), nn.Linear(2, 2)
    sparse.weight = nn.Parameter(torch.eye(2).to_sparse())
    cases = {
        "'_extra_state': .* got dict; save the state dict with torch.save": Extra(2, 2),
        "'weight': .* got a tensor on the meta device; load or initialize": nn.Linear(2, 2, device="meta"),
        "'weight': .* got a lazy parameter without a shape; call the model once first": lazy,
        "'weight': .* got a Parameter of layout torch.sparse_coo; save": sparse,
    }
    for message, model in cases.items():
        with pytest.raises(DataError, match=message):
            ws.save_safetensors(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layouts", ["{", "[]", "[[", '{"b.weight": 1}', '{"b.weight": [[4], [1], 20]}'])
def test_a_file_with_wrong_layouts_is_refused(layouts, tmp_path):
    model, path = untied(), tmp_path / "model.safetensors"
    metadata = {"b.weight": "a.weight", "weightshare.layouts": layouts}
    save_file({"a.weight": torch.zeros(4, 4)}, path, metadata)
    before = copy.deepcopy(model)
    with pytest.raises(DataError, match="must have the layouts of views in its metadata"):
        ws.load_safetensors(model, path)
    assert_same(model, before)


def test_empty_parameters_load_with_safetensors(tmp_path):
    model = ws.tie_weights(nn.Sequential(nn.Linear(0, 3), nn.Linear(0, 3)), {"1": "0"})
    ws.save_safetensors(model, tmp_path / "model.safetensors")
    for load in (load_model, ws.load_safetensors):
        load(model, tmp_path / "model.safetensors")
        assert ws.check_tied_weights(model).ok
