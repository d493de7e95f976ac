"""`sharing_test`: what it reports, that the model is left as it was, and that interrupted tests continue."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, Dataset, TensorDataset

import weightshare as ws
from tests.helpers.diagnosed import QUICK, StoppedError, make_examples, make_network, make_planted, stop_after


@pytest.fixture(scope="module")
def planted():
    model, data, is_other = make_planted(400, strength=2.0)
    rule = ws.diagnose.Rule(least_examples=50)
    return model, ws.sharing_test(model, data, mse_loss, epochs=3, batch_size=20, rule=rule), is_other


def test_a_planted_layer_is_told_to_relax_over_every_control(planted):
    _, test, _ = planted
    layer = test.layers["0"]
    assert layer.verdict == "relax"
    assert layer.tried == ws.LowRank(2)
    assert set(layer.gains) == {"continue", "blind", "wide"}
    assert layer.gain == min(gain.value for gain in layer.gains.values())
    assert 0.01 < layer.interval[0] < layer.gain < layer.interval[1]
    assert layer.p_value < 1e-6
    assert layer.reason == "the gain over every control is above 1% of the loss"


def test_the_map_finds_the_planted_place(planted):
    _, test, is_other = planted
    values = torch.from_numpy(test.layers["0"].map)
    quarter = values.flatten().topk(16).indices
    assert is_other.flatten()[quarter].mean() >= 0.8
    assert test.layers["0"].spectrum[0] > 3 * max(map(abs, test.layers["0"].spectrum[1:]))


def test_relax_applies_the_plan_with_the_same_outputs_and_informed_coefficients():
    model, data, is_other = make_planted(400, strength=2.0)
    rule = ws.diagnose.Rule(least_examples=50)
    test = ws.sharing_test(model, data, mse_loss, epochs=3, batch_size=20, rule=rule, alternatives=False)
    assert test.plan == {"0": ws.LowRank(2)}
    assert test.layers["0"].alternatives == ()
    relaxed = ws.relax(model, test)
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(relaxed(x), model(x))
    assert relaxed[0].sharing == ws.LowRank(2)
    first = relaxed[0].assignment()[:, 1].detach()
    assert abs(torch.corrcoef(torch.stack([first, is_other.flatten()]))[0, 1]) > 0.8
    torch.testing.assert_close(ws.relax(model, test, x)(x), model(x))
    relaxed(x).square().mean().backward()
    assert relaxed[0].weight.grad[1:].abs().sum() > 0


def test_the_added_parameters_are_those_of_the_relaxed_layer(planted):
    model, test, _ = planted
    layer = test.layers["0"]
    relaxed = ws.relax(model, test)[0]
    assert layer.parameters == sum(p.numel() for p in model.parameters())
    assert layer.parameters + layer.extra_parameters == sum(p.numel() for p in relaxed.parameters())
    for one in layer.alternatives:
        relaxed = ws.relax(model, {"0": one.sharing}, torch.zeros(1, 1, 8, 8))
        assert layer.parameters + one.extra_parameters == sum(p.numel() for p in relaxed.parameters())


def test_alternatives_are_those_that_can_express_the_planted_place(planted):
    """Another kernel in the upper left quarter, which is one region of Regional(2)."""
    _, test, is_other = planted
    others = {str(one.sharing): one for one in test.layers["0"].alternatives}
    (mapped,) = (one for one in others.values() if isinstance(one.sharing, ws.Mapped))
    ranks = {"lowrank:1", "lowrank:2", "lowrank:4"}
    assert set(others) == {*ranks, "regional:2", "along:0", "along:1", "local", str(mapped.sharing)}
    assert others["regional:2"].share == pytest.approx(1, abs=0.1)
    assert mapped.share == pytest.approx(1, abs=0.1)
    assert others["along:0"].share < 0.5
    labels = torch.tensor(json.loads(test.to_json())["layers"][0]["alternatives"][2]["labels"])
    assert (labels[is_other == 0] == labels[7, 7]).all()  # in the quarter, padding makes regions
    assert (labels[is_other == 1] != labels[7, 7]).all()
    assert mapped.sharing == ws.Mapped(labels)


def test_the_suggestion_is_the_cheapest_sharing_that_has_most_of_the_largest_gain(planted):
    _, test, _ = planted
    layer = test.layers["0"]
    gains = {str(one.sharing): one.gain.value for one in layer.alternatives}
    assert layer.suggestion == ws.Regional(2)
    assert test.plan == {"0": ws.Regional(2)}
    assert layer.extra_parameters == 3 * 20
    assert gains["lowrank:2"] == layer.gain
    assert gains["regional:2"] > max(gains.values()) * 2 / 3
    assert gains["lowrank:1"] < max(gains.values()) * 2 / 3  # cheaper, but clearly worse
    assert gains["local"] > gains["lowrank:2"]
    assert "  regional:2" in str(test)


def test_an_alternative_that_does_not_fit_in_memory_is_not_tried(monkeypatch):
    monkeypatch.setattr("weightshare.diagnose.alternatives.get_free_bytes", lambda: 1000 * 16)
    model, data, _ = make_planted(100, strength=5.0)
    rule = ws.diagnose.Rule(least_examples=50)
    test = ws.sharing_test(model, data, mse_loss, batch_size=20, rule=rule)
    untried = [str(one.sharing) for one in test.layers["0"].alternatives if one.gain is None]
    assert untried == ["local"]
    assert "not tried" in str(test)


def test_text_json_html_and_picture(planted, tmp_path):
    _, test, _ = planted
    assert str(test).splitlines()[0] == "Sharing test of Sequential"
    assert "lowrank:2" in str(test)
    assert "Relax: the gain over every control is above 1%" in str(test)
    values = json.loads(test.to_json())
    assert values["plan"] == {"0": "regional:2"}
    assert np.shape(values["layers"][0]["map"]) == (8, 8)
    test.to_html(tmp_path / "test.html")
    page = (tmp_path / "test.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "data:image/png" in test._repr_html_()
    assert test.layers["0"].plot_map().axes


def test_names_are_escaped():
    model = nn.Sequential()
    model.add_module("<b>\x1b\ud800", nn.Conv2d(1, 2, 3))
    x = torch.randn(20, 1, 5, 5)
    test = ws.sharing_test(model.eval(), TensorDataset(x, model(x).detach()), mse_loss, **QUICK)
    assert "\x1b" not in str(test)
    assert "<b>" in str(test)
    assert "\x1b" not in test._repr_html_()
    assert "<b>" not in test._repr_html_()
    assert test.layers["<b>\x1b\ud800"].plot_map().axes


def test_unseen_examples_judge_and_data_fit():
    data, unseen = make_examples(60), TensorDataset(*(t[60:] for t in make_examples(160).tensors))
    test = ws.sharing_test(make_network(), data, cross_entropy, unseen=unseen, layers=["3"], **QUICK)
    assert test.judged == 100
    assert list(test.layers) == ["3"]


def test_a_loader_gives_its_dataset_batch_size_and_collate_function():
    def collate(examples):
        return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])

    data = make_examples()
    one = ws.sharing_test(make_network(), data, cross_entropy, **QUICK)
    loader = DataLoader(data, batch_size=10, shuffle=True, collate_fn=collate)
    two = ws.sharing_test(make_network(), loader, cross_entropy, epochs=1)
    assert one.to_json() == two.to_json()


def test_a_list_of_pairs_is_a_dataset():
    data = make_examples()
    test = ws.sharing_test(make_network(), list(data), cross_entropy, **QUICK)
    assert test.to_json() == ws.sharing_test(make_network(), data, cross_entropy, **QUICK).to_json()


def test_losses_that_are_sums_give_the_same_maps():
    data = make_examples()
    mean = ws.sharing_test(make_network(), data, cross_entropy, **QUICK)
    total = ws.sharing_test(make_network(), data, nn.CrossEntropyLoss(reduction="sum"), **QUICK)
    for name, layer in mean.layers.items():
        np.testing.assert_allclose(layer.map, total.layers[name].map, rtol=1e-4)


@pytest.mark.parametrize("count", [None, 3])
def test_the_model_and_the_random_state_are_left_as_they_were(count):
    model, data = make_network(), make_examples()
    model[3].weight.grad = torch.ones_like(model[3].weight)
    model[0].requires_grad_(False)
    before, values = copy.deepcopy(model), {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    if count is None:
        ws.sharing_test(model, data, cross_entropy, layers=["3"], **QUICK)
    else:
        with pytest.raises(StoppedError):
            ws.sharing_test(model, data, cross_entropy, progress=stop_after(count), layers=["3"], **QUICK)
    assert torch.equal(state, torch.get_rng_state())
    assert str(model) == str(before)
    assert not model.training
    assert all(torch.equal(v, values[k]) for k, v in model.state_dict().items())
    assert torch.equal(model[3].weight.grad, torch.ones_like(model[3].weight))
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert not any(module._forward_hooks for module in model.modules())


def test_training_mode_gets_a_warning_and_is_restored():
    model, data = make_network().train(), make_examples()
    with pytest.warns(UserWarning, match="Sequential is in training mode") as record:
        ws.sharing_test(model, data, cross_entropy, **QUICK)
    assert all(module.training for module in model.modules())
    assert record[0].filename == __file__


def test_an_executor_gives_equal_results():
    model, data = make_network(), make_examples()
    here = ws.sharing_test(model, data, cross_entropy, **QUICK)
    with ws.study.ProcessExecutor(1) as executor:
        there = ws.sharing_test(model, data, cross_entropy, executor=executor, **QUICK)
    assert here.to_json() == there.to_json()


def test_threads_give_equal_results():
    """Also with dropout, which draws from the random state of the process."""
    model, data = nn.Sequential(nn.Dropout(0.5), *make_network()).eval(), make_examples()
    here, state = ws.sharing_test(model, data, cross_entropy, **QUICK), torch.get_rng_state()
    with ThreadPoolExecutor(4) as executor:
        there = ws.sharing_test(model, data, cross_entropy, executor=executor, **QUICK)
    assert here.to_json() == there.to_json()
    assert torch.equal(state, torch.get_rng_state())


class Augmented(Dataset):
    """Examples with noise from torch."""

    def __init__(self):
        self.data = make_examples()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        return x + torch.randn(()), y


def test_random_examples_are_the_same_for_all_candidates():
    state = torch.get_rng_state()
    still = ws.sharing_test(make_network(), Augmented(), cross_entropy, optimizer=make_still, **QUICK)
    assert all(abs(layer.gain) < 1e-5 for layer in still.layers.values())
    assert torch.equal(state, torch.get_rng_state())


def test_an_optimizer_trains_the_candidates():
    model, data = make_network(), make_examples()
    adam = ws.sharing_test(model, data, cross_entropy, **QUICK)
    still = ws.sharing_test(model, data, cross_entropy, optimizer=make_still, **QUICK)
    assert adam.layers["3"].gain != 0
    assert abs(still.layers["3"].gain) < 1e-5  # relaxing without training computes the same function


def make_still(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def test_candidates_see_the_same_examples_in_the_same_order(monkeypatch):
    """Also if building them draws different amounts of random numbers, and with dropout."""
    model = nn.Sequential(nn.Dropout(0.5), *make_network()).eval()
    still = ws.sharing_test(model, make_examples(), cross_entropy, optimizer=make_still, **QUICK)
    assert all(abs(layer.gain) < 1e-5 for layer in still.layers.values())


def test_diverged_training_gives_no_verdict():
    test = ws.sharing_test(make_network(), make_examples(), cross_entropy, optimizer=diverge, **QUICK)
    layer = test.layers["0"]
    assert layer.verdict == "no verdict"
    assert layer.reason == "the losses after training must be finite, with a positive mean"
    assert layer.gain is None
    assert json.loads(test.to_json())["layers"][0]["interval"] is None
    assert "no verdict" in str(test)


def diverge(parameters):
    return torch.optim.SGD(parameters, lr=1e30)


def test_few_examples_give_no_verdict():
    test = ws.sharing_test(make_network(), make_examples(), cross_entropy, **QUICK)
    assert test.layers["0"].verdict == "no verdict"
    assert test.layers["0"].reason == "60 examples were judged, but at least 100 are needed"


def test_duplicates_in_unseen_are_left_out_with_a_warning():
    data = make_examples(60)
    x, y = data.tensors
    unseen = TensorDataset(torch.cat([x[:40], x[:20] + 9]), y)
    with pytest.warns(UserWarning, match="40 of 60 examples of unseen are also in data; they are left out"):
        test = ws.sharing_test(make_network(), data, cross_entropy, unseen=unseen, **QUICK)
    assert test.judged == 20


def test_repeated_inputs_get_a_warning():
    x, y = make_examples(30).tensors
    data = TensorDataset(torch.cat([x, x[:10]]), torch.cat([y, y[:10]]))
    with pytest.warns(UserWarning, match="10 of 40 examples of data repeat the input of another") as record:
        ws.sharing_test(make_network(), data, cross_entropy, layers=["0"], **QUICK)
    assert record[0].filename == __file__
