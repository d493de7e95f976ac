"""Studies that start from a trained network: the same function, examples and steps for every sharing."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.helpers.results import ACCURACY, make_result, make_trial
from tests.helpers.study import read_records, tiny_arrays, without_time
from weightshare import Local, LowRank, relax
from weightshare.errors import ArgumentError, DataError, SpecError, StudyError
from weightshare.nn import Conv2d
from weightshare.study import ProcessExecutor, StudySpec, plan, read, run
from weightshare.study.data import load_examples
from weightshare.study.report.command import make_command
from weightshare.study.report.page import render_page
from weightshare.study.rows import plan_rows
from weightshare.study.trials.building import Factory
from weightshare.study.trials.training import Training

STEPS = 3 * 2  # of three epochs of 13 examples, in batches of 6


def build() -> nn.Module:
    """Return a network for images of 6 x 6 pixels and two classes, with two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(32, 2),
    )  # fmt: skip


def build_unlike() -> nn.Module:
    """Return a network with other weights at each call, whatever the random state of torch."""
    network = build()
    with torch.no_grad():
        network[0].weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=(3, 1, 3, 3))))
    return network


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network that was trained for a few steps."""
    torch.manual_seed(3)
    network, arrays = build(), tiny_arrays()
    x = torch.from_numpy(arrays["x_train"]).float()[:, None]
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(network(x), torch.from_numpy(arrays["y_train"])).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture
def weights(trained, tmp_path) -> Path:
    """The file of the weights of the trained network."""
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def spec(tiny, trained, tmp_path) -> StudySpec:
    """A study that trains a network further: two sharings and two seeds, three epochs of two steps."""
    return StudySpec(
        tiny, "full,lowrank:1", seeds=2, start=trained, epochs_max=3, batch_size=6, accelerator="cpu",
        out=tmp_path / "out",
    )  # fmt: skip


def test_every_row_starts_with_the_function_of_the_trained_network(spec, trained):
    before = copy.deepcopy(trained.state_dict())
    result = run(spec)
    x, y = load_examples(spec).test
    with torch.no_grad():
        score = (trained(x).argmax(1) == y).double().mean().item()
    assert [trial.start_accuracy for trial in result.trials] == pytest.approx([score] * 4)
    assert [row.start_accuracy for row in result.summary] == pytest.approx([score] * 2)
    assert [row.parameters for row in result.summary] == [
        sum(p.numel() for p in network.parameters()) for network in (trained, relax(trained, LowRank(1), x))
    ]
    factory = Factory(spec, load_examples(spec))
    for row in plan_rows(factory):
        torch.testing.assert_close(row.build_network(factory).eval()(x), trained(x), rtol=1e-4, atol=1e-4)
    assert not trained.training
    assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())


def test_full_sharing_continues_as_by_hand(spec, trained):
    examples = load_examples(spec)
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
    (row,) = plan_rows(Factory(replace(spec, sharings="full"), examples))
    found = run_training(row, spec, examples)
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


def test_every_row_takes_the_same_steps(spec, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def count(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", count)
    result = run(replace(spec, sharings="full,lowrank:1,local", seeds=1))
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


def test_a_network_and_its_weights_by_name(spec, weights, trained):
    named = replace(spec, start=f"{__name__}:build", weights=weights, out=None)
    found = [without_time([trial.to_record()]) for trial in run(named).trials]
    assert found == [without_time([trial.to_record()]) for trial in run(replace(spec, out=None)).trials]


def test_random_weights_are_the_same_each_time_and_the_random_state_is_kept(spec):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (plan(replace(spec, start=f"{__name__}:build")).start_digest for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["here", "executor"])
def test_a_function_that_returns_other_weights_at_each_call(spec, executor):
    with pytest.raises(
        StudyError, match=r"must have weights with the digest .*, as when the study began"
    ) as caught:
        run(replace(spec, start=f"{__name__}:build_unlike"), executor=executor)
    assert f"study, start '{__name__}:build_unlike': " in str(caught.value)
    assert str(caught.value).endswith("return the same weights whenever the function is called.")


def test_processes_give_the_same_results(spec, weights, tmp_path):
    run(spec)
    specs = {
        "module": replace(spec, out=tmp_path / "module"),
        "named": replace(spec, out=tmp_path / "named", start=f"{__name__}:build", weights=weights),
    }
    with ProcessExecutor(2) as executor:
        for other in specs.values():
            run(other, executor=executor)
    scores = [sort_scores(read_records(one)) for one in (spec, *specs.values())]
    assert scores[0] == scores[1] == scores[2]


def sort_scores(records):
    """Return the learning curves and scores by row and seed."""
    return sorted((r["key"], r["seed"], r["curve_loss"], r["accuracy"], r["start_accuracy"]) for r in records)


def test_a_study_continues_with_the_same_weights_in_another_file(spec, weights, tmp_path):
    named = replace(spec, start=f"{__name__}:build", weights=weights, seeds=1)
    run(named)
    moved = weights.rename(tmp_path / "moved.pt")
    seen = []
    result = run(replace(named, weights=moved, seeds=2), seen.append)
    assert [state.seed for state in seen if state.trial is not None] == [1, 1]
    assert result.options["weights"] == str(moved)


def test_a_study_does_not_continue_with_other_weights(spec, weights, trained):
    named = replace(spec, start=f"{__name__}:build", weights=weights, sharings="full", seeds=1)
    run(named)
    other = copy.deepcopy(trained)
    with torch.no_grad():
        other[0].weight[0] += 1
    torch.save(other.state_dict(), weights)
    with pytest.raises(
        StudyError, match="the same options, but other images, other trained weights or another"
    ):
        run(named)
    with pytest.raises(StudyError, match=f"start={__name__}:build instead of torch.nn.modules.container:Seq"):
        run(replace(named, start=trained, weights=None))


def test_frozen_parameters_belong_to_the_digest(spec, trained):
    other = copy.deepcopy(trained)
    other[6].requires_grad_(False)
    assert plan(replace(spec, start=other)).start_digest != plan(spec).start_digest


def test_an_interrupted_trial_continues(spec, monkeypatch):
    class Stopped(BaseException):
        pass

    def stop(self):
        if len(self.history.scores) == 2:
            raise Stopped
        return run_epoch(self)

    run_epoch = Training.run_epoch
    spec = replace(spec, sharings="lowrank:1", seeds=1)
    whole = run(replace(spec, out=None)).trials
    with monkeypatch.context() as patch:
        patch.setattr(Training, "run_epoch", stop)
        with pytest.raises(Stopped):
            run(spec, state_seconds=0)
    epochs = []
    found = run(spec, lambda state: epochs.append(state.epoch)).trials
    assert epochs[0] == 3
    assert without_time([found[0].to_record()]) == without_time([whole[0].to_record()])


def test_layers_by_pattern(spec):
    factory = Factory(replace(spec, layers="0,3"), load_examples(spec))
    assert [row.name for row in plan_rows(factory)] == ["full", "lowrank:1", "lowrank:1 [0]", "lowrank:1 [3]"]
    network = factory.build(Local(), 16, layers="3")
    assert type(network[0]) is nn.Conv2d
    assert network[3].sharing == Local()


def test_further_questions_about_a_trained_network(spec):
    result = run(replace(spec, seeds=1, train_sizes="8", augment="shift:1", out=None))
    assert {row.setting for row in result.further} == {"8 examples", "shift:1"}


class Unlike(nn.Module):
    """A network that calls its convolution on inputs of two sizes."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(1, 1, 3), nn.Linear(1, 2)

    def forward(self, x):
        return self.head(self.layer(self.layer(x)).mean((1, 2, 3))[:, None])


