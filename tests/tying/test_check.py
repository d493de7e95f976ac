"""Ties are found, checked and repaired, whatever becomes of the modules at their ends."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import weightshare as ws
from tests.helpers.ties import language_model, tied_language_model, tied_linears
from weightshare.errors import TieError
from weightshare.tying import TieGroup, find


def test_find():
    model = tied_language_model()
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


class Values(nn.Module):
    """Two parameters with the same values."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = (nn.Parameter(value, requires_grad=False) for value in (first, second))


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(3.0).to(torch.complex64),
        torch.tensor([1.0, torch.nan]),
        torch.arange(4.0).to(torch.float8_e4m3fn),
        torch.arange(4.0).bfloat16(),
        torch.arange(6.0).view(2, 3).t(),
        torch.tensor([True, False]),
    ],
)
def test_equal_values_of_any_type(value):
    assert [tie.alias for tie in ws.find_tied_weights(Values(value, value.clone()), True)] == ["second"]
    assert ws.find_tied_weights(Values(value, value.clone().flatten()[:-1]), True) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.zeros(3), torch.zeros(3)),
        (torch.ones(()), torch.ones(())),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
        (torch.zeros(3, device="meta"), torch.zeros(3, device="meta")),
        (torch.arange(3), torch.arange(3.0)),
        (torch.arange(6).view(2, 3), torch.arange(6).view(3, 2)),
        (torch.eye(3).to_sparse(), torch.eye(3).to_sparse()),
    ],
)
def test_values_that_are_not_reported_as_equal(first, second):
    assert ws.find_tied_weights(Values(first, second), equal_values=True) == []


def test_equal_values_are_found_in_linear_time(monkeypatch):
    """Each parameter is read once, also if the samples of all parameters are equal."""
    read = []

    def record(elements):
        read.append(len(elements))
        return bytes(elements.tolist())

    monkeypatch.setattr(find, "_hash", record)
    places = [*range(1, 200, 4), *[9] * 50]
    model = nn.ParameterList(nn.Parameter(torch.arange(256) == n, requires_grad=False) for n in places)
    assert len(ws.find_tied_weights(model, equal_values=True)) == 50
    assert sorted(read) == [64] * 100 + [256] * 100


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
    """Two aliases precede the source, and one of their modules has two names."""
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    model.append(model[0])
    ws.tie_weights(model, {"0.weight": "2.weight", "1.weight": "2.weight"})
    answer = ws.summary(model)
    assert [(row.name, row.own_unique) for row in answer.rows] == [("0", 0), ("1", 0), ("2", 9), ("3", 0)]
    assert [group.kind for group in ws.find_tied_weights(model)] == ["same_parameter"] * 2 + ["same_module"]
    assert {group.source for group in ws.find_tied_weights(model)} == {"2.weight"}
    assert ws.check_tied_weights(model).warnings == ()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight_orig"),
        (nn.utils.weight_norm, "weight_v"),
        (nn.utils.spectral_norm, "weight_orig"),
    ],
)
def test_references_to_a_pruned_or_normalized_source_are_found(change, name):
    model = tied_linears()
    change(model[0])
    assert TieGroup("reference", f"0.{name}", "1.weight", "t") in ws.find_tied_weights(model)
    assert ws.check_tied_weights(model).ok


def test_fsdp_groups():
    model = tied_language_model()
    (group,) = ws.fsdp_groups(model)
    assert group == [model.lm.emb, model.lm.head]
    assert ws.fsdp_groups(language_model()) == []
    chained = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    ws.tie_weights(chained, {"1.weight": "0.weight", "1.bias": "2.bias"})
    assert ws.fsdp_groups(chained) == [[chained[0], chained[1], chained[2]]]
    decoder = nn.Sequential(nn.Linear(3, 2))
    decoder.append(ws.nn.TiedLinear(decoder[0]))
    assert ws.fsdp_groups(decoder) == [[decoder[0], decoder[1]]]


def test_check():
    model = language_model()
    model.lm.head.weight = model.lm.emb.weight
    report = ws.check_tied_weights(model)
    assert report.ok
    assert [note.code for note in report.warnings] == ["UNDECLARED_TIE"]
    model = tied_language_model()
    model.lm.head.weight = nn.Parameter(model.lm.emb.weight.detach())
    with pytest.raises(TieError, match=r"'lm.head.weight': must be tied to 'lm.emb.weight', got ZOMBIE_TIE"):
        ws.check_tied_weights(model, strict=True)
    assert ws.retie_weights(model).ok
    optimizer = torch.optim.SGD([{"params": list(model.lm.parameters())}], 0.1)
    optimizer.param_groups[0]["params"].append(model.lm.emb.weight)
    report = ws.check_tied_weights(model, optimizer=optimizer)
    assert [(note.code, note.names) for note in report.warnings] == [
        ("DUP_IN_OPTIMIZER", ("lm.emb.weight",)),
        ("NOT_IN_OPTIMIZER", ("other.weight", "other.bias")),
    ]


