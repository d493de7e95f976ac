"""Declaring, finding, loading and taking back ties; errors by their texts, with the model unchanged."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torch import nn
from torch.nn.utils import parametrize, prune

import weightshare as ws
from weightshare.errors import ArgumentError, DataError, TieError
from weightshare.tying import TieGroup, load_state_dict


def language_model():
    body = OrderedDict(emb=nn.Embedding(10, 4), mid=nn.Linear(4, 4), head=nn.Linear(4, 10, bias=False))
    return nn.Sequential(OrderedDict(lm=nn.Sequential(body), other=nn.Linear(10, 4)))


def tied():
    return ws.tie_weights(language_model(), {"lm.head.weight": "lm.emb.weight"})


def test_the_tie_is_kept_on_the_nearest_module_that_holds_both():
    model = tied()
    assert model.lm.head.weight is model.lm.emb.weight
    assert list(model.lm._declared_ties) == ["head.weight"]
    assert not hasattr(model, "_declared_ties")
    wrapped = nn.ModuleDict({"inside": model})
    assert ws.check_tied_weights(wrapped).intact == (
        ("inside.lm.head.weight", ws.Tie("inside.lm.emb.weight")),
    )


def test_a_chain_leads_to_one_weight():
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"2.weight": "1.weight", "1.weight": ws.Tie("0.weight", "t")})
    assert torch.equal(model[2].weight, model[0].weight.t())
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]


@pytest.mark.parametrize(
    ("alias", "source", "transform"),
    [
        (nn.Linear(4, 3), nn.Linear(3, 4), "t"),
        (nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3), "flip"),
        (nn.Linear(4, 3), nn.Conv2d(4, 3, 1), "reshape"),
        (nn.ConvTranspose2d(3, 2, 3), nn.ConvTranspose2d(2, 3, 3), "t"),
    ],
)
def test_transforms(alias, source, transform):
    model = nn.Sequential(source, alias)
    kind = type(alias)
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", transform=transform)})
    expected = {
        "t": lambda w: w.transpose(0, 1),
        "flip": lambda w: w.flip(2, 3),
        "reshape": lambda w: w.reshape(alias.weight.shape),
    }[transform]
    assert torch.equal(model[1].weight, expected(model[0].weight))
    assert isinstance(model[1], kind)
    assert "1.weight" not in model.state_dict()
    state = {
        "0.weight": torch.ones_like(source.weight),
        **{k: v for k, v in model.state_dict().items() if "bias" in k},
    }
    model.load_state_dict(state)
    assert bool((model[1].weight == 1).all())


BAD = {
    "unknown alias": ({"lm.haed.weight": "lm.emb.weight"}, ArgumentError, "did you mean 'lm.head.weight'"),
    "unknown source": ({"lm.head.weight": "lm.emb.wieght"}, ArgumentError, "did you mean 'lm.emb.weight'"),
    "shapes": (
        {"lm.mid.weight": "lm.emb.weight"},
        TieError,
        r"'lm.emb.weight' of 10 x 4, used as it is, must have its shape, 4 x 4, got 10 x 4",
    ),
    "transform": (
        {"lm.head.weight": ws.Tie("lm.emb.weight", "t")},
        TieError,
        "used by 't', must have its shape, 10 x 4, got 4 x 10",
    ),
    "reshape": (
        {"lm.mid.weight": ws.Tie("lm.emb.weight", "reshape")},
        TieError,
        "used by 'reshape', must have its shape, 4 x 4, got one that cannot",
    ),
    "itself": ({"lm.head.weight": "lm.head.weight"}, TieError, "got a tie to itself: lm.head.weight"),
    "circle": (
        {"lm.head.weight": "lm.emb.weight", "lm.emb.weight": "lm.head.weight"},
        TieError,
        "got a circle: lm.head.weight -> lm.emb.weight -> lm.head.weight",
    ),
    "second of two": (
        {"lm.head.weight": "lm.emb.weight", "lm.mid.bias": "nothing"},
        ArgumentError,
        "names must be names of parameters, got 'nothing'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_leave_the_model_unchanged(name):
    ties, error, said = BAD[name]
    model = language_model()
    before = {name: id(p) for name, p in model.named_parameters()}
    with pytest.raises(error, match=said):
        ws.tie_weights(model, ties)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert not any(hasattr(module, "_declared_ties") for module in model.modules())


def test_an_alias_is_tied_once():
    model = tied()
    with pytest.raises(TieError, match=r"must not be tied already, got one tied to 'lm.emb.weight'"):
        ws.tie_weights(model, {"lm.head.weight": "lm.emb.weight"})
    with pytest.raises(ArgumentError, match=r"transform must be None, 'flip', 'reshape', 't', got 'T'"):
        ws.Tie("a", "T")


def test_dtypes_must_agree():
    model = language_model()
    model.lm.emb.half()
    with pytest.raises(TieError, match=r"both ends must be torch.float16 on cpu, got torch.float32 on cpu"):
        ws.tie_weights(model, {"lm.head.weight": "lm.emb.weight"})


def test_untie():
    model = tied()
    with pytest.raises(TieError, match=r"name must be that of an alias, got 'lm.emb.weight'"):
        ws.untie_weights(model, "lm.emb.weight")
    ws.untie_weights(model, "lm.head.weight")
    assert model.lm.head.weight is not model.lm.emb.weight
    assert torch.equal(model.lm.head.weight, model.lm.emb.weight)
    assert ws.check_tied_weights(model).intact == ()
    model = ws.tie_weights(
        nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)), {"1.weight": ws.Tie("0.weight", "t")}
    )
    ws.untie_weights(model, "1.weight")
    assert type(model[1]) is nn.Linear
    assert model[1].weight.is_contiguous()
    assert torch.equal(model[1].weight, model[0].weight.t())
    assert "1.weight" in dict(model.named_parameters())


def test_find():
    model = tied()
    model.twice = model.other
    model.view = nn.Linear(4, 10, bias=False)
    model.view.weight = nn.Parameter(model.other.weight.data.t())
    model.dec = ws.nn.TiedLinear(model.lm.mid)
    assert ws.find_tied_weights(model) == [
        TieGroup("same_parameter", "lm.emb.weight", "lm.head.weight"),
        TieGroup("reference", "lm.mid.weight", "dec.weight", "t"),
        TieGroup("same_module", "other.weight", "twice.weight"),
        TieGroup("view", "other.weight", "view.weight"),
        TieGroup("same_module", "other.bias", "twice.bias"),
    ]


def test_equal_values_only_on_request():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.LayerNorm(3))
    model[1].load_state_dict(model[0].state_dict())
    assert ws.find_tied_weights(model) == []
    assert ws.find_tied_weights(model, equal_values=True) == [
        TieGroup("equal_values", "0.weight", "1.weight"),
        TieGroup("equal_values", "0.bias", "1.bias"),
    ]


def test_check():
    model = language_model()
    model.lm.head.weight = model.lm.emb.weight
    report = ws.check_tied_weights(model)
    assert report.ok
    assert [note.code for note in report.warnings] == ["UNDECLARED_TIE"]
    model = tied()
    model.lm.head.weight = nn.Parameter(model.lm.emb.weight.detach())
    with pytest.raises(TieError, match=r"'lm.head.weight': must be tied to 'lm.emb.weight', got ZOMBIE_TIE"):
        ws.check_tied_weights(model, strict=True)
    assert ws.retie_weights(model).ok
    optimizer = torch.optim.SGD([{"params": list(model.lm.parameters())}], 0.1)
    optimizer.param_groups[0]["params"].append(model.lm.emb.weight)
    report = ws.check_tied_weights(model, optimizer=optimizer)
    assert [(note.code, note.names) for note in report.warnings] == [("DUP_IN_OPTIMIZER", ("lm.emb.weight",))]


def untied_state(model):
    state = copy.deepcopy(model.state_dict())
    state["lm.head.weight"] = state["lm.head.weight"] + 1
    return state


@pytest.mark.parametrize(("on_conflict", "added"), [("source", 0.0), ("alias", 1.0), ("mean", 0.5)])
def test_conflicts(on_conflict, added):
    model = tied()
    expected = model.lm.emb.weight.detach() + added
    load_state_dict(model, untied_state(model), on_conflict=on_conflict)
    torch.testing.assert_close(model.lm.emb.weight.detach(), expected)
    assert ws.check_tied_weights(model).ok


def test_a_conflict_is_an_error_and_changes_nothing():
    model = tied()
    before = copy.deepcopy(model.state_dict())
    state = {name: value + 1 for name, value in untied_state(model).items()}
    for load in (model.load_state_dict, lambda state: load_state_dict(model, state)):
        with pytest.raises(
            TieError, match=r"lm.head.weight and lm.emb.weight must agree, since they are tied"
        ):
            load(state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ArgumentError, match="on_conflict must be one of 'error', 'source', 'alias', 'mean'"):
        load_state_dict(model, state, on_conflict="first")


def test_a_reference_takes_an_old_checkpoint_that_has_its_weight():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    old = copy.deepcopy(model.state_dict())
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
    with pytest.raises(TieError, match="must agree"):
        model.load_state_dict(old)
    load_state_dict(model, old, on_conflict="alias")
    assert torch.equal(model[1].weight, old["1.weight"])
    del old["0.weight"]
    model.load_state_dict(old)
    assert torch.equal(model[0].weight, old["1.weight"].t())


def test_files_are_those_of_safetensors(tmp_path):
    model, path = tied(), tmp_path / "ours.safetensors"
    ws.save_safetensors(model, path)
    assert len({"lm.head.weight", "lm.emb.weight"} & load_file(path).keys()) == 1
    other = tied()
    load_model(other, path)
    assert torch.equal(other.lm.emb.weight, model.lm.emb.weight)
    untied = language_model()
    ws.load_safetensors(untied, path)
    assert torch.equal(untied.lm.head.weight, model.lm.emb.weight)
    assert ws.load_safetensors(tied(), path).missing_keys == []
    save_file(untied.state_dict(), tmp_path / "untied.safetensors")
    again = ws.load_safetensors(other, tmp_path / "untied.safetensors")
    assert again.unexpected_keys == []
    reference = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    ws.tie_weights(reference, {"1.weight": ws.Tie("0.weight", "t")})
    save_file(reference.state_dict(), tmp_path / "plain.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01."])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="must be a safetensors file that can be read"):
        ws.load_safetensors(tied(), path)
    with pytest.raises(DataError, match="must be a safetensors file that can be read"):
        ws.load_safetensors(tied(), tmp_path / "absent")


def test_fsdp_groups():
    model = tied()
    (group,) = ws.fsdp_groups(model)
    assert group == [model.lm.emb, model.lm.head]
    assert ws.fsdp_groups(language_model()) == []
    chained = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    ws.tie_weights(chained, {"1.weight": "0.weight", "1.bias": "2.bias"})
    assert ws.fsdp_groups(chained) == [[chained[0], chained[1], chained[2]]]
    decoder = nn.Sequential(nn.Linear(3, 2))
    decoder.append(ws.nn.TiedLinear(decoder[0]))
    assert ws.fsdp_groups(decoder) == [[decoder[0], decoder[1]]]


def test_functional_call_on_a_shared_module_leaves_the_weights():
    model = tied()
    before = model.lm.emb.weight.detach().clone()
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    out = torch.func.functional_call(
        model.lm, {k.removeprefix("lm."): v for k, v in zeros.items() if "lm" in k}, (torch.tensor([1]),)
    )
    assert bool((out == 0).all())
    assert torch.equal(model.lm.emb.weight, before)


def test_a_replaced_alias_is_mended_with_its_transform():
    model = ws.tie_weights(
        nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), {"1.weight": ws.Tie("0.weight", "t")}
    )
    model[1] = nn.Linear(3, 3)
    assert ws.retie_weights(model).ok
    assert torch.equal(model[1].weight, model[0].weight.t())
    model[0] = nn.Linear(3, 3)
    assert not ws.check_tied_weights(model).ok
    assert ws.retie_weights(model).ok
    assert torch.equal(model[1].weight, model[0].weight.t())


@pytest.mark.parametrize("last", ["1.weight", "2.weight"])
def test_ties_that_moved_modules_close_to_a_circle_stay_broken(last):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "t")})
    model[int(last[0])] = model[0]
    report = ws.retie_weights(model)
    assert last in {note.names[0] for note in report.broken}
    assert "0.weight" in dict(model.named_parameters())
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_ends_that_no_longer_fit_stay_broken():
    model = tied()
    model.lm.emb = nn.Embedding(12, 4)
    assert [note.code for note in ws.retie_weights(model).broken] == ["BROKEN_TIE"]
    assert model.lm.head.weight.shape == (10, 4)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"0.weight": "1.weight"},
            {"1.weight": "0.weight"},
            "must not be the source of another tie, got the source",
        ),
        (
            {"1.weight": "0.weight"},
            {"0.weight": ws.Tie("2.weight", "t")},
            "must not be the source of another tie",
        ),
        (
            {"1.weight": ws.Tie("0.weight", "t")},
            {"1.weight": "2.weight"},
            "must not be tied already, got one tied",
        ),
    ],
)
def test_ties_made_in_two_calls(first, second, said):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, first)
    with pytest.raises(TieError, match=said):
        ws.tie_weights(model, second)
    assert ws.check_tied_weights(model).ok
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_a_module_under_two_names():
    twice = nn.Linear(3, 3)
    model = nn.Sequential(twice, nn.Linear(3, 3), twice)
    ties = {"0.weight": ws.Tie("1.weight", "t"), "1.weight": ws.Tie("2.weight", "t")}
    with pytest.raises(TieError, match=r"got a circle: 0.weight -> 1.weight -> 0.weight"):
        ws.tie_weights(model, ties)
    with pytest.raises(TieError, match=r"every alias must be given once, got '0.weight' and '2.weight'"):
        ws.tie_weights(model, {"0.weight": "1.weight", "2.weight": "1.weight"})


def test_layers_that_are_ties_are_not_tied_again():
    encoder = nn.Linear(3, 2)
    model = nn.Sequential(encoder, ws.nn.TiedLinear(encoder), nn.Linear(2, 3))
    with pytest.raises(TieError, match=r"'1.weight': must not be tied already"):
        ws.tie_weights(model, {"1.weight": "2.weight"})
    assert "1.weight" not in dict(model.named_parameters())
    ws.untie_weights(model, "1.weight")
    assert "1.weight" in dict(model.named_parameters())


def test_a_source_is_not_untied():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": "0.weight", "2.weight": "1.weight"})
    with pytest.raises(
        TieError, match=r"must not be a source, got the source of '2.weight'; untie these first"
    ):
        ws.untie_weights(model, "1.weight")


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


def test_numbers_that_are_none_load_back():
    model = tied()
    with torch.no_grad():
        model.lm.emb.weight[0, 0] = torch.nan
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    load_state_dict(model, copy.deepcopy(model.state_dict()))


def test_a_nested_conflict_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), tied())
    state = {name: value + 1 for name, value in model.state_dict().items()}
    state["1.lm.head.weight"] = state["1.lm.head.weight"] + 1
    before = model[0].weight.detach().clone()
    with pytest.raises(TieError, match="must agree"):
        load_state_dict(model, state)
    assert torch.equal(model[0].weight, before)


def test_a_decoder_alone_is_named_and_not_saved(tmp_path):
    encoder = nn.Linear(3, 2)
    decoder = nn.Sequential(ws.nn.TiedLinear(encoder))
    assert [note.code for note in ws.check_tied_weights(decoder).broken] == ["LOST_SOURCE"]
    with pytest.raises(
        TieError, match=r"the model must have its weights itself, got 0.weight, read from outside"
    ):
        ws.save_safetensors(decoder, tmp_path / "decoder.safetensors")


def test_tied_layers_take_the_checkpoint_of_an_untied_model():
    encoder = nn.Linear(3, 2)
    model = nn.Sequential(encoder, ws.nn.TiedLinear(encoder))
    old = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)).state_dict()
    load_state_dict(model, old, on_conflict="source")
    assert torch.equal(model[1].weight, old["0.weight"].t())


def test_recurrent_layers_take_no_transform():
    model = nn.Sequential(nn.LSTM(4, 4), nn.Linear(16, 4, bias=False))
    with pytest.raises(TieError, match=r"must be of a module that reads its weights at each call, got LSTM"):
        ws.tie_weights(model, {"0.weight_ih_l0": ws.Tie("1.weight", "t")})


@pytest.mark.parametrize("assign", [True, False])
def test_an_alias_alone_is_what_is_loaded(assign):
    model = tied()
    model.load_state_dict({"lm.head.weight": torch.ones(10, 4)}, strict=False, assign=assign)
    assert bool((model.lm.emb.weight == 1).all())
    assert model.lm.head.weight is model.lm.emb.weight
    assert "_aliases_alone" not in vars(model.lm)


def reading():
    return ws.tie_weights(
        nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3)), {"1.weight": ws.Tie("0.weight", "t")}
    )


def assign(model, value):
    model[1].weight = value


def call_with(model, value):
    torch.func.functional_call(model, {"1.weight": value}, (torch.zeros(1, 3),))


@pytest.mark.parametrize("way", [assign, call_with])
@pytest.mark.parametrize("value", [nn.Parameter(torch.zeros(3, 2)), torch.zeros(3, 2)], ids=["own", "plain"])
def test_setting_a_reference(way, value):
    model = reading()
    before = model[0].weight.detach().clone()
    said = (
        r"Linear.weight: must not be set, since it is read from the weight of another module \(Linear\), "
        f"got a {type(value).__name__}; set that one, or untie_weights first"
    )
    with pytest.raises(TieError, match=said):
        way(model, value)
    assert torch.equal(model[1].weight, before.t())
    model[1].bias = nn.Parameter(torch.ones(3))
    model[1].register_parameter("more", nn.Parameter(torch.ones(3)))
    assert list(dict(model.named_parameters())) == ["0.weight", "0.bias", "1.bias", "1.more"]
    ws.untie_weights(model, "1.weight")
    model[1].weight = nn.Parameter(torch.zeros(3, 2))


def test_a_long_chain_is_read_without_recursion():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(501)))
    ws.tie_weights(model, {f"{n + 1}.weight": ws.Tie(f"{n}.weight", "t") for n in range(500)})
    assert torch.equal(model[500].weight, model[0].weight)
    assert torch.equal(model[499].weight, model[0].weight.t())
    assert ws.check_tied_weights(model).ok
    assert torch.equal(copy.deepcopy(model)[500].weight, model[0].weight)


def test_chains_are_found_whole():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "flip")})
    assert ws.find_tied_weights(model) == [
        TieGroup("reference", "0.weight", "1.weight", "t"),
        TieGroup("reference", "0.weight", "2.weight", "flip of t"),
    ]
    assert ws.fsdp_groups(model) == [list(model)]
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": "0.weight", "2.weight": "1.weight"})
    assert ws.check_tied_weights(model).warnings == ()


def test_a_source_owns_its_weight_wherever_it_is_registered():
    """With two aliases before it, one of a module under two names."""
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    model.append(model[0])
    ws.tie_weights(model, {"0.weight": "2.weight", "1.weight": "2.weight"})
    answer = ws.summary(model)
    assert [(row.name, row.own_unique) for row in answer.rows] == [("0", 0), ("1", 0), ("2", 9), ("3", 0)]
    assert [group.kind for group in ws.find_tied_weights(model)] == ["same_parameter"] * 2 + ["same_module"]
    assert {group.source for group in ws.find_tied_weights(model)} == {"2.weight"}
    assert ws.check_tied_weights(model).warnings == ()


class Made(nn.Linear):
    """Copied and pickled by its arguments, as a class may choose."""

    def __reduce__(self):
        return Made, (self.in_features, self.out_features), {"kept": self.kept}


class Without(nn.Linear):
    """What it has for one run only is not copied."""

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "scratch"}


@pytest.mark.parametrize("through", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_classes_that_say_how_they_are_copied(through):
    model = nn.Sequential(nn.Linear(3, 2), Made(2, 3), Without(2, 3))
    model[1].kept, model[2].scratch = 5, torch.zeros(1)
    ws.tie_weights(model, {f"{n}.weight": ws.Tie("0.weight", "t") for n in (1, 2)})
    other = through(model)
    assert (other[1].kept, hasattr(other[2], "scratch")) == (5, False)
    assert ws.check_tied_weights(other).ok
    for layer in other[1:]:
        assert layer.weight.data_ptr() == other[0].weight.data_ptr() != model[0].weight.data_ptr()
        assert "weight" not in dict(layer.named_parameters())


def test_classes_that_nothing_uses_are_let_go():
    def local():
        class Local(nn.Linear):
            pass

        model = nn.Sequential(nn.Linear(3, 2), Local(2, 3))
        ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
        assert type(copy.deepcopy(model)[1]) is type(model[1])
        return weakref.ref(Local)

    there = local()
    gc.collect()  # the subclass
    gc.collect()
    assert there() is None


@pytest.mark.parametrize("encoder", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3)])
def test_a_tied_decoder_initialises_its_bias_alone(encoder):
    decoder = (ws.nn.TiedLinear if isinstance(encoder, nn.Linear) else ws.nn.TiedConvTranspose2d)(encoder)
    weight, bias = encoder.weight.detach().clone(), decoder.bias.detach().clone()
    decoder.reset_parameters()
    assert torch.equal(encoder.weight, weight)
    assert not torch.equal(decoder.bias, bias)
    model = reading()
    weight = model[0].weight.detach().clone()
    model[1].reset_parameters()
    assert not torch.equal(model[0].weight, weight)


def with_bias_parametrized():
    model = reading()
    parametrize.register_parametrization(model[1], "bias", nn.Identity())
    return model


def test_parametrizations_stay_when_a_reference_is_mended():
    model = with_bias_parametrized()
    model[0] = nn.Linear(3, 2)
    assert ws.retie_weights(model).ok
    assert parametrize.is_parametrized(model[1], "bias")
    assert torch.equal(model[1].weight, model[0].weight.t())
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_parametrizations_stay_when_ties_change():
    """And are removed as usual, in any order."""
    model = with_bias_parametrized()
    first = copy.deepcopy(model)
    ws.untie_weights(model, "1.weight")
    assert "1.weight" in dict(model.named_parameters())
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})
    other = copy.deepcopy(model)
    for changed in (model, other, first):
        assert parametrize.is_parametrized(changed[1], "bias")
        assert torch.equal(changed[1].weight, changed[0].weight.t())
        assert ws.check_tied_weights(changed).intact
        assert changed(torch.zeros(1, 3)).shape == (1, 3)
    parametrize.remove_parametrizations(model[1], "bias")
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.bias"]
    ws.untie_weights(model, "1.weight")
    assert type(model[1]) is nn.Linear
    assert model(torch.zeros(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: ws.untie_weights(model, "1.weight"),
        lambda model: ws.tie_weights(model, {"2.bias": "3.bias", "1.more": ws.Tie("0.more", "reshape")}),
        lambda model: ws.tie_weights(model, {"1.more": "0.more", "0.more": ws.Tie("2.more", "reshape")}),
    ],
)
def test_what_a_module_reads_stays_where_its_class_was_changed(change):
    """As `fully_shard` changes it."""
    model = reading()
    model.extend([nn.Linear(3, 3), nn.Linear(3, 3)])
    for layer in model:
        layer.register_parameter("more", nn.Parameter(torch.ones(1)))
    model[1].__class__ = type("FSDPLinear", (type(model[1]),), {})
    kinds, before = [type(layer) for layer in model], dict(model.named_parameters())
    said = (
        "FSDPLinear: what a module reads must be settled before its class is changed, got a class made "
        "since; change the ties before fully_shard"
    )
    with pytest.raises(TieError, match=said):
        change(model)
    assert [type(layer) for layer in model] == kinds
    assert before.keys() == dict(model.named_parameters()).keys()
    assert all(value is before[name] for name, value in model.named_parameters())
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["1.weight"]


def test_a_shallow_copy_is_untied_alone():
    model = reading()
    other = copy.copy(model)
    other._modules = dict(other._modules)
    other._modules["1"] = copy.copy(model[1])
    ws.untie_weights(other, "1.weight")
    assert (ws.check_tied_weights(other).intact, ws.check_tied_weights(other).ok) == ((), True)
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["1.weight"]
    assert list(dict(model.named_parameters())) == ["0.weight", "0.bias", "1.bias"]
    assert "1.weight" in dict(other.named_parameters())
    assert torch.equal(model[1].weight, model[0].weight.t())


@pytest.mark.parametrize(
    ("make", "tie"),
    [
        (lambda: (nn.Linear(3, 2), ws.nn.TiedLinear), ws.Tie("0.weight", "t")),
        (lambda: (nn.Embedding(3, 2), ws.nn.TiedLinear), ws.Tie("0.weight")),
        (lambda: (nn.Conv2d(3, 2, 3), ws.nn.TiedConvTranspose2d), ws.Tie("0.weight")),
    ],
)
def test_a_replaced_encoder_breaks_a_layer_that_is_a_tie(make, tie):
    encoder, decoder = make()
    model = nn.Sequential(encoder, decoder(encoder))
    model[0] = make()[0]
    report = ws.check_tied_weights(model)
    assert ([note.code for note in report.broken], report.ok) == (["LOST_SOURCE"], False)
    said = (
        r"check_tied_weights: '1.weight': must be tied inside the model, got LOST_SOURCE, it reads .* since "
        r"the encoder was replaced .*; tie it to the new encoder by tie_weights, "
        "or keep the encoder in the model"
    )
    with pytest.raises(TieError, match=said):
        ws.check_tied_weights(model, strict=True)
    assert not ws.retie_weights(model).ok
    ws.tie_weights(model, {"1.weight": tie})
    assert ws.check_tied_weights(model, strict=True).ok
    value = model[0].weight
    assert torch.equal(model[1].weight, value.t() if tie.transform else value)


def test_a_lost_source_is_reported_once():
    model = reading()
    model[0] = nn.Linear(3, 2)
    report = ws.check_tied_weights(model)
    assert [note.code for note in (*report.broken, *report.warnings)] == ["BROKEN_TIE"]


@pytest.mark.parametrize("make", ["reading", "convolution"])
def test_pruning_or_deleting_a_reference(make):
    if make == "reading":
        model, kind, source = reading(), "Linear", "Linear"
    else:
        encoder = ws.nn.Conv2d(2, 3, 3)
        model, kind, source = nn.Sequential(encoder, ws.nn.TiedConvTranspose2d(encoder)), "Tied.*2d", "Conv2d"
    before = vars(model[1])["_parameters"].copy(), list(model.state_dict())
    for change, said in (
        (
            lambda: prune.l1_unstructured(model[1], "weight", 0.5),
            rf"{kind}.weight: must not be pruned, since it is read from the weight of another module "
            rf"\({source}\), got pruning; prune that one, or untie_weights first",
        ),
        (lambda: delattr(model[1], "weight"), "must not be deleted, .* got del; untie_weights first"),
    ):
        with pytest.raises(TieError, match=said):
            change()
        assert (model[1]._parameters, list(model.state_dict())) == before
        assert not model[1]._forward_pre_hooks
    assert ws.check_tied_weights(model).ok


def test_a_source_without_its_weight_is_named():
    model = reading()
    model.append(nn.Linear(3, 2))
    ws.tie_weights(model, {"2.weight": ws.Tie("1.weight", "t")})
    del model[0].weight
    said = (
        r"Linear.weight: must have a source, since it is read from the weight of another module \(Linear\), "
        "got none; give that module one, or put a new module in this one's place"
    )
    for layer in model[1:]:
        with pytest.raises(TieError, match=said):
            layer(torch.zeros(1, layer.in_features))


def test_ties_of_a_module_around():
    """A tie made inside of it is not refused, and the check of the whole reports what it broke."""
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "b": nn.Linear(4, 4)})
    ws.tie_weights(model, {"a.0.weight": "b.weight"})
    said = "the aliases are none; a tie to a weight outside of this module is known further up"
    with pytest.raises(TieError, match=said):
        ws.untie_weights(model["a"], "0.weight")
    ws.tie_weights(model["a"], {"0.weight": "1.weight"})
    assert [(note.code, note.names) for note in ws.check_tied_weights(model).broken] == [
        ("BROKEN_TIE", ("a.0.weight", "b.weight"))
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight_orig"),
        (nn.utils.weight_norm, "weight_v"),
        (nn.utils.spectral_norm, "weight_orig"),
    ],
)
def test_references_to_a_source_that_was_pruned_or_normed_are_found(change, name):
    model = reading()
    change(model[0])
    assert TieGroup("reference", f"0.{name}", "1.weight", "t") in ws.find_tied_weights(model)
    assert ws.check_tied_weights(model).ok


def test_what_is_assigned_to_the_data_of_a_reference_is_lost():
    """As the page says of those with a transform: what was read is made anew at the next reading."""
    model = reading()
    before = model[0].weight.detach().clone()
    model[1].weight.data = torch.zeros(3, 2)
    assert torch.equal(model[1].weight, before.t())
    encoder = nn.Conv2d(2, 3, 3)
    model = nn.Sequential(encoder, ws.nn.TiedConvTranspose2d(encoder))
    model[1].weight.data = torch.zeros(3, 2, 3, 3)
    assert not encoder.weight.any()


def test_another_instance_of_the_class_is_a_plain_layer():
    """As PEFT makes one for its factors of a convolution."""
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "flip")})
    other = type(model[1])(2, 4, 3)
    for layer in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert layer.weight is dict(layer.named_parameters())["weight"]
        assert layer(torch.zeros(1, 2, 3, 3)).shape == (1, 4, 1, 1)
        layer.weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
        assert not layer.weight.any()