def freeze_first() -> nn.Module:
    network = build()
    network[0].requires_grad_(False)
    return network


def make_wide() -> nn.Module:
    return nn.Sequential(build(), nn.Linear(2, 5))


def make_local() -> nn.Module:
    return nn.Sequential(Conv2d(1, 2, 3, sharing=Local(), input_size=6), nn.Flatten(), nn.Linear(32, 2))


def make_infinite() -> nn.Module:
    network = build()
    nn.init.constant_(network[6].bias, float("inf"))
    return network


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_wide, "must return [2, 2] for classification, got [2, 5]."),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 3)),
         "must take inputs [2, 1, 6, 6] of torch.float32, got RuntimeError"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
         "must have a convolution, which can share less, got none."),
        (Unlike, "the layer must be called on inputs of one size in a forward pass"),
        (make_local,
         "the new sharing LowRank(1) must refine the current one, got Local() on 4 x 4 positions; "
         "select other convolutions with layers."),
        (freeze_first,
         "the weight of each relaxed layer must require gradients, got a frozen one in '0'; "
         "select other convolutions with layers."),
        (lambda: build().to("meta"),
         "must be a network that can be copied to the CPU, got NotImplementedError"),
        (make_infinite, "must return finite numbers, got NaN or infinity with its trained weights."),
    ],
    ids=["outputs", "channels", "no convolution", "called twice", "local", "frozen", "meta", "infinite"],
)  # fmt: skip
def test_networks_that_do_not_fit(spec, make, text):
    with pytest.raises(StudyError) as caught:
        run(replace(spec, start=make()))
    assert str(caught.value).startswith("study, start '")
    assert text in str(caught.value)
    assert not spec.out.exists()


