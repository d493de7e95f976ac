"""`sharing_test` on tied parameters: what copies of their own gain."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import weightshare as ws
from tests.helpers.diagnosed import QUICK, StoppedError, make_examples, make_network, stop_after
from weightshare.diagnose.ties import build_tie_candidate, find_ties
from weightshare.errors import ArgumentError, ConversionError, StudyError, TieError
from weightshare.tying.separate import separate

#: All ties and layers are promising, so all controls run.
ALL = ws.diagnose.Rule(threshold=0.0, level=1e-9)


class Autoencoder(nn.Module):
    """An encoder and a decoder with the same weight matrix."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 6), nn.Linear(6, 6)
        ws.tie_weights(self, {"decoder.weight": "encoder.weight"})

    def forward(self, x):
        return self.decoder(torch.tanh(self.encoder(x)))


def make_autoencoder(strength):
    """Return a trained autoencoder, and data from one whose decoder differs by `strength`."""
    torch.manual_seed(4)
    model = Autoencoder()
    teacher = ws.untie_weights(copy.deepcopy(model), "decoder.weight")
    x = 2 * torch.randn(800, 6)
    with torch.no_grad():
        teacher.decoder.weight += strength * torch.randn(6, 6)
        y = teacher(x) + 0.2 * torch.randn(800, 6)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        mse_loss(model(x[:400]), y[:400]).backward()
        optimizer.step()
    return model.eval(), TensorDataset(x[400:], y[400:])


@pytest.fixture(scope="module")
def untied():
    model, data = make_autoencoder(1.0)
    return model, ws.sharing_test(model, data, mse_loss, epochs=8, batch_size=20)


def test_a_teacher_that_unties_is_told_to_relax_over_both_controls(untied):
    _, test = untied
    tie = test.ties["encoder.weight"]
    assert tie.verdict == "relax"
    assert tie.suggestion == "untie"
    assert tie.reason == "the gain over every control is above 1% of the loss"
    assert set(tie.gains) == {"continue", "blind"}
    assert tie.gain == min(gain.value for gain in tie.gains.values())
    assert 0.01 < tie.interval[0] < tie.gain
    assert tie.names == (("encoder.weight", "decoder.weight"),)
    assert (tie.parameters, tie.extra_parameters) == (36, 36)
    assert (test.layers, test.plan, test.untie) == ({}, {}, ["decoder.weight"])


def test_relax_unties_with_exactly_the_same_outputs(untied):
    model, test = untied
    relaxed = ws.relax(model, test)
    x = torch.randn(5, 6)
    assert torch.equal(relaxed(x), model(x))
    assert relaxed.decoder.weight is not relaxed.encoder.weight
    assert ws.find_tied_weights(relaxed) == []
    assert ws.check_tied_weights(relaxed).ok
    assert model.decoder.weight is model.encoder.weight
    with pytest.raises(ArgumentError, match=r"names must be parameter names, got 'decoder\.weight'"):
        ws.relax(nn.Sequential(nn.Linear(6, 6)), test)
    with pytest.raises(ConversionError, match="restrict: the plan must select at least one convolution"):
        ws.restrict(model, test)


def test_a_teacher_that_ties_is_kept():
    model, data = make_autoencoder(0.0)
    test = ws.sharing_test(model, data, mse_loss, epochs=8, batch_size=20)
    assert test.ties["encoder.weight"].verdict == "keep"
    assert test.untie == []
    with pytest.raises(ConversionError, match="relax: the plan must select at least one convolution"):
        ws.relax(model, test)


def test_text_json_and_html(untied, tmp_path):
    _, test = untied
    row = next(line for line in str(test).splitlines() if line.split()[:2] == ["encoder.weight", "relax"])
    assert row.split()[-2:] == ["untie", "+36"]
    assert "The verdict is to relax a tie, that is, to untie it, if the interval is above 1%." in str(test)
    assert "Tied: encoder.weight = decoder.weight." in str(test)
    assert "as many shared weights" in str(test)
    values = json.loads(test.to_json())
    assert values["untie"] == ["decoder.weight"]
    assert values["ties"][0]["suggestion"] == "untie"
    assert values["ties"][0]["names"] == [["encoder.weight", "decoder.weight"]]
    test.to_html(tmp_path / "test.html")
    assert "encoder.weight = decoder.weight" in (tmp_path / "test.html").read_text()


