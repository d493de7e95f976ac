"""Scripted, traced, frozen and exported models: the summary, and the functions for ties."""

import io

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

IMAGE = torch.zeros(2, 3, 8, 8)
IDS = torch.zeros(2, 3, dtype=torch.long)


class Recurrent(nn.Module):
    """An embedding, an LSTM and a head: 5 * 3 + (16 * 3 + 16 * 4 + 2 * 16) + (5 * 4 + 5) = 184."""

    def __init__(self):
        super().__init__()
        self.emb, self.lstm, self.head = nn.Embedding(5, 3), nn.LSTM(3, 4), nn.Linear(4, 5)

    def forward(self, ids):
        return self.head(self.lstm(self.emb(ids))[0])


def make_image():
    """A convolution, a norm and a head: (4 * 27 + 4) + 8 + (5 * 144 + 5) = 845."""
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    return nn.Sequential(*layers).eval()


def make_tied():
    model = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 20, bias=False)).eval()
    model[1].weight = model[0].weight
    return model


def trace(model, x):
    return torch.jit.trace(model, x)


def script(model, x):
    return torch.jit.script(model)


def export(model, x):
    return torch.export.export(model, (x,)).module()


def unflatten(model, x):
    return torch.export.unflatten(torch.export.export(model, (x,)))


def freeze(model, x):
    return torch.jit.freeze(torch.jit.script(model))


def freeze_traced(model, x):
    return torch.jit.freeze(torch.jit.trace(model, x))


def optimize(model, x):
    return torch.jit.optimize_for_inference(torch.jit.script(model))


def reload(model):
    file = io.BytesIO()
    torch.jit.save(model, file)
    file.seek(0)
    return torch.jit.load(file)


def check_functions(model):
    """The functions for ties take the model, and every row can be explained."""
    assert ws.check_tied_weights(model, saving="safetensors").ok
    assert ws.retie_weights(model).ok
    ws.find_tied_weights(model, equal_values=True)
    ws.fsdp_groups(model)
    answer = ws.summary(model)
    for row in answer.rows:
        for name in (row.name, *(part.name for part in row.parts)):
            assert answer.explain(name)


@pytest.mark.parametrize("build", [script, trace, export, unflatten], ids=lambda f: f.__name__)
def test_compiled_models(build):
    model = build(make_image(), IMAGE)
    answer = ws.summary(model, IMAGE)
    assert (answer.totals.unique, answer.totals.dead, answer.totals.macs) == (845, 0, 9216)
    check_functions(model)


@pytest.mark.parametrize("build", [script, trace, export, unflatten], ids=lambda f: f.__name__)
def test_compiled_tied_models(build):
    model = build(make_tied(), IDS)
    answer = ws.summary(model, IDS)
    assert (answer.totals.unique, answer.totals.untied) == (120, 240)
    assert [tie.kind for tie in ws.find_tied_weights(model)] == ["same_parameter"]
    check_functions(model)


@pytest.mark.parametrize("build", [freeze, freeze_traced, optimize], ids=lambda f: f.__name__)
def test_weights_that_freezing_made_constants(build):
    """The norm is part of the convolution then: 845 - 8 = 837."""
    frozen = build(make_image(), IMAGE)
    inside = nn.Sequential(frozen, nn.Linear(5, 2))
    models = {837: frozen, 849: inside}
    for n, model in models.items():
        answer = ws.summary(model, IMAGE)
        assert (answer.totals.unique, answer.totals.dead) == (n, 0)
        assert sum(row.own_unique for row in answer.rows) == n
        assert inside.training
        assert not hasattr(frozen, "training")
        check_functions(model)
    derivation = ws.summary(frozen).rows[0].derivation
    assert sorted(derivation.split(" + ")) == ["4", "4 * 3 * 3 * 3", "5", "5 * 144"]
    assert ws.summary(nn.ModuleList([frozen, frozen])).totals.unique == 837


def test_a_frozen_model_that_was_saved():
    """Saving drops the names of the constants."""
    model = reload(freeze(make_image(), IMAGE))
    answer = ws.summary(model, IMAGE)
    assert (answer.totals.unique, answer.totals.macs) == (837, 9216)
    check_functions(model)


def test_a_frozen_recurrent_model():
    answer = ws.summary(freeze(Recurrent().eval(), IDS), IDS)
    assert (answer.totals.unique, answer.totals.dead) == (184, 0)


def test_frozen_ties():
    assert ws.summary(freeze(make_tied(), IDS), IDS).totals.unique == 120


def test_programs_that_are_not_modules():
    program = torch.export.export(make_image(), (IMAGE,))
    expected = (
        "summary: model must be a torch.nn.Module, got ExportedProgram; pass the result of its module()."
    )
    with pytest.raises(ArgumentError) as caught:
        ws.summary(program)
    assert str(caught.value) == expected


def test_convolutions_that_the_compiler_hides_are_noted():
    model = optimize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), None)
    answer = ws.summary(model, torch.zeros(1, 3, 8, 8))
    hidden = len(model.graph.findAllNodes("prim::mkldnn_convolution"))
    if hidden:  # in builds of torch with oneDNN
        assert [note.code for note in answer.warnings] == ["NOT_UNSHARED", "NOT_COUNTED"]
        assert "prim::mkldnn_convolution (1 call)" in answer.warnings[1].text
    else:
        assert answer.totals.macs == 36 * 108