def test_layers_that_do_not_exist(spec):
    with pytest.raises(StudyError, match="layers must match a convolution, such as 0, 3, got 'features"):
        plan(replace(spec, layers="features.*"))


def test_test_inputs_from_the_training_set(spec):
    arrays = tiny_arrays()
    x, y = arrays["x_train"][:, None], arrays["y_train"]
    with pytest.raises(DataError) as caught:
        run(replace(spec, data=(x, y, np.concatenate([x[4:8], arrays["x_test"][:4, None]]), y[:8])))
    assert str(caught.value) == (
        "data, test inputs: must be ones on which the network was not trained, got 4 of 8 that are also in "
        "the training set."
    )
    run(replace(spec, data=(x, y, np.concatenate([x[5:8], arrays["x_test"][:5, None]]), y[:8]), seeds=1))


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"start": 3}, SpecError, "study: start must be a text or a torch.nn.Module, got 3."),
        ({"start": build}, SpecError, "start must be a text or a torch.nn.Module, got <function build"),
        ({"start": None, "weights": "w.pt"}, SpecError, "study: weights must be those of a trained network, "
         "got no start; name the network with start (--from)."),
        ({"weights": 3}, SpecError, "study: weights must be a path, got 3."),
        ({"weights": "missing.pt"}, DataError, "weights 'missing.pt': must be"),
        ({"model": "mine:build"}, SpecError,
         "study: model does not apply to a trained network, so it must be omitted with start (--from), "
         "got 'mine:build'."),
        ({"width": 8}, SpecError, "width does not apply to a trained network"),
        ({"widths": "8"}, SpecError, "widths does not apply to a trained network"),
        ({"schedules": "relax:1"}, SpecError, "schedules does not apply to a trained network"),
        ({"patience": 2}, SpecError, "patience does not apply to a trained network"),
        ({"start": "missing:build"}, SpecError, "'missing:build': needs the module 'missing'"),
        ({"start": "vgg"}, SpecError, "must be a model of the zoo or package.module:factory, got 'vgg'"),
        ({"epochs_max": 0}, ArgumentError, "study: epochs_max must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(spec, change, kind, text):
    with pytest.raises(kind) as caught:
        run(replace(spec, **change))
    assert text in str(caught.value)
    assert not spec.out.exists()


def test_defaults_of_a_trained_network(trained):
    spec = StudySpec(start=trained)
    assert (spec.epochs_max, spec.learning_rate) == (20, 1e-3)
    assert (StudySpec().epochs_max, StudySpec().learning_rate) == (100, 3e-3)
    assert StudySpec().digest("data") == StudySpec().digest("data", None) != StudySpec().digest("data", "0")


def test_table_report_and_results_name_the_network(spec, weights):
    result = run(replace(spec, start=f"{__name__}:build", weights=weights))
    network = f"{__name__}:build with the weights {weights}"
    sentence = f"All rows start from the trained network {network}, whose test accuracy is "
    page = " ".join((spec.out / "report.html").read_text().split())
    assert sentence in " ".join(str(result).split())
    assert sentence in page
    assert f"<dd>{network}, trained further</dd>" in page
    assert "The learning rate falls linearly, in 3 epochs." in page
    assert "same trained network, which is trained further on" in page
    for text in ("patches", "pooling", "to target", "without a better", "speed up", "size-matched"):
        assert text not in page + str(result)
    assert "of 3 epochs each." in str(plan(spec))
    spec_of_results = result.to_dict()["spec"]
    assert (spec_of_results["start"], spec_of_results["weights"]) == (f"{__name__}:build", str(weights))
    assert make_command(result.options) == (
        f"weightshare study {spec.data} --sharing full,lowrank:1 --seeds 2 --from {__name__}:build --weights "
        f"{weights} --epochs-max 3 --batch-size 6 --accelerator cpu"
    )
    assert read(spec.out).to_json() == result.to_json()


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