def test_the_head_of_a_report_counts_all_ties():
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(4)))
    assert str(ws.check_tied_weights(model)) == "0 ties"
    model.append(model[0])  # one module under two names is not a tie
    assert str(ws.check_tied_weights(model)) == "0 ties"
    model[1].weight = model[0].weight
    report = ws.check_tied_weights(model)
    assert report.undeclared == (TieGroup("same_parameter", "0.weight", "1.weight"),)
    assert str(report).splitlines() == [
        "1 tie: 0 declared and intact, 0 broken, 1 undeclared",
        "  UNDECLARED_TIE  0.weight and 1.weight: the same Parameter, tied by assignment; declare it with "
        "tie_weights to keep it through loading and to_empty()",
    ]
    ws.tie_weights(
        model, {"1.weight": "0.weight", "2.weight": ws.Tie("0.weight", "t"), "3.weight": "0.weight"}
    )
    model[3].weight = nn.Parameter(torch.ones(3, 3))
    assert str(ws.check_tied_weights(model)).splitlines()[:3] == [
        "3 ties: 2 declared and intact, 1 broken, 0 undeclared",
        "  intact  1.weight = 0.weight",
        "  intact  2.weight = 0.weight (t)",
    ]


def test_a_replaced_alias_is_repaired_with_its_transform():
    model = ws.tie_weights(
        nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), {"1.weight": ws.Tie("0.weight", "t")}
    )
    model[1] = nn.Linear(3, 3)
    assert not ws.retie_weights(model).ok
    assert ws.retie_weights(model, keep="source").ok
    assert torch.equal(model[1].weight, model[0].weight.t())
    model[0] = nn.Linear(3, 3)
    assert not ws.retie_weights(model).ok
    assert ws.retie_weights(model, keep="source").ok
    assert torch.equal(model[1].weight, model[0].weight.t())


@pytest.mark.parametrize("keep", [None, "source", "alias"])
@pytest.mark.parametrize("last", ["1.weight", "2.weight"])
def test_ties_that_rearranged_modules_turn_into_a_cycle_stay_broken(last, keep):
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "t")})
    model[int(last[0])] = model[0]
    report = ws.retie_weights(model, keep=keep)
    assert last in {note.names[0] for note in report.broken}
    assert "0.weight" in dict(model.named_parameters())
    assert model(torch.zeros(1, 3)).shape == (1, 3)


def test_ends_that_no_longer_fit_stay_broken():
    model = tied_language_model()
    model.lm.emb = nn.Embedding(12, 4)
    for keep in (None, "source", "alias"):
        assert [note.code for note in ws.retie_weights(model, keep=keep).broken] == ["RESIZED_END"]
        assert model.lm.head.weight.shape == (10, 4)
        assert model.lm.emb.weight.shape == (12, 4)


@pytest.mark.parametrize(
    ("make", "tie"),
    [
        (lambda: (nn.Linear(3, 2), ws.nn.TiedLinear), ws.Tie("0.weight", "t")),
        (lambda: (nn.Embedding(3, 2), ws.nn.TiedLinear), ws.Tie("0.weight")),
        (lambda: (nn.Conv2d(3, 2, 3), ws.nn.TiedConvTranspose2d), ws.Tie("0.weight")),
    ],
)
def test_a_replaced_encoder_breaks_a_built_in_tie(make, tie):
    encoder, decoder = make()
    model = nn.Sequential(encoder, decoder(encoder))
    model[0] = make()[0]
    report = ws.check_tied_weights(model)
    assert ([note.code for note in report.broken], report.ok) == (["LOST_SOURCE"], False)
    expected = (
        "check_tied_weights: '1.weight': must be tied to a weight of this model, got LOST_SOURCE: "
        "read from .*the encoder was replaced.*; tie it to the new encoder with tie_weights, or "
        "keep the encoder in the model"
    )
    with pytest.raises(TieError, match=expected):
        ws.check_tied_weights(model, strict=True)
    assert not ws.retie_weights(model).ok
    ws.tie_weights(model, {"1.weight": tie})
    assert ws.check_tied_weights(model, strict=True).ok
    value = model[0].weight
    assert torch.equal(model[1].weight, value.t() if tie.transform else value)


def test_a_lost_source_is_reported_once():
    model = tied_linears()
    model[0] = nn.Linear(3, 2)
    report = ws.check_tied_weights(model)
    assert [note.code for note in (*report.broken, *report.warnings)] == ["REPLACED_END"]
