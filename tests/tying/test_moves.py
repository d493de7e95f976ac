"""A tie follows its modules when they are renamed or moved, and a repair never overwrites another module."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import weightshare as ws
from tests.helpers.ties import same, tied_linears, transposed
from weightshare.errors import ArgumentError, TieError


def stack(ties=None, layers=3):
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(layers)))
    return ws.tie_weights(model, ties or {"1.weight": "0.weight"})


def get_ties(model):
    return [(alias, tie.source) for alias, tie in ws.check_tied_weights(model).intact]


def get_findings(model):
    report = ws.check_tied_weights(model)
    return [(note.code, note.names) for note in (*report.broken, *report.warnings)]


def insert(model):
    model.insert(0, nn.Linear(4, 4, bias=False))


def rotate(model):
    model.append(model.pop(0))


def swap(model):
    model[0], model[2] = model[2], model[0]


def remove_other(model):
    model.insert(0, model.pop(2))
    del model[0]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (insert, ("2.weight", "1.weight")),
        (rotate, ("0.weight", "2.weight")),
        (swap, ("1.weight", "2.weight")),
        (remove_other, ("1.weight", "0.weight")),
    ],
)
@pytest.mark.parametrize("transform", [None, "t"])
def test_a_tie_follows_its_modules(change, names, transform):
    model = stack({"1.weight": ws.Tie("0.weight", transform)})
    trained = model[0].weight.detach().clone()
    change(model)
    assert get_ties(model) == [names]
    assert get_findings(model) == []
    state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state, assign=True)
    model.to("meta").to_empty(device="cpu")
    ws.retie_weights(model)
    model.load_state_dict(state)
    assert get_ties(model) == [names]
    alias, source = (model.get_submodule(name[0]).weight for name in names)
    assert torch.equal(source, trained)
    assert torch.equal(alias, trained if transform is None else trained.t())
    ws.untie_weights(model, names[0])
    assert get_findings(model) == []
    assert names[0] in dict(model.named_parameters())


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
        self.named = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})


def test_new_lists_and_dictionaries_keep_the_ties_of_their_modules():
    model = ws.tie_weights(Network(), {"layers.2": "layers.0", "named.b": "named.a"})
    model.layers = nn.ModuleList(reversed(model.layers))
    model.named["z"] = model.named.pop("b")
    expected = [("layers.0.weight", "layers.2.weight"), ("named.z.weight", "named.a.weight")]
    assert get_ties(model) == expected
    model.named = nn.ModuleDict({"y": model.named["z"], "x": model.named["a"]})
    assert get_ties(model) == [expected[0], ("named.y.weight", "named.x.weight")]
    assert get_findings(model) == []


@pytest.mark.parametrize("through", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), AveragedModel])
@pytest.mark.parametrize("moved", [False, True])
def test_copies_follow_their_own_modules(through, moved):
    """The second model has an end outside of the module that records the tie."""
    model = nn.Sequential()
    model.add_module("body", Network())
    ws.tie_weights(model, {"body.named.b.weight": "body.named.a.weight"})
    if moved:
        model.add_module("head", model.body.named.pop("b"))
    copied = through(model)
    inner = getattr(copied, "module", copied)
    inner.body.named["z"] = inner.body.named.pop("a")
    assert get_findings(inner) == []
    ((alias, source),) = get_ties(inner)
    assert source == "body.named.z.weight"
    assert inner.get_parameter(alias) is inner.get_parameter(source)
    assert inner.get_parameter(alias) is not model.get_parameter("body.named.a.weight")
    assert get_ties(model) == [("head.weight" if moved else "body.named.b.weight", "body.named.a.weight")]


def test_names_of_wrapped_models():
    model = stack()
    insert(model)
    compiled = torch.compile(model, backend="eager")
    assert get_ties(compiled) == [("_orig_mod.2.weight", "_orig_mod.1.weight")]
    ws.untie_weights(compiled, "_orig_mod.2.weight")
    assert get_ties(model) == []


def test_a_removed_module_is_freed():
    model = stack()
    removed = weakref.ref(model[1])
    model[1] = nn.Linear(4, 4, bias=False)
    gc.collect()
    assert removed() is None


def remove_alias(model):
    model.dec = nn.Identity()


def remove_source(model):
    model.enc = nn.Identity()


def remove_parameter(model):
    model.dec.weight = None


@pytest.mark.parametrize("make", [same, transposed])
@pytest.mark.parametrize("change", [remove_alias, remove_source, remove_parameter])
def test_a_tie_without_one_end_can_be_dropped(make, change):
    if make is transposed and change is remove_parameter:
        pytest.skip("a reference cannot be assigned")
    model = make()
    change(model)
    assert get_findings(model) == [("REMOVED_END", ("dec.weight", "enc.weight"))]
    with pytest.raises(TieError, match=r"must be tied to 'enc.weight', got REMOVED_END: one end is"):
        ws.check_tied_weights(model, strict=True)
    ws.retie_weights(model)
    value = getattr(model.dec, "weight", None)
    ws.untie_weights(model, "dec.weight")
    assert str(ws.check_tied_weights(model)) == "0 ties"
    assert value is None or torch.equal(model.dec.weight, value)


@pytest.mark.parametrize(
    ("index", "finding"),
    [(0, ("REMOVED_END", ("0.weight",))), (1, ("REPLACED_END", ("1.weight", "0.weight")))],
)
@pytest.mark.parametrize("remove", [lambda model, index: model.pop(index), lambda m, i: m.__delitem__(i)])
def test_a_repair_after_an_end_was_deleted_changes_no_weight(index, finding, remove):
    model = stack()
    remove(model, index)
    before = copy.deepcopy(model.state_dict())
    assert get_findings(model) == [finding]
    ws.retie_weights(model)
    model.load_state_dict(before, assign=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].weight is not model[1].weight
    ws.untie_weights(model, finding[1][0])
    assert get_findings(model) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_one_of_two_ties_loses_its_alias():
    model = stack({"1.weight": "0.weight", "2.weight": "0.weight"})
    del model[1]
    assert get_ties(model) == [("1.weight", "0.weight")]
    ws.untie_weights(model, "1.weight")
    assert get_findings(model) == []
    model = stack({"1.weight": "0.weight", "3.weight": "2.weight"}, layers=4)
    del model[0]
    assert get_ties(model) == [("2.weight", "1.weight")]
    assert get_findings(model) == [("REMOVED_END", ("0.weight",))]


@pytest.mark.parametrize("end", ["enc", "dec"])
@pytest.mark.parametrize("make", [same, transposed])
@pytest.mark.parametrize("keep", [None, "source", "alias", "mapping"])
def test_a_replaced_module_is_overwritten_only_on_request(end, make, keep):
    model = make()
    setattr(model, end, getattr(make(), end))
    encoder, decoder = (layer.weight.detach().clone() for layer in model)
    report = ws.retie_weights(model, keep={"dec.weight": "alias"} if keep == "mapping" else keep)
    if keep is None:
        assert [note.code for note in report.broken] == ["REPLACED_END"]
        assert torch.equal(model.enc.weight, encoder)
        assert torch.equal(model.dec.weight, decoder)
        return
    assert report.ok
    expected = encoder if keep == "source" else decoder if make is same else decoder.t()
    assert torch.equal(model.enc.weight, expected)
    model.add_module("new", model.dec)
    del model.dec
    assert get_ties(model) == [("new.weight", "enc.weight")]
    assert torch.equal(model.new.weight, expected if make is same else expected.t())


def test_the_kept_alias_changes_all_other_aliases():
    model = stack({"1.weight": "0.weight", "2.weight": ws.Tie("0.weight", "t")})
    model[1] = nn.Linear(4, 4, bias=False)
    value = model[1].weight.detach().clone()
    assert ws.retie_weights(model, keep="alias").ok
    assert torch.equal(model[1].weight, value)
    assert torch.equal(model[2].weight, value.t())
    model = stack({"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "t")})
    model[2] = nn.Linear(4, 4, bias=False)
    value = model[2].weight.detach().clone()
    assert ws.retie_weights(model, keep="alias").ok
    assert torch.equal(model[0].weight, value)


def load_other(model):
    model.load_state_dict(model.state_dict(), assign=True)
    return model


def empty(model):
    model.to("meta").to_empty(device="cpu")
    torch.nn.init.normal_(model.enc.weight)
    ws.retie_weights(model)
    return model


@pytest.mark.parametrize(
    "through", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), load_other, empty]
)
@pytest.mark.parametrize("end", ["enc", "dec"])
def test_an_assigned_parameter_is_not_overwritten_unless_asked(through, end):
    model = through(same())
    model.get_submodule(end).weight = nn.Parameter(torch.ones(7, 4))
    before = [model.enc.weight.detach().clone(), model.dec.weight.detach().clone()]
    for change in (lambda m: None, ws.retie_weights, lambda m: m.load_state_dict({}, strict=False)):
        change(model)
        assert get_findings(model) == [("REPLACED_END", ("dec.weight", "enc.weight"))]
        assert torch.equal(model.enc.weight, before[0])
        assert torch.equal(model.dec.weight, before[1])
    for keep, expected in zip(("source", "alias"), before):
        tied = copy.deepcopy(model)
        assert ws.retie_weights(tied, keep=keep).ok
        assert torch.equal(tied.enc.weight, expected)
        assert torch.equal(tied.dec.weight, expected)
    with pytest.raises(RuntimeError, match="Missing key"):
        ws.tying.load_state_dict(model, {f"{end}.weight": torch.zeros(7, 4)})
    assert torch.equal(model.enc.weight, before[0])
    assert torch.equal(model.dec.weight, before[1])
    model.load_state_dict({"enc.weight": torch.zeros(7, 4), "dec.weight": torch.zeros(7, 4)})
    assert get_findings(model) == []


@pytest.mark.parametrize("end", ["enc", "dec"])
def test_an_end_on_the_meta_device_has_no_values(end):
    model = same()
    value = model.enc.weight.detach().clone()
    model.get_submodule(end).to("meta")
    code = "REPLACED_END" if end == "enc" else "BROKEN_TIE"
    assert get_findings(model) == [(code, ("dec.weight", "enc.weight"))]
    assert ws.retie_weights(model, keep="alias" if end == "enc" else None).ok
    assert torch.equal(model.enc.weight, value)
    assert model.enc.weight is model.dec.weight


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("both", "keep must be None, 'source', 'alias' or a mapping from aliases to these, got 'both'"),
        ({"dec.weight": 5}, "keep must be None, 'source', 'alias' or a mapping from aliases to these, got 5"),
        ({"enc.weight": "alias"}, "keep must name aliases of the model, got 'enc.weight'; use one of 'dec.w"),
    ],
)
def test_invalid_choices(keep, expected):
    model = same()
    model.dec = nn.Linear(4, 7, bias=False)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ArgumentError, match=expected):
        ws.retie_weights(model, keep=keep)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_replaced_module_can_be_tied_again():
    model = same()
    model.dec = nn.Linear(4, 7, bias=False)
    ws.tie_weights(model, {"dec.weight": "enc.weight"})
    assert get_findings(model) == []
    model.dec = nn.Linear(4, 7, bias=False)
    ws.untie_weights(model, "dec.weight")
    assert get_findings(model) == []


def test_loading_does_not_tie_a_replaced_module():
    model = tied_linears()
    model[1] = nn.Linear(2, 3)
    state = {name: value + 1 for name, value in model.state_dict().items()}
    for load in (model.load_state_dict, lambda state: ws.tying.load_state_dict(model, state)):
        load(state)
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_modules_copied_by_another_library_with_the_same_parameters_stay_tied():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    ws.tie_weights(model, {"1": "0"})
    assert get_findings(nn.SyncBatchNorm.convert_sync_batchnorm(model)) == []


def test_ties_of_a_scripted_model():
    """Untying separates the parameters that the scripted code reads."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    model = torch.jit.script(model)
    with pytest.raises(TieError, match=r"'1.weight': must not belong to a scripted module, got one"):
        ws.tie_weights(model, {"*": "0"})
    ws.untie_weights(model, "1.weight")
    first, second = (layer.weight for layer in model.children())
    before = first.detach().clone()
    with torch.no_grad():
        second.zero_()
    assert torch.equal(first, before)
    assert torch.equal(model(torch.ones(1, 4)), torch.zeros(1, 4))
    assert get_findings(model) == []


def test_a_model_under_torch_jit():
    model = torch.jit.script(same())
    assert [code for code, _ in get_findings(model)] == ["UNDECLARED_TIE"]
    ws.retie_weights(model)
    with pytest.raises(TieError, match=r"'dec.weight': must not belong to a scripted module, got one"):
        ws.tie_weights(model, {"dec.weight": "enc.weight"})
