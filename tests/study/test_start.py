"""Studies that start from a trained network: the same function, examples and steps for every sharing."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.helpers.results import ACCURACY, make_result, make_trial
from tests.helpers.study import read_records, tiny_arrays, without_time
from tests.helpers.trained import BUILD, build
from weightshare import Local, LowRank, relax
from weightshare.errors import StudyError
from weightshare.study import ProcessExecutor, StudySpec, plan, read, run
from weightshare.study.data import load_examples
from weightshare.study.report.command import make_command
from weightshare.study.report.page import render_page
from weightshare.study.rows import plan_rows
from weightshare.study.trials.building import Factory
from weightshare.study.trials.training import Training


def build_unlike() -> nn.Module:
    """Return a network with other weights at each call, whatever the random state of torch."""
    network = build()
    with torch.no_grad():
        network[0].weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=(3, 1, 3, 3))))
    return network


def test_every_row_starts_with_the_function_of_the_trained_network(further, trained):
    before = copy.deepcopy(trained.state_dict())
    result = run(further)
    x, y = load_examples(further).test
    with torch.no_grad():
        score = (trained(x).argmax(1) == y).double().mean().item()
    assert [trial.start_accuracy for trial in result.trials] == pytest.approx([score] * 4)
    assert [row.start_accuracy for row in result.summary] == pytest.approx([score] * 2)
    assert [row.parameters for row in result.summary] == [
        sum(p.numel() for p in network.parameters()) for network in (trained, relax(trained, LowRank(1), x))
    ]
    factory = Factory(further, load_examples(further))
    for row in plan_rows(factory):
        torch.testing.assert_close(row.build_network(factory).eval()(x), trained(x), rtol=1e-4, atol=1e-4)
    assert not trained.training
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())


def test_full_sharing_continues_as_by_hand(further, trained):
    examples = load_examples(further)
    x, y = examples.train
    torch.manual_seed(1)
    network, order = copy.deepcopy(trained).train(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 1e-3 * (3 - epoch) / 3
        for batch in torch.randperm(len(x), generator=order).split(6)[:2]:
            optimizer.zero_grad()
            cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    network.eval()
    (row,) = plan_rows(Factory(replace(further, sharings="full"), examples))
    found = run_training(row, further, examples)
    torch.testing.assert_close(found.state_dict(), network.state_dict(), rtol=1e-5, atol=1e-6)


def run_training(row, spec, examples):
    """Return the network of a row after its training with seed 1."""
    from weightshare.study.jobs import make_fabric
    from weightshare.study.trials.training import fit

    torch.manual_seed(1)
    training = Training(
        row, 1, Factory(spec, examples), examples.train, examples.validation, make_fabric(spec)
    )
    fit(training, lambda epoch, score: None)
    return training.network.module.eval()


def test_every_row_takes_the_same_steps(further, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def count(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", count)
    result = run(replace(further, sharings="full,lowrank:1,local", seeds=1))
    per_trial = [1e-3, 1e-3, 2e-3 / 3, 2e-3 / 3, 1e-3 / 3, 1e-3 / 3]
    assert rates == pytest.approx(3 * per_trial)
    assert [(t.epochs, t.best_epoch, t.hit_cap) for t in result.trials] == [(3, 3, False)] * 3
    assert "limit" not in result.verdict


def test_inputs_and_targets_are_passed_as_they_are(tiny, trained):
    arrays = tiny_arrays()
    examples = load_examples(StudySpec(tiny, start=trained))
    assert np.array_equal(examples.test[0][:, 0].numpy(), arrays["x_test"])
    y = np.linspace(100, 900, 16)
    x = arrays["x_train"][:, None].astype(np.float32)
    numbers = load_examples(StudySpec((x, y), start=trained))
    assert set(numbers.train[1].flatten().tolist()) <= set(y.astype(np.float32).tolist())
    assert torch.equal(numbers.to_units(numbers.test[1]), numbers.test[1])
    same = load_examples(StudySpec((x, y), start=trained, task="reconstruction"))
    assert torch.equal(*same.train)
    assert same.train[0].max() == 250


def test_a_drawn_test_set_is_noted(tiny, trained):
    arrays = tiny_arrays()
    pair = arrays["x_train"][:, None], arrays["y_train"]
    assert load_examples(StudySpec(tiny, start=trained)).notes == ()
    assert load_examples(StudySpec(pair)).notes == ()
    result = run(StudySpec(pair, "full", start=trained, seeds=1, epochs_max=1, accelerator="cpu"))
    (note,) = result.data.notes
    assert note == (
        "The data have no test set, so a quarter of the examples was drawn; the results are valid only if "
        "the trained network has not seen these."
    )
    assert note in " ".join(str(result).split())


def test_a_network_and_its_weights_by_name(further, weights, trained):
    named = replace(further, start=BUILD, weights=weights, out=None)
    found = [without_time([trial.to_record()]) for trial in run(named).trials]
    assert found == [without_time([trial.to_record()]) for trial in run(replace(further, out=None)).trials]


def test_random_weights_are_the_same_each_time_and_the_random_state_is_kept(further):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (plan(replace(further, start=BUILD)).start_digest for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["here", "executor"])
def test_a_function_that_returns_other_weights_at_each_call(further, executor):
    with pytest.raises(
        StudyError, match=r"must have weights with the digest .*, as when the study began"
    ) as caught:
        run(replace(further, start=f"{__name__}:build_unlike"), executor=executor)
    assert f"study, start '{__name__}:build_unlike': " in str(caught.value)
    assert str(caught.value).endswith("return the same weights whenever the function is called.")


def test_processes_give_the_same_results(further, weights, tmp_path):
    run(further)
    specs = {
        "module": replace(further, out=tmp_path / "module"),
        "named": replace(further, out=tmp_path / "named", start=BUILD, weights=weights),
    }
    with ProcessExecutor(2) as executor:
        for other in specs.values():
            run(other, executor=executor)
    scores = [sort_scores(read_records(one)) for one in (further, *specs.values())]
    assert scores[0] == scores[1] == scores[2]


def sort_scores(records):
    """Return the learning curves and scores by row and seed."""
    return sorted((r["key"], r["seed"], r["curve_loss"], r["accuracy"], r["start_accuracy"]) for r in records)


def test_a_study_continues_with_the_same_weights_in_another_file(further, weights, tmp_path):
    named = replace(further, start=BUILD, weights=weights, seeds=1)
    run(named)
    moved = weights.rename(tmp_path / "moved.pt")
    seen = []
    result = run(replace(named, weights=moved, seeds=2), seen.append)
    assert [state.seed for state in seen if state.trial is not None] == [1, 1]
    assert result.options["weights"] == str(moved)


def test_a_study_does_not_continue_with_other_weights(further, weights, trained):
    named = replace(further, start=BUILD, weights=weights, sharings="full", seeds=1)
    run(named)
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other[0].weight[0] += 1
    torch.save(other.state_dict(), weights)
    with pytest.raises(
        StudyError, match="the same options, but other images, other trained weights or another"
    ):
        run(named)
    with pytest.raises(StudyError, match=f"start={BUILD} instead of torch.nn.modules.container:Seq"):
        run(replace(named, start=trained, weights=None))


def test_frozen_parameters_belong_to_the_digest(further, trained):
    other = copy.deepcopy(trained)
    other[6].requires_grad_(False)
    assert plan(replace(further, start=other)).start_digest != plan(further).start_digest


def test_modules_without_weights_belong_to_the_digest(further, trained):
    other = copy.deepcopy(trained)
    other[2] = nn.Tanh()
    assert plan(replace(further, start=other)).start_digest != plan(further).start_digest


@pytest.mark.parametrize("is_trained", [True, False])
def test_networks_are_trained_if_gradients_are_disabled(further, is_trained):
    spec = replace(further, sharings="full", seeds=1, out=None, **({} if is_trained else {"start": None}))
    expected = run(spec).trials
    with torch.no_grad():
        found = run(spec).trials
        assert not torch.is_grad_enabled()
    assert [trial.curve_loss for trial in found] == [trial.curve_loss for trial in expected]


def test_an_interrupted_trial_continues(further, monkeypatch):
    class Stopped(BaseException):
        pass

    def stop(self):
        if len(self.history.scores) == 2:
            raise Stopped
        return run_epoch(self)

    run_epoch = Training.run_epoch
    further = replace(further, sharings="lowrank:1", seeds=1)
    whole = run(replace(further, out=None)).trials
    with monkeypatch.context() as patch:
        patch.setattr(Training, "run_epoch", stop)
        with pytest.raises(Stopped):
            run(further, state_seconds=0)
    epochs = []
    found = run(further, lambda state: epochs.append(state.epoch)).trials
    assert epochs[0] == 3
    assert without_time([found[0].to_record()]) == without_time([whole[0].to_record()])


def test_layers_by_pattern(further):
    factory = Factory(replace(further, layers="0,3"), load_examples(further))
    assert [row.name for row in plan_rows(factory)] == ["full", "lowrank:1", "lowrank:1 [0]", "lowrank:1 [3]"]
    network = factory.build(Local(), 16, layers="3")
    assert type(network[0]) is nn.Conv2d
    assert network[3].sharing == Local()


def test_further_questions_about_a_trained_network(further):
    result = run(replace(further, seeds=1, train_sizes="8", augment="shift:1", out=None))
    assert {row.setting for row in result.further} == {"8 examples", "shift:1"}


def test_defaults_of_a_trained_network(trained):
    spec = StudySpec(start=trained)
    assert (spec.epochs_max, spec.learning_rate) == (20, 1e-3)
    assert (StudySpec().epochs_max, StudySpec().learning_rate) == (100, 3e-3)
    assert StudySpec().digest("data") == StudySpec().digest("data", None) != StudySpec().digest("data", "0")


def test_table_report_and_results_name_the_network(further, weights):
    result = run(replace(further, start=BUILD, weights=weights))
    network = f"{BUILD} with the weights {weights}"
    sentence = f"All rows start from the trained network {network}, whose test accuracy is "
    page = " ".join((further.out / "report.html").read_text().split())
    assert sentence in " ".join(str(result).split())
    assert sentence in page
    assert f"<dd>{network}, trained further</dd>" in page
    assert "The learning rate falls linearly over 3 epochs." in page
    assert "same trained network, which is trained further on" in page
    for text in ("patches", "pooling", "to target", "without a better", "speed up", "size-matched"):
        assert text not in page + str(result)
    assert "of 3 epochs each." in str(plan(further))
    spec_of_results = result.to_dict()["spec"]
    assert (spec_of_results["start"], spec_of_results["weights"]) == (BUILD, str(weights))
    assert make_command(result.options) == (
        f"weightshare study {further.data} --sharing full,lowrank:1 --seeds 2 --from {BUILD} --weights "
        f"{weights} --epochs-max 3 --batch-size 6 --accelerator cpu"
    )
    assert read(further.out).to_json() == result.to_json()


@pytest.mark.parametrize(("before", "warns"), [(0.99, True), (0.955, False)])
def test_the_verdict_warns_if_further_training_makes_the_network_worse(before, warns):
    scores = {"full": [0.94, 0.95, 0.96], "local": [0.97, 0.98, 0.985]}
    trials = [
        make_trial(name, seed, score, start_score=before)
        for name, values in scores.items()
        for seed, score in enumerate(values)
    ]
    options = {"start": "mine:build", "weights": None}
    result = make_result(scores, scale=ACCURACY, trials=trials, **options)
    text = (
        "With full sharing, further training makes the test accuracy worse: it is 99.0% before and 95.0% "
        "after it. Try a lower learning rate."
    )
    assert (text in result.verdict) == warns
    assert (text in render_page(result)) == warns
    assert "All rows start from the trained network mine:build, whose test accuracy is 9" in str(result)