class Translator(nn.Module):
    """One embedding for the encoder, the decoder and the output, as in many language models."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(7, 4)
        self.encoder, self.decoder = (nn.ModuleDict({"embed": self.shared}) for _ in range(2))
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.shared.weight

    def forward(self, x):
        return self.head(torch.tanh(self.encoder["embed"](x).mean(1) + self.decoder["embed"](x).sum(1)))


def make_stack():
    """Return a network in which one block is registered twice, and its layer another two times."""
    layer = nn.Linear(4, 4)
    block = nn.Sequential(layer, nn.Tanh(), layer, nn.BatchNorm1d(4))
    model = nn.Sequential(block, nn.ReLU(), block, nn.Linear(4, 4))
    model[3].weight = layer.weight
    return model


def make_references():
    encoder = nn.Linear(4, 3)
    return nn.Sequential(encoder, nn.Tanh(), ws.nn.TiedLinear(encoder))


def make_recurrent():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.GRU(4, 4, batch_first=True), nn.GRU(4, 4, batch_first=True)
            ws.tie_weights(self, {"second": "first"})

        def forward(self, x):
            return self.second(self.first(x[:, None].repeat(1, 3, 1))[0])[0][:, -1]

    return Recurrent()


def make_normalized():
    """Return a layer with a parametrization under two names, and a layer that reads its weight."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    return nn.Sequential(layer, nn.Tanh(), layer, ws.nn.TiedLinear(layer))


def make_chain():
    """Return layers of which the third reads the second, which reads the first."""
    model = nn.Sequential(
        nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False)
    )
    ties = {"1.weight": ws.Tie("0.weight", "t"), "2.weight": ws.Tie("1.weight", "t")}
    return ws.tie_weights(nn.Sequential(*model), ties)


def draw_numbers():
    return torch.randn(60, 4)


CASES = {
    "translator": (
        Translator,
        lambda: torch.stack([torch.arange(60) // 7**i % 7 for i in range(3)], 1),
        {"shared.weight": [("encoder.embed.weight", "decoder.embed.weight", "head.weight")]},
    ),
    "stack": (
        make_stack,
        draw_numbers,
        {
            "0.0.weight": [("0.0.weight", "0.2.weight", "2.0.weight", "2.2.weight", "3.weight")],
            "0.0.bias": [("0.0.bias", "0.2.bias", "2.0.bias", "2.2.bias")],
            "0.3.weight": [("0.3.weight", "2.3.weight"), ("0.3.bias", "2.3.bias")],
        },
    ),
    "references": (make_references, draw_numbers, {"0.weight": [("0.weight", "2.weight")]}),
    "recurrent": (
        make_recurrent,
        draw_numbers,
        {
            "first.weight_ih_l0": [
                (f"first.{name}_l0", f"second.{name}_l0")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
        },
    ),
    "normalized": (
        make_normalized,
        draw_numbers,
        {
            "0.bias": [(f"0.{name}", f"2.{name}") for name in ("bias", "parametrizations.weight.original0")],
            "0.parametrizations.weight.original1": [
                (*(f"{i}.parametrizations.weight.original1" for i in (0, 2)), "3.weight")
            ],
        },
    ),
    "chain": (make_chain, draw_numbers, {"0.weight": [("0.weight", "1.weight", "2.weight")]}),
}


@pytest.mark.parametrize("case", CASES)
def test_ties_and_candidates(case):
    """The candidates compute the same function until they are trained; "blind" corrects all uses alike."""
    make, draw, expected = CASES[case]
    torch.manual_seed(0)
    model, x = make().eval(), draw()
    ties, skipped = find_ties(model, x[:2], None)
    assert {name: [one.names for one in tie.parameters] for name, tie in ties.items()} == expected
    assert skipped == {}
    for tie in ties.values():
        untied, blind = (build_tie_candidate(model, kind, tie) for kind in ("untie", "blind"))
        for candidate in (untied, blind, copy.deepcopy(untied)):
            torch.testing.assert_close(candidate(x), model(x))
        counts = [sum(p.numel() for p in one.parameters()) for one in (model, untied, blind)]
        extra = tie.count(model)[1]
        corrections = sum(len(one.names) - 1 for one in tie.parameters)  # coefficients
        assert [count - counts[0] for count in counts] == [0, extra, extra + corrections]
        grads = torch.autograd.grad(untied(x).sum(), [untied.get_parameter(name) for name in tie.aliases])
        assert all(grad.any() for grad in grads)
        assert {one.alias for one in ws.find_tied_weights(untied)}.isdisjoint(tie.aliases)
        blind(x).square().sum().backward()
        torch.optim.SGD(blind.parameters(), 0.1).step()
        assert ws.find_tied_weights(blind.model) == ws.find_tied_weights(model)
        changed = copy.deepcopy(blind.model)
        with torch.no_grad():
            for one, corrections in zip(tie.parameters, blind.corrections):
                assert corrections.corrections.any()
                parameter = changed.get_parameter(one.owner)
                parameter.copy_(corrections(parameter))
        torch.testing.assert_close(blind(x), changed(x))


@pytest.mark.parametrize("case", CASES)
def test_all_ties_are_tried_and_untied_together(case):
    make, draw, expected = CASES[case]
    torch.manual_seed(0)
    model, x = make().eval(), draw()
    target = model(x).detach() + torch.randn_like(model(x))
    test = ws.sharing_test(model, TensorDataset(x, target), mse_loss, rule=ALL, **QUICK)
    assert list(test.ties) == list(expected)
    assert all(set(tie.gains) == {"continue", "blind"} for tie in test.ties.values())
    for tie in test.ties.values():
        object.__setattr__(tie, "verdict", "relax")
    relaxed = ws.relax(model, test)
    torch.testing.assert_close(relaxed(x), model(x))
    extra = sum(tie.extra_parameters for tie in test.ties.values())
    assert sum(p.numel() for p in relaxed.parameters()) - sum(p.numel() for p in model.parameters()) == extra


def test_a_convolution_under_two_names_is_relaxed_and_untied():
    layer = nn.Conv2d(1, 1, 3, padding=1)
    model = nn.Sequential(layer, nn.ReLU(), layer).eval()
    x = torch.randn(20, 1, 5, 5)
    data = TensorDataset(x, model(x).detach() + torch.randn_like(x))
    test = ws.sharing_test(model, data, mse_loss, rule=ALL, **QUICK)
    assert (list(test.layers), list(test.ties)) == (["0"], ["0.weight"])
    assert set(test.layers["0"].gains) == {"continue", "blind", "wide"}
    for result in (test.layers["0"], test.ties["0.weight"]):
        object.__setattr__(result, "verdict", "relax")
    assert test.untie == ["2.weight", "2.bias"]
    relaxed = ws.relax(model, test)
    torch.testing.assert_close(relaxed(x), model(x))
    assert [relaxed[i].sharing for i in (0, 2)] == [ws.LowRank(2)] * 2
    assert relaxed[0].weight is not relaxed[2].weight
    assert relaxed[0].bias is not relaxed[2].bias


def test_tied_convolutions_are_not_relaxed_but_untied():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)).eval()
    ws.tie_weights(model, {"1.weight": "0.weight"})
    x = torch.randn(20, 1, 5, 5)
    test = ws.sharing_test(model, TensorDataset(x, x), mse_loss, **QUICK)
    assert test.layers == {}
    assert set(test.skipped) == {"0", "1"}
    assert list(test.ties) == ["0.weight"]


def test_gains_of_layers_and_ties_are_corrected_together():
    """The interval of a tie is wider if layers are tried, too."""
    model = make_network()
    model.append(nn.Linear(3, 3)).append(nn.Linear(3, 3)).eval()
    ws.tie_weights(model, {"8.weight": "7.weight"})
    data = make_examples()
    both = ws.sharing_test(model, data, cross_entropy, **QUICK)
    alone = ws.sharing_test(model, data, cross_entropy, layers=[], **QUICK)
    assert (list(both.layers), list(both.ties)) == (["0", "3"], ["7.weight"])
    assert (list(alone.layers), list(alone.ties)) == ([], ["7.weight"])
    wide, narrow = (test.ties["7.weight"].interval for test in (both, alone))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert list(ws.sharing_test(model, data, cross_entropy, ties=[], **QUICK).ties) == []


class Registered(nn.Module):
    """Registers its layer a second time and a frozen one; calls the first name only."""

    def __init__(self):
        super().__init__()
        self.layer, self.frozen = nn.Linear(4, 4), nn.Linear(4, 4).requires_grad_(False)
        self.alias, self.again = self.layer, self.frozen

    def forward(self, x):
        return self.again(self.frozen(self.layer(x)))


def test_ties_that_cannot_be_tried_are_listed():
    model, x = nn.Sequential(Registered(), nn.Conv1d(4, 4, 1)).eval(), torch.randn(20, 4)
    model[1] = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 2), nn.Flatten())
    data = TensorDataset(x, torch.randn(20, 3))
    test = ws.sharing_test(model, data, mse_loss, **QUICK)
    assert test.ties == {}
    unused = "the output must depend on the parameter under at least two of its names, got 0.layer.weight"
    assert test.skipped["0.layer.weight"] == unused
    assert test.skipped["0.frozen.bias"] == "the parameter must require gradients, got a frozen one"
    with pytest.raises(TieError) as error:
        ws.sharing_test(model, data, mse_loss, ties=["0.layer.weight"], **QUICK)
    assert str(error.value) == f"sharing_test: '0.layer.weight': {unused}."
    with pytest.raises(
        ConversionError, match=r"at least one layer or tie must be tried, got '0\.layer\.weight': the"
    ):
        ws.sharing_test(nn.Sequential(model[0], nn.Linear(4, 3)).eval(), data, mse_loss, **QUICK)


def test_unknown_ties():
    model, data = make_autoencoder(0.0)
    with pytest.raises(ArgumentError) as error:
        ws.sharing_test(model, data, mse_loss, ties=["encoder.bias"])
    assert str(error.value).endswith("got 'encoder.bias'; did you mean 'encoder.weight'?")
    with pytest.raises(ArgumentError, match="layers must contain names of convolutions, got 'encoder'; pass"):
        ws.sharing_test(model, data, mse_loss, layers=["encoder"])
    with pytest.raises(ConversionError, match="at least one layer or tie must be tried, got none"):
        ws.sharing_test(model, data, mse_loss, ties=[])


def test_an_interrupted_test_continues_and_executors_give_equal_results(tmp_path):
    model, data = make_autoencoder(1.0)
    arguments = {"rule": ALL, "epochs": 1, "batch_size": 20}
    complete = ws.sharing_test(model, data, mse_loss, **arguments)
    with pytest.raises(StoppedError):
        ws.sharing_test(model, data, mse_loss, out=tmp_path, progress=stop_after(3), **arguments)
    states = []
    with ws.study.ProcessExecutor(1) as executor:
        again = ws.sharing_test(
            model, data, mse_loss, out=tmp_path, progress=states.append, executor=executor, **arguments
        )
    assert again.to_json() == complete.to_json()
    kinds = ["start"] * 2 + ["continue"] * 2 + ["untie"] * 2 + ["blind"] * 2
    assert [s.candidate for s in states] == kinds
    assert [s.stored for s in states] == [True] * 3 + [False] * 5
    with ThreadPoolExecutor(2) as threads:
        there = ws.sharing_test(model, data, mse_loss, executor=threads, **arguments)
    assert there.to_json() == complete.to_json()


def test_the_folder_of_the_tied_model_is_refused_for_the_untied_one(tmp_path):
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(2))).eval()
    x = torch.randn(20, 1, 4, 4)
    data = TensorDataset(x, x)
    ws.tie_weights(model, {"1.weight": "0.weight"})
    ws.sharing_test(model, data, mse_loss, out=tmp_path, **QUICK)
    ws.untie_weights(model, "1.weight")
    with pytest.raises(StudyError, match="another test"):
        ws.sharing_test(model, data, mse_loss, out=tmp_path, **QUICK)


def test_names_of_ties_are_escaped():
    model = nn.Sequential()
    for name in ("<b>\x1b", "second\x1b"):
        model.add_module(name, nn.Linear(3, 3))
    ws.tie_weights(model, {"second\x1b.weight": "<b>\x1b.weight"})
    x = torch.randn(20, 3)
    test = ws.sharing_test(model.eval(), TensorDataset(x, x), mse_loss, **QUICK)
    assert "\x1b" not in str(test)
    assert "<b>" in str(test)
    assert "\x1b" not in test._repr_html_()
    assert "<b>" not in test._repr_html_()


def test_separate_gives_each_name_its_own_copy():
    """Other parameters of a module under two names stay shared, and buffers are copied."""
    model, x = make_stack().eval(), torch.randn(5, 4)
    expected = model(x)
    separate(model, ["2.3.weight"])
    assert torch.equal(model(x), expected)
    assert model[2] is not model[0]
    assert model[2][3].weight is not model[0][3].weight
    assert model[2][3].bias is model[0][3].bias
    assert model[2][0].weight is model[0][2].weight is model[3].weight
    assert model[2][3].running_mean is not model[0][3].running_mean
    with pytest.raises(TieError, match=r"must not be a source, got the source of '2\.weight'"):
        separate(make_chain(), ["1.weight"])
